from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from marey.encoders import Contract, EncoderSpec, Stream
from marey.errors import MareyError, ModelFormatError, UsageError, VideoError
from marey.models import (
    ActionModel,
    HeadSpec,
    ModelConfig,
    head_names,
    load_model,
    new_classifier,
    save_model,
)
from marey.video import Sampling

LABELS = ("walking", "jogging, slowly", 'hand"waving"', "Bücken", "走る", "two\nlines")

CONTRACT = Contract(
    sampling=Sampling(kind="dense", count=7, rate=12.5, short="wrap"),
    streams={"motion": Stream(kind="difference", span=0.3, gain=2.0), "frame": Stream(kind="appearance")},
    fit="crop",
    encoder=EncoderSpec(name="resnet18.a1_in1k", precision="bfloat16", grid=(3, 2)),
    encoder_hash="f" * 32,
    size=(160, 128),
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    dim=9,
)


def model(
    head: str = "pyramid",
    *,
    fusion: Literal["late", "early"] = "late",
    seed: int = 0,
    made_with: dict[str, Any] | None = None,
    **options: bool | float | str,
) -> ActionModel:
    config = ModelConfig(
        contract=CONTRACT,
        head=HeadSpec(name=head, fusion=fusion, options=options),
        labels=LABELS,
        temperature=1.7,
        made_with=made_with or {},
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = new_classifier(config.contract, config.head, len(config.labels)).eval()
        with torch.no_grad():
            for tensor in classifier.state_dict().values():
                tensor.add_(torch.randn_like(tensor) * 0.3)
    return ActionModel(config, classifier)


def features(length: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {stream: torch.randn(length, CONTRACT.dim, generator=generator) for stream in CONTRACT.streams}


def hidden_files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("head", head_names("features"))
@pytest.mark.parametrize("fusion", ["late", "early"])
def test_a_model_that_was_saved_answers_the_same(tmp_path: Path, head: str, fusion: Literal["late", "early"]) -> None:
    before = model(head, fusion=fusion)
    save_model(before, tmp_path / "model")
    after = load_model(tmp_path / "model")
    assert after.config == before.config
    assert after.labels == LABELS
    assert not after.classifier.training
    for length in (1, 7, 20):
        assert torch.equal(after.probabilities(features(length)), before.probabilities(features(length)))
    assert all(parameter.requires_grad for parameter in after.classifier.parameters())


def test_options_of_the_head_are_kept(tmp_path: Path) -> None:
    before = model("lstm", hidden=5, layers=2)
    save_model(before, tmp_path / "model")
    after = load_model(tmp_path / "model")
    assert after.config.head.options == {"hidden": 5, "layers": 2}
    assert torch.equal(after.probabilities(features()), before.probabilities(features()))


def test_probabilities_are_calibrated_by_the_temperature() -> None:
    warm = model()
    cold = ActionModel(warm.config.model_copy(update={"temperature": 1.0}), warm.classifier)
    left, right = warm.probabilities(features()), cold.probabilities(features())
    assert left.dtype == torch.float64
    assert left.sum() == pytest.approx(1)
    expected = (right.log() / 1.7).softmax(-1)
    torch.testing.assert_close(left, expected, rtol=1e-6, atol=1e-9)
    assert left.argmax() == right.argmax()


def test_the_config_holds_the_contract_for_people_and_for_other_programs(tmp_path: Path) -> None:
    save_model(model(made_with={"recipe": "default", "seed": 3}), tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    text = (tmp_path / "model" / "config.json").read_text(encoding="utf-8")
    config = json.loads(text)
    assert "走る" in text
    assert config["format"] == 1
    assert config["labels"] == list(LABELS)
    assert config["temperature"] == 1.7
    assert config["made_with"] == {"recipe": "default", "seed": 3}
    assert list(config["contract"]["streams"]) == ["motion", "frame"]
    assert config["contract"]["streams"]["motion"] == {"kind": "difference", "span": 0.3, "gain": 2.0}
    assert config["contract"]["sampling"]["rate"] == 12.5
    assert config["contract"]["encoder"]["name"] == "resnet18.a1_in1k"
    assert config["contract"]["encoder_hash"] == "f" * 32
    assert Contract.model_validate(config["contract"]) == CONTRACT


def test_a_run_folder_stands_for_the_model_in_it(tmp_path: Path) -> None:
    save_model(model(), tmp_path / "run" / "model")
    assert load_model(tmp_path / "run").config == load_model(tmp_path / "run" / "model").config


def test_a_model_replaces_an_older_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    save_model(model("lstm"), tmp_path / "model")
    newer = model("mean", seed=1)
    save_model(newer, tmp_path / "model")
    assert torch.equal(load_model(tmp_path / "model").probabilities(features()), newer.probabilities(features()))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_save_that_fails_half_way_leaves_the_old_model(tmp_path: Path) -> None:
    old = model()
    save_model(old, tmp_path / "model")
    with pytest.raises(Exception, match="serialize"):
        save_model(model("lstm", made_with={"no json": object()}), tmp_path / "model")
    assert torch.equal(load_model(tmp_path / "model").probabilities(features()), old.probabilities(features()))
    assert hidden_files(tmp_path) == []


_interrupt: int | None = None


def _count_renames(event: str, _: tuple[object, ...]) -> None:
    global _interrupt
    if _interrupt is not None and event == "os.rename":
        _interrupt -= 1
        if _interrupt == 0:
            raise KeyboardInterrupt


sys.addaudithook(_count_renames)


@pytest.mark.parametrize("rename", [1, 2])
def test_a_save_that_is_interrupted_at_a_rename_leaves_the_old_model(tmp_path: Path, rename: int) -> None:
    global _interrupt
    old = model()
    save_model(old, tmp_path / "model")
    _interrupt = rename
    try:
        with pytest.raises(KeyboardInterrupt):
            save_model(model("lstm"), tmp_path / "model")
    finally:
        _interrupt = None
    assert torch.equal(load_model(tmp_path / "model").probabilities(features()), old.probabilities(features()))
    assert hidden_files(tmp_path) == []


def test_a_save_never_takes_the_place_of_something_else(tmp_path: Path) -> None:
    videos = tmp_path / "model"
    videos.mkdir()
    (videos / "holiday.mp4").touch()
    with pytest.raises(
        UsageError, match=r"cannot be written to .*model, which holds 'holiday.mp4'; name another place"
    ):
        save_model(model(), videos)
    assert (videos / "holiday.mp4").exists()
    (tmp_path / "notes").write_text("of mine")
    with pytest.raises(UsageError, match="notes"):
        save_model(model(), tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "of mine"


def test_a_model_can_be_saved_over_itself(tmp_path: Path) -> None:
    save_model(model(), tmp_path / "model")
    once = load_model(tmp_path / "model")
    save_model(once, tmp_path / "model")
    assert torch.equal(load_model(tmp_path / "model").probabilities(features()), once.probabilities(features()))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    save_model(model("lstm"), folder)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "config_hash": None, **changes}), encoding="utf-8")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_no_model(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(ModelFormatError, match=f"is not a model: it has no {name}; give RUN/model"):
        load_model(saved)


def test_a_place_where_nothing_is_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(ModelFormatError, match="is not a model"):
            load_model(place)


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "{}", '{"format": 1}', "[" * 5000, '{"a": NaN'])
def test_a_damaged_config_is_refused(saved: Path, damage: str) -> None:
    (saved / "config.json").write_text(damage)
    with pytest.raises(ModelFormatError, match=r"config\.json cannot be read .*; it is damaged, or was written by"):
        load_model(saved)


def test_a_config_that_is_no_text_is_refused(saved: Path) -> None:
    (saved / "config.json").write_bytes(b"\xff\xfe\x00" * 20)
    with pytest.raises(ModelFormatError, match="cannot be read"):
        load_model(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": "one"},
        {"temperature": 0},
        {"labels": ["alone"]},
        {"labels": "walking"},
        {"contract": {}},
        {"contract": {**CONTRACT.model_dump(mode="json"), "size": [10**9, 10**9]}},
        {"from_the_future": True},
        {"head": {"name": "lstm", "fusion": "late", "options": {"hidden": "many"}}},
    ],
)
def test_a_config_of_another_version_is_refused_by_the_key(saved: Path, changes: dict[str, Any]) -> None:
    change_config(saved, **changes)
    with pytest.raises(ModelFormatError, match=rf"\({next(iter(changes))}"):
        load_model(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ["one", "two"]},
        {"contract": {**CONTRACT.model_dump(mode="json"), "dim": 10}},
        {"contract": {**CONTRACT.model_dump(mode="json"), "streams": {"motion": {"kind": "difference"}}}},
        {"head": {"name": "gru", "fusion": "late", "options": {}}},
        {"head": {"name": "lstm", "fusion": "early", "options": {}}},
        {"head": {"name": "lstm", "fusion": "late", "options": {"hidden": 64}}},
        {"head": {"name": "telepathy", "fusion": "late", "options": {}}},
        {"head": {"name": "lstm", "fusion": "late", "options": {"hidden": -3}}},
    ],
)
def test_weights_of_another_shape_than_the_config_says_are_refused(saved: Path, changes: dict[str, Any]) -> None:
    change_config(saved, **changes)
    with pytest.raises(ModelFormatError, match=r"model\.safetensors does not fit its config\.json .*; copy the model"):
        load_model(saved)


def test_a_config_cannot_claim_more_memory_than_its_weights_have(saved: Path) -> None:
    for options in ({"hidden": 4096, "layers": 200}, {"hidden": 10**9}, {"layers": 10**9}):
        change_config(saved, head={"name": "lstm", "fusion": "late", "options": options})  # 100 GB and more
        with pytest.raises(ModelFormatError, match="does not fit"):
            load_model(saved)


def test_damaged_weights_are_refused(saved: Path) -> None:
    path = saved / "model.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:4], whole[:100], whole[:-1], whole + b"0", b"\xff" * 64, b"{}" * 40):
        path.write_bytes(damaged)
        with pytest.raises(ModelFormatError, match=r"model\.safetensors does not fit"):
            load_model(saved)


def test_weights_that_lack_a_tensor_or_have_another_are_refused(saved: Path) -> None:
    path = saved / "model.safetensors"
    whole = load_file(path)
    name = next(iter(whole))
    for state in ({**whole, "extra": torch.ones(1)}, {key: value for key, value in whole.items() if key != name}, {}):
        save_file(state, path)
        with pytest.raises(ModelFormatError, match="does not fit"):
            load_model(saved)


def test_weights_in_half_precision_are_taken_for_what_they_are(saved: Path) -> None:
    exact = load_model(saved).probabilities(features())
    path = saved / "model.safetensors"
    save_file({name: values.half() for name, values in load_file(path).items()}, path)
    change_config(saved, weights_hash=None)
    torch.testing.assert_close(load_model(saved).probabilities(features()), exact, rtol=0.02, atol=1e-3)


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_code_in_place_of_the_weights_does_not_run(saved: Path, tmp_path: Path, writer: str) -> None:
    path, marker = saved / "model.safetensors", tmp_path / "marker"
    if writer == "pickle":
        path.write_bytes(pickle.dumps(_Evil(marker)))
    else:
        torch.save({"weights": _Evil(marker)}, path)
    with pytest.raises(ModelFormatError, match="does not fit"):
        load_model(saved)
    assert not marker.exists()


def test_a_model_that_was_copied_elsewhere_is_the_same_model(saved: Path, tmp_path: Path) -> None:
    there = shutil.copytree(saved, tmp_path / "mit Leerzeichen und ä")
    assert torch.equal(load_model(there).probabilities(features()), load_model(saved).probabilities(features()))


def test_a_model_whose_weights_are_no_numbers_is_refused(tmp_path: Path) -> None:
    save_model(model(), tmp_path / "m")
    state = load_file(tmp_path / "m" / "model.safetensors")
    name = next(name for name, values in state.items() if values.is_floating_point())
    state[name] = torch.full_like(state[name], float("nan"))
    save_file(state, tmp_path / "m" / "model.safetensors")
    with pytest.raises(ModelFormatError, match=f"{name} is not finite.*train it again"):
        load_model(tmp_path / "m")


def test_a_full_disk_is_said_with_the_place_and_keeps_the_older_model(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="file sizes are limited on Unix only")
    save_model(model(), tmp_path / "m")
    before = (tmp_path / "m" / "config.json").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            save_model(model(seed=1), tmp_path / "m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(tmp_path / "m")
    assert (tmp_path / "m" / "config.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_no_bit_of_a_model_that_changes_is_used_silently(saved: Path) -> None:
    rng = np.random.default_rng(0)
    expected = load_model(saved).probabilities(features())
    for name in ("config.json", "model.safetensors"):
        whole = (saved / name).read_bytes()
        for place in rng.integers(8 * len(whole), size=60).tolist():
            damaged = bytearray(whole)
            damaged[place // 8] ^= 1 << place % 8
            (saved / name).unlink()
            (saved / name).write_bytes(damaged)
            with suppress(MareyError):
                assert torch.equal(load_model(saved).probabilities(features()), expected), (name, place)
        (saved / name).write_bytes(whole)


def test_a_config_that_was_changed_by_hand_is_refused_and_says_how_to_keep_it(saved: Path) -> None:
    path = saved / "config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), "temperature": 3.5}
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelFormatError, match=r'if you changed it by hand, remove the line "config_hash"'):
        load_model(saved)
    del config["config_hash"]
    path.write_text(json.dumps(config), encoding="utf-8")
    assert load_model(saved).config.temperature == 3.5


def test_weights_of_another_model_are_refused(saved: Path, tmp_path: Path) -> None:
    other = model("lstm")
    for values in other.classifier.parameters():
        values.data.add_(0.5)
    save_model(other, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", saved)
    with pytest.raises(ModelFormatError, match=r"model\.safetensors is not the file that was written: its hash is"):
        load_model(saved)


def test_a_probability_that_is_not_finite_is_an_error_with_its_reason() -> None:
    broken = {name: torch.full_like(values, torch.inf) for name, values in features().items()}
    with pytest.raises(VideoError, match="the model gives probabilities for it that are not finite") as caught:
        model().probabilities(broken)
    assert caught.value.reason == "not_finite"
