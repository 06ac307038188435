from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from marey.encoders import (
    TOLERANCE,
    ClipEncoder,
    Encoder,
    EncoderSpec,
    EngineBenchmark,
    FrameEncoder,
    agrees,
    installed_engines,
    load_encoder,
    load_timm_backbone,
    openvino_engine,
)
from marey.encoders import engines as registry
from marey.encoders.engine_benchmark import benchmark_inputs, fastest, load_benchmark
from marey.encoders.onnx_export import onnx_bytes
from marey.encoders.pytorch_engine import CudaEngine, PyTorchEngine
from marey.encoders.timm_encoder import load_frame_encoder
from marey.errors import UnknownNameError, UsageError
from marey.extras import install_command
from waiting import PATIENCE

OTHERS = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("openvino", "onnxruntime")
]
each_other = pytest.mark.parametrize("engine", OTHERS)
with_another = pytest.mark.skipif(
    not any(find_spec(name) for name in ("openvino", "onnxruntime")), reason="no engine but PyTorch is installed"
)

SMALL = EncoderSpec(name="test_resnet", weights="random", size=64)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MAREY_ENGINE", raising=False)


@contextmanager
def cores(count: int) -> Iterator[None]:
    """The calling thread may use so many."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def noise(count: int, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def error(found: Tensor, expected: Tensor) -> float:
    """Largest difference in parts of the deviation of what is expected."""
    return float((found - expected).abs().max() / expected.std())


@cache
def expected(spec: EncoderSpec, count: int) -> Tensor:
    """What the network gives by itself, before anything is folded or converted."""
    network = load_timm_backbone(spec)
    with torch.inference_mode():
        found: Tensor = network(noise(count, network.shape))
    return found


@each_other
@pytest.mark.parametrize(
    "spec",
    [
        SMALL,
        SMALL.model_copy(update={"grid": (3, 2)}),
        EncoderSpec(name="test_efficientnet", weights="random", grid=(2, 3)),  # padded as TensorFlow does
        pytest.param(EncoderSpec(name="test_vit", weights="random"), marks=pytest.mark.long),
        pytest.param(EncoderSpec(name="test_convnext", weights="random"), marks=pytest.mark.long),
    ],
    ids=lambda spec: f"{spec.name}-{spec.grid}",
)
def test_every_engine_gives_pytorchs_features(engine: str, spec: EncoderSpec) -> None:
    encoder = load_encoder(spec, engine=engine)
    assert (encoder.engine, encoder.cache_tag) == (engine, "")
    found = encoder.encode_clips(noise(4, (3, *encoder.size)).view(2, 2, 3, *encoder.size)).flatten(0, 1)
    assert error(found, expected(spec, 4)) < 1e-4
    assert encoder.hash == load_frame_encoder(spec).hash


@each_other
def test_the_default_encoder_gives_the_same_on_every_engine(engine: str) -> None:
    spec = EncoderSpec(grid=(3, 2))
    assert error(load_frame_encoder(spec, engine=engine).encode(noise(2, (3, 224, 224))), expected(spec, 2)) < 1e-4


@pytest.mark.long
@each_other
def test_every_engine_runs_networks_for_clips(engine: str) -> None:
    spec = EncoderSpec(name="r2plus1d-18", weights="random", size=32)
    clips = noise(2, (4, 3, 32, 32))
    found = ClipEncoder(spec, frames=4, engine=engine).encode_clips(clips)
    assert error(found, ClipEncoder(spec, frames=4).encode_clips(clips)) < 1e-4


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_engine_for_gpus_computes_in_float32(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    engine = CudaEngine(load_timm_backbone(SMALL), torch.device(device))
    before = torch.backends.cudnn.allow_tf32
    assert error(engine.run(noise(3, (3, 64, 64))), expected(SMALL, 3)) < 1e-4
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("engine", ["pytorch", *OTHERS])
def test_threads_that_call_at_once_get_what_each_would_get_alone(engine: str) -> None:
    encoder = load_frame_encoder(SMALL, engine=engine)
    images = noise(24, (3, 64, 64))
    alone = [encoder.encode(part) for part in images.split(3)]
    together = threading.Barrier(4)

    def work(part: Tensor) -> Tensor:
        torch.set_num_threads(1)
        return encoder.encode(part)

    with ThreadPoolExecutor(4, initializer=together.wait) as pool:
        found = list(pool.map(work, images.split(3)))
    assert encoder.images == 48
    for one, other in zip(found, alone, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("engine", ["pytorch", *OTHERS])
@pytest.mark.parametrize(
    "count", [1, pytest.param(2, marks=pytest.mark.long), 5, pytest.param(17, marks=pytest.mark.long)]
)
def test_features_are_the_same_on_one_core_and_on_several(engine: str, count: int) -> None:
    encoder = load_frame_encoder(SMALL, engine=engine)
    images = noise(count, (3, 64, 64))
    with cores(1):
        alone = encoder.encode(images)
    with cores(3):
        assert error(encoder.encode(images), alone) < 1e-5
        assert torch.get_num_threads() == 3


def test_a_new_thread_has_the_cores_of_its_maker_and_not_an_engines_one() -> None:
    encoder = load_frame_encoder(SMALL)
    found: list[int] = []
    with cores(5):  # a number that no other test has made threads for
        encoder.encode(noise(5, (3, 64, 64)))
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert found == [5]


@each_other
def test_a_image_is_encoded_alike_in_any_batch(engine: str) -> None:
    encoder = load_frame_encoder(SMALL, engine=engine)
    images = noise(7, (3, 64, 64))
    alone = torch.cat([encoder.encode(image.unsqueeze(0)) for image in images])
    # Not to the last bit: for another batch a kernel may take other instructions, and add up in another order.
    assert float((encoder.encode(images) - alone).abs().max() / alone.std()) < 1e-5


@pytest.mark.long
@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_two_threads_that_are_the_first_to_use_openvino_do_not_wait_for_ever(tmp_path: Path) -> None:
    code = """
import threading, torch
from marey.encoders import EncoderSpec
from marey.encoders.timm_encoder import load_frame_encoder
encoder = load_frame_encoder(EncoderSpec(name="test_resnet", weights="random", size=64), engine="openvino")
start = threading.Barrier(4)
def work():
    torch.set_num_threads(1)
    start.wait()
    encoder.encode(torch.zeros(4, 3, 64, 64, dtype=torch.uint8))
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(encoder.images)
"""
    environment = {**os.environ, "MAREY_CACHE": str(tmp_path)}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment
    )
    assert done.stdout.strip() == "16", done.stderr


@with_another
def test_the_fastest_engine_is_found_once_and_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = load_encoder(SMALL)
    assert set(first.trial) == set(installed_engines())
    assert first.engine == fastest(first.trial, "float32")
    assert all(found.rate > 0 and agrees(found, "float32") for found in first.trial.values())
    assert first.cache_tag == ""
    (memory,) = (tmp_path / "cache" / "engines").glob("*.json")
    assert json.loads(memory.read_text())["about"]["network"] == "test_resnet"
    monkeypatch.setattr(registry, "measure", None)  # whatever is measured again fails
    again = load_encoder(SMALL, engine="auto")
    assert (again.engine, again.trial) == (first.engine, first.trial)
    with pytest.raises(UsageError, match="cannot run"):
        load_encoder(SMALL.model_copy(update={"grid": (2, 2)}))  # another network is another trial


@with_another
def test_the_stored_benchmark_decides_and_not_the_order_of_names() -> None:
    slow, quick = EngineBenchmark(10.0, 1e-6), EngineBenchmark(20.0, 1e-6)
    assert fastest({"pytorch": slow, "openvino": quick}, "float32") == "openvino"
    assert fastest({"openvino": slow, "pytorch": quick}, "float32") == "pytorch"
    assert (
        fastest({"pytorch": slow, "openvino": EngineBenchmark(20.0, 2 * TOLERANCE["float32"])}, "float32") == "pytorch"
    )
    assert fastest({"pytorch": slow, "openvino": EngineBenchmark(20.0, 0.0, "it broke")}, "float32") == "pytorch"
    assert fastest({}, "float32") == "pytorch"


@with_another
def test_a_damaged_memory_is_measured_again(tmp_path: Path) -> None:
    first = load_encoder(SMALL)
    (memory,) = (tmp_path / "cache" / "engines").glob("*.json")
    network = load_timm_backbone(SMALL)
    for damaged in (
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"engines": 3}',
        b'{"engines": {"pytorch": {"rate": "fast"}}}',
        b'{"engines": {"pytorch": {"rate": NaN, "error": 0}}}',
        b'{"engines": {"pytorch": {"speed": 1}}}',
    ):
        memory.write_bytes(damaged)
        assert load_benchmark(network) == {}
    again = load_encoder(SMALL)
    assert set(again.trial) == set(first.trial)
    assert json.loads(memory.read_text())["engines"].keys() == first.trial.keys()
    assert [path.name for path in memory.parent.iterdir() if path.suffix == ".part"] == []


@with_another
def test_an_engine_that_does_not_agree_is_not_taken_and_keeps_its_features_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = installed_engines()[1]

    class Skewed(PyTorchEngine):
        def compute(self, piece: Tensor, *, cores: int) -> Tensor:
            return 1.01 * super().compute(piece, cores=cores)

    Skewed.name = name
    monkeypatch.setattr(registry, "_OTHERS", {name: Skewed})
    encoder = load_encoder(SMALL)
    assert encoder.engine == "pytorch"
    assert encoder.trial[name].error > TOLERANCE["float32"]
    named = load_encoder(SMALL, engine=name)
    assert (named.engine, named.cache_tag) == (name, name)


def test_a_benchmark_needs_more_than_one_installed_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    encoder = load_encoder(SMALL)
    assert (encoder.engine, encoder.cache_tag, encoder.trial) == ("pytorch", "", {})
    assert not (tmp_path / "cache").exists()


@with_another
def test_the_trial_shows_few_images_to_each_engine() -> None:
    network = load_timm_backbone(EncoderSpec(name="test_resnet", weights="random", size=(48, 64)))
    inputs = benchmark_inputs(network)
    assert inputs.shape == (2, 3, 48, 64)  # four times
    assert inputs.float().std() > 20


@with_another
def test_a_network_that_would_take_long_is_not_tried_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_LARGEST_TRIAL", 1e6)
    encoder = load_encoder(SMALL)
    assert encoder.engine == "pytorch"
    assert all("not tried" in encoder.trial[name].fault for name in installed_engines()[1:])
    assert load_encoder(SMALL).trial == encoder.trial
    name = installed_engines()[1]
    assert load_encoder(SMALL, engine=name).engine == name


def test_unknown_and_missing_engines_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="no engine is called 'openvin'; did you mean 'openvino'"):
        load_encoder(SMALL, engine="openvin")
    with pytest.raises(UnknownNameError, match="no engine is called 'tensorrt'"):
        load_encoder(EncoderSpec(name="pixels"), engine="tensorrt")
    with pytest.raises(UsageError, match="the engine cuda needs a GPU, and the device is cpu"):
        load_encoder(SMALL, engine="cuda")
    for name in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
        openvino_engine.core.cache_clear()
        with pytest.raises(
            UsageError, match=re.escape(f"the engine {name} is not installed: {install_command('fast')}")
        ):
            load_encoder(SMALL, engine=name)
    monkeypatch.undo()
    openvino_engine.core.cache_clear()


def test_the_environment_names_an_engine_where_the_call_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAREY_ENGINE", "pytorch")
    assert load_encoder(SMALL).trial == {}
    monkeypatch.setenv("MAREY_ENGINE", "torch")
    with pytest.raises(UnknownNameError, match="did you mean 'pytorch'"):
        load_encoder(SMALL)


@each_other
def test_an_engine_without_bfloat16_says_so_and_is_left_out(engine: str) -> None:
    spec = SMALL.model_copy(update={"precision": "bfloat16"})
    if engine == "openvino":
        from marey.encoders.openvino_engine import capabilities

        if "BF16" in capabilities():
            assert (
                error(load_frame_encoder(spec, engine=engine).encode(noise(2, (3, 64, 64))), expected(SMALL, 2)) < 0.1
            )
            return
    with pytest.raises(UsageError, match=r"bfloat16.*take encoder.precision=float32, or --engine pytorch"):
        load_encoder(spec, engine=engine)
    assert "bfloat16" in load_encoder(spec).trial[engine].fault


@each_other
def test_a_network_that_cannot_be_converted_is_run_by_pytorch(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from marey.encoders import timm_encoder

    def unusual(network: nn.Module, pixels: Tensor, *, grid: object) -> Tensor:
        found: Tensor = torch.linalg.svdvals(pixels.flatten(1, 2))
        return found

    monkeypatch.setattr(timm_encoder, "features_of", unusual)
    with pytest.raises(UsageError, match=r"test_resnet cannot be converted for another engine.*take --engine pytorch"):
        load_encoder(SMALL, engine=engine)
    encoder = load_encoder(SMALL)
    assert encoder.engine == "pytorch"
    assert "cannot be converted" in encoder.trial[engine].fault


@with_another
def test_a_converted_network_is_kept_and_a_damaged_file_made_again(tmp_path: Path) -> None:
    network = load_timm_backbone(SMALL)
    first = onnx_bytes(network)
    (kept,) = (tmp_path / "cache" / "engines").glob("*.onnx")
    assert kept.read_bytes() == first
    changed = kept.stat().st_mtime_ns
    assert onnx_bytes(network) == first
    assert kept.stat().st_mtime_ns == changed
    kept.write_bytes(first[:-100])
    again = onnx_bytes(network)
    assert len(again) == len(first)
    (kept,) = (tmp_path / "cache" / "engines").glob("*.onnx")
    assert kept.read_bytes() == again


@with_another
def test_conversion_leaves_the_network_as_it_was() -> None:
    network = load_timm_backbone(SMALL)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    onnx_bytes(network)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


@pytest.mark.long
def test_the_heavy_packages_are_imported_by_those_who_use_them_only() -> None:
    code = (
        "import sys, marey.encoders; print({'openvino', 'onnxruntime', 'nncf', 'onnx'} & sys.modules.keys() or 'none')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "none"


def test_the_attributes_of_an_encoder_do_not_depend_on_the_engine() -> None:
    found: list[Encoder] = [load_frame_encoder(SMALL, engine=name) for name in installed_engines()]
    assert len({(one.hash, one.size, one.dim, one.mean, one.interpolation) for one in found}) == 1
    assert all(isinstance(one, FrameEncoder) for one in found)
