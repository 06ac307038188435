"""Models trained in Keras. `keras_files` was written by `scripts/keras_files.py`, in Keras 2.15 and Keras 3."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from marey import commands
from marey.data import load_data
from marey.encoders import read_clip
from marey.errors import ModelFormatError, UsageError
from marey.models import load_model
from marey.models.keras import read_network

h5py: Any = pytest.importorskip("h5py", reason="h5py is not installed: the extra keras")

PROJECT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).parent / "keras_files"
RECIPES = {"nested": "lrcn-small"}
LABELS = "bow,clap,wave"


@pytest.fixture(scope="module")
def answers() -> Callable[[Path, dict[str, Any]], Any]:
    """A function from a model and Keras's frames to probabilities, (N, classes)."""

    def ask(model: Path, given: Any) -> Any:
        clips = torch.from_numpy(given["frames"]).permute(0, 1, 4, 2, 3)
        loaded = load_model(model)
        return torch.cat([loaded.batch_probabilities([{"appearance": clip}]) for clip in clips]).numpy()

    return ask


def expected(given: Any) -> Any:
    """Keras's probabilities; the nested network gives logits."""
    found = given["answers"].astype(np.float64)
    return found if np.allclose(found.sum(1), 1, atol=1e-5) else torch.from_numpy(found).softmax(-1).numpy()


def import_file(name: str, out: Path, **options: Any) -> Any:
    network = name.removesuffix(Path(name).suffix).split(".")[0].removesuffix("-weights")[:-2]
    given = np.load(FILES / f"{name[: len(network) + 2]}.npz")
    recipe, pixels = RECIPES.get(network, network), cast(Any, str(given["pixels"]))
    done = commands.import_keras(FILES / name, recipe=recipe, labels=LABELS, out=out, pixels=pixels, **options)
    return given, done


@pytest.mark.parametrize("kind", ["2.h5", "3.keras"])
@pytest.mark.parametrize("network", ["cnn-lstm", "lrcn-small", "convlstm", "c3d-lstm-gru", "nested"])
def test_a_whole_model_answers_as_in_keras(network: str, kind: str, tmp_path: Path, answers: Any) -> None:
    given, _ = import_file(f"{network}-{kind}", tmp_path / "model")
    assert np.ptp(expected(given), axis=0).max() > 0.004  # answers differ from clip to clip
    assert np.abs(answers(tmp_path / "model", given) - expected(given)).max() < 1e-5


@pytest.mark.parametrize("name", ["nested-2-weights.h5", "nested-3.weights.h5"])
def test_weights_with_the_models_json_answer_as_in_keras(name: str, tmp_path: Path, answers: Any) -> None:
    given, _ = import_file(name, tmp_path / "model", architecture=FILES / f"{name[:8]}.json")
    assert np.abs(answers(tmp_path / "model", given) - expected(given)).max() < 1e-5


@pytest.mark.parametrize("name", ["cnn-lstm-2-weights.h5", "cnn-lstm-3.weights.h5"])
def test_weights_alone_are_those_of_the_recipes_network(name: str, tmp_path: Path, answers: Any) -> None:
    changes = ["sampling.count=4", "encoder.size=20"]
    given, done = import_file(name, tmp_path / "model", set=changes)
    assert "does not state its input" in done.notes[0]
    assert np.abs(answers(tmp_path / "model", given) - expected(given)).max() < 1e-5


def test_an_imported_model_labels_video(tmp_path: Path, small_set: Path) -> None:
    import_file("cnn-lstm-3.keras", tmp_path / "model")
    video = next(small_set.rglob("*.mp4"))
    labelled: Any = commands.predict(tmp_path / "model", [video])
    (found,) = labelled.predictions
    assert found.label in LABELS.split(",")
    contract = load_model(tmp_path / "model").config.contract
    assert contract.shape == (4, 1, 20, 20)
    assert contract.encoder.name == "grey-pixels"


def test_grey_frames_are_given_three_times_where_the_network_takes_colours(tmp_path: Path) -> None:
    given, done = import_file("lrcn-small-3.keras", tmp_path / "grey", grey=True)
    assert done.clip == (4, 1, 64, 64)
    import_file("lrcn-small-3.keras", tmp_path / "colour")
    grey = torch.from_numpy(given["frames"][0]).permute(0, 3, 1, 2)[:, :1]
    one = load_model(tmp_path / "grey").probabilities({"appearance": grey})
    three = load_model(tmp_path / "colour").probabilities({"appearance": grey.expand(-1, 3, -1, -1)})
    torch.testing.assert_close(one, three)


def test_the_command_writes_a_model_and_says_what_it_assumed(call_marey: Any, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("bow\nclap\nwave\n", encoding="utf-8")
    model, out = FILES / "cnn-lstm-3.keras", tmp_path / "model"
    done = call_marey("import-keras", model, "--recipe", "cnn-lstm", "--labels", tmp_path / "classes.txt", "--out", out)
    assert done.code == 0
    assert "pixels are given as 0..1" in done.out + done.err
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["labels"] == ["bow", "clap", "wave"]


def test_a_model_of_another_recipe_is_refused_with_the_layer_that_differs(tmp_path: Path) -> None:
    with pytest.raises(
        ModelFormatError, match=r"layer 'conv3d_?\d*' is a Conv3D with a kernel \(3, 3, 3, 3, 3\) where"
    ):
        commands.import_keras(FILES / "c3d-lstm-gru-3.keras", recipe="cnn-lstm", labels=LABELS, out=tmp_path / "model")
    with pytest.raises(ModelFormatError, match=r"VGG16's convolutions have \(3, 3, 3, 64\) there"):
        commands.import_keras(FILES / "lrcn-small-3.keras", recipe="vgg16-lstm", labels=LABELS, out=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_another_number_of_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tells 3 classes apart, and --labels names 2"):
        commands.import_keras(FILES / "cnn-lstm-3.keras", recipe="cnn-lstm", labels="a,b", out=tmp_path / "model")


def test_without_h5py_the_error_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"h5py, which is not installed: .*\[keras\]"):
        read_network(FILES / "cnn-lstm-3.keras", "cnn-lstm", clip=(4, 20, 20, 1))


def changed_config(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Return a copy of a whole model whose configuration was changed."""
    copy = tmp_path / "changed.h5"
    shutil.copy(FILES / "cnn-lstm-2.h5", copy)
    with h5py.File(copy, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return copy


def read(path: Path) -> Any:
    return read_network(path, "cnn-lstm", clip=(4, 20, 20, 1))


def lambda_layer(config: dict[str, Any]) -> None:
    config["config"]["layers"].append({"class_name": "Lambda", "config": {"name": "cube", "function": ["4wEA", None]}})


def foreign_class(config: dict[str, Any]) -> None:
    config["config"]["layers"][-1] |= {"module": "builtins", "registered_name": "evil>Dense"}


def own_activation(config: dict[str, Any]) -> None:
    config["config"]["layers"][-1]["config"]["activation"] = {"class_name": "function", "config": "boom"}


def more_units(config: dict[str, Any]) -> None:
    config["config"]["layers"][-1]["config"]["units"] = 10**15


def unknown_setting(config: dict[str, Any]) -> None:
    config["config"]["layers"][-1]["config"]["magic"] = 3


def channels_first(config: dict[str, Any]) -> None:
    config["config"]["layers"][1]["config"]["layer"]["config"]["data_format"] = "channels_first"


def no_layers(config: dict[str, Any]) -> None:
    config["config"] = {"name": "empty"}


def huge_clip(config: dict[str, Any]) -> None:
    config["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 100_000, 4096, 4096, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda_layer, "layer 'cube' is a Lambda: its function is Python code in the file, and marey runs no code"),
        (foreign_class, "is a class of builtins, not of Keras"),
        (own_activation, "has the activation a function of its own, which is none of"),
        (
            more_units,
            r"layer 'dense_1' .*: its kernel is \(5, 3\) in the file, and \(5, 1000000000000000\) is expected",
        ),
        (unknown_setting, "has the setting magic=3, which is unknown here"),
        (channels_first, "has data_format=channels_first, and only channels_last is supported"),
        (no_layers, "its configuration cannot be read"),
        (huge_clip, "a clip has 1,677,721,600,000 numbers"),
    ],
)
def test_a_configuration_that_would_run_code_or_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFormatError, match=message):
        read(changed_config(tmp_path, change))


LAST = "model_weights/dense_1/dense_1"


def external_link(file: Any) -> None:
    del file[LAST]["bias:0"]
    file[LAST]["bias:0"] = h5py.ExternalLink("/etc/hostname", "/x")


def soft_link(file: Any) -> None:
    del file[LAST]["bias:0"]
    file[LAST]["bias:0"] = h5py.SoftLink(f"/{LAST}/bias:0")


def virtual(file: Any) -> None:
    del file[LAST]["bias:0"]
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "bias", (3,))
    file[LAST].create_virtual_dataset("bias:0", layout)


def external_storage(file: Any) -> None:
    del file[LAST]["bias:0"]
    file[LAST].create_dataset("bias:0", (3,), "f4", external=[("/etc/hostname", 0, 12)])


def declared(file: Any) -> None:
    del file[LAST]["kernel:0"]
    file[LAST].create_dataset("kernel:0", (5, 10**7), "f4", chunks=(5, 1000))


def packed_zeros(file: Any) -> None:
    del file[LAST]["kernel:0"]
    file[LAST].create_dataset("kernel:0", data=np.zeros((5, 10**6), "f4"), compression="gzip")


def not_finite(file: Any) -> None:
    file[LAST]["bias:0"][0] = np.nan


def missing(file: Any) -> None:
    del file[LAST]["bias:0"]


def numbers(file: Any) -> None:
    del file[LAST]["bias:0"]
    file[LAST]["bias:0"] = np.arange(3)


def a_group(file: Any) -> None:
    del file[LAST]["bias:0"]
    file[LAST].create_group("bias:0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, "is a link, possibly to another file: it is not opened"),
        (soft_link, "is a link, possibly to another file: it is not opened"),
        (virtual, "takes its values from another file"),
        (external_storage, "takes its values from another file"),
        (declared, r"declares 200,000,000 bytes \(5, 10000000\), and 0 are in the file"),
        (packed_zeros, "it is damaged, or made to fill the memory"),
        (not_finite, "holds NaN or infinite values"),
        (missing, "has no 'bias:0', which it lists: the file is damaged"),
        (numbers, "holds int64, and weights are floating-point numbers"),
        (a_group, "is a group where a weight is expected"),
    ],
)
def test_weights_that_open_other_files_fill_the_memory_or_are_broken_are_refused(
    change: Callable[[Any], None], message: str, tmp_path: Path
) -> None:
    copy = tmp_path / "changed.h5"
    shutil.copy(FILES / "cnn-lstm-2.h5", copy)
    with h5py.File(copy, "r+") as file:
        change(file)
    with pytest.raises(ModelFormatError, match=message):
        read(copy)


@pytest.mark.parametrize(
    ("config", "weights", "message"),
    [
        (b"[" * 100_000, b"", "is not JSON, or is nested too deep"),
        (b"{}", b"\0" * (64 << 20), "unpacks to 67,108,864 bytes"),
        (b"{}", b"no HDF5", "cannot be read as a Keras model"),
        (b"{}" + b" " * (65 << 20), b"", "is larger than 64 MB"),
        (None, b"", "has no config.json"),
    ],
    ids=["deep", "bomb", "other", "long", "empty"],
)
def test_an_archive_that_is_a_bomb_or_no_model_is_refused(
    config: bytes | None, weights: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if config is not None:
            archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights)
    with pytest.raises(ModelFormatError, match=message):
        read(path)


def test_a_file_that_is_cut_off_at_any_place_is_refused(tmp_path: Path) -> None:
    whole = (FILES / "cnn-lstm-2.h5").read_bytes()
    for share in (0.0, 0.01, 0.3, 0.7, 0.95):
        (tmp_path / "cut.h5").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ModelFormatError):
            read(tmp_path / "cut.h5")


def test_a_model_on_features_asks_for_the_network_that_made_them(tmp_path: Path) -> None:
    def on_features(config: dict[str, Any]) -> None:
        layers = config["config"]["layers"]
        config["config"]["layers"] = [layers[0], *layers[-3:]]
        layers[0]["config"]["batch_input_shape"] = [None, 10, 512]

    copy = changed_config(tmp_path, on_features)
    with pytest.raises(UsageError, match="reads features of VGG16, and its weights are not in the file"):
        read_network(copy, "vgg16-lstm", clip=(10, 96, 64, 3))
    with pytest.raises(ModelFormatError, match="reads features"):
        read(copy)


def keras_python() -> Path:
    """The Python of an environment with Keras: MAREY_KERAS_PYTHON, or the one that `make bench ONLY=vgg` makes."""
    python = Path(os.environ.get("MAREY_KERAS_PYTHON", PROJECT / ".venv-keras" / "bin" / "python"))
    if not python.is_file():
        pytest.skip(
            "no environment with Keras: make bench ONLY=vgg makes one, or name its Python in MAREY_KERAS_PYTHON"
        )
    return python


@pytest.mark.long
@pytest.mark.parametrize(
    ("recipe", "shape"),
    [("cnn-lstm", (10, 80, 80, 1)), ("vgg16-bilstm", (8, 112, 112, 3)), ("vgg16-lstm", (10, 80, 100, 3))],
)
def test_twenty_real_clips_are_answered_as_in_keras_by_the_full_network(
    recipe: str, shape: tuple[int, ...], tmp_path: Path, answers: Any, shared_data: Path
) -> None:
    python, name = keras_python(), f"{recipe}-whole"
    clips = load_data(shared_data / "ut-interaction-set1").clips[::3][:20]
    seen = commands.import_keras(FILES / "lrcn-small-3.keras", recipe="lrcn-small", labels=LABELS, out=tmp_path / "any")
    contract = load_model(seen.model).config.contract
    sampling = contract.sampling.model_copy(update={"count": shape[0]})
    contract = contract.model_copy(update={"sampling": sampling, "size": shape[1:3]})
    frames = torch.stack([read_clip(clip, contract)["appearance"] for clip in clips]).permute(0, 1, 3, 4, 2).numpy()
    np.savez(tmp_path / f"{name}.npz", frames=frames[..., :1] if shape[3] == 1 else frames)
    script = PROJECT / "scripts" / "keras_files.py"
    subprocess.run([python, script, tmp_path, name], check=True, capture_output=True)  # noqa: S603
    (path,) = tmp_path.glob(f"{name}-?.keras")
    commands.import_keras(path, recipe=recipe, labels=LABELS, out=tmp_path / "model")
    given = np.load(path.with_suffix(".npz"))
    found = answers(tmp_path / "model", given)
    assert len(found) == 20
    assert np.ptp(expected(given), axis=0).max() > 0.3
    difference = np.abs(found - expected(given)).max()
    print(f"{recipe}: 20 clips, largest difference of a probability {difference:.1e}")
    assert difference < 1e-4
