from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from marey import commands
from marey.commands.steps.extractions import Exported
from marey.data import load_data, read_feature_file, read_feature_folder
from marey.encoders import FeatureCache, extract, load_encoder, read_clip, read_frames
from marey.errors import DatasetError, UsageError
from marey.training import load_recipe
from marey.video import decode

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    """Frames (N, 25, 40, 53, 3) and labels of six arrays: people 1 to 4, 5, and 6."""
    from marey.synthetic import draw

    def frames(action: str, actor: int) -> Any:
        pictures = draw(action, actor=actor, duration=1.0)
        return np.stack([np.asarray(picture) for picture in pictures]).transpose(0, 2, 3, 1)[:, ::3, ::3]

    held = {}
    for part, people in (("train", (1, 2, 3, 4)), ("val", (5,)), ("test", (6,))):
        held[f"X_{part}"] = np.stack([frames(action, actor) for action in ("boxing", "walking") for actor in people])
        held[f"y_{part}"] = np.array([label for label in (0, 1) for _ in people])
    return held


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, drawn: dict[str, Any]) -> Path:
    """The six arrays, imported from a pickle; not to be changed."""
    folder = tmp_path_factory.mktemp("import")
    (folder / "kth six.pkl").write_bytes(
        pickle.dumps(tuple(drawn[f"{k}_{p}"] for k in "Xy" for p in ("train", "val", "test")))
    )
    commands.exchange.import_data(folder / "kth six.pkl", out=folder / "out", classes="boxing,walking")
    return folder / "out"


def test_six_arrays_in_a_pickle_become_a_data_set_to_the_last_bit(imported: Path, drawn: dict[str, Any]) -> None:
    manifest = load_data(imported)
    assert manifest.describe()["splits"] == {"train": 8, "val": 2, "test": 2}
    assert manifest.describe()["labels"] == {"boxing": 6, "walking": 6}
    for part in ("train", "val", "test"):
        clips = [clip for clip in manifest.clips if clip.split == part]
        for clip, frames in zip(clips, drawn[f"X_{part}"], strict=True):
            found = decode(clip.path, (np.arange(25) + 0.5) / 25).data.permute(0, 2, 3, 1).numpy()
            assert (found == frames).all()


def test_an_imported_clip_is_read_as_the_array_is(
    imported: Path, drawn: dict[str, Any], small_changes: list[str]
) -> None:
    recipe = load_recipe("default-0.1", changes=small_changes)
    encoder = load_encoder(recipe.encoder)
    contract = encoder.contract(sampling=recipe.sampling, streams=recipe.streams, fit=recipe.fit)
    clip = next(clip for clip in load_data(imported).clips if clip.split == "test")
    from_file, from_array = read_clip(clip, contract), read_frames(drawn["X_test"][0], contract, frame_rate=25)
    for stream in contract.streams:
        assert torch.equal(from_file[stream], from_array[stream])


def test_what_was_imported_is_trained_and_tested_on_as_the_arrays_say(
    imported: Path, tmp_path: Path, small_changes: list[str]
) -> None:
    result = commands.train(str(imported), out=tmp_path / "run", set=small_changes)
    assert result.metrics.clips == 2


def test_what_was_taken_for_granted_is_said(tmp_path: Path, drawn: dict[str, Any]) -> None:
    np.savez(tmp_path / "a.npz", **{name: array / 255 if name[0] == "X" else array for name, array in drawn.items()})
    made = commands.exchange.import_data(tmp_path / "a.npz", out=tmp_path / "out", frame_rate=50)
    said = " | ".join(made.notes)
    for words in (
        "classes are called by their numbers",
        "are taken as 0 to 1",
        "colours are taken as RGB",
        "50 frames a second are stated",
        "no groups known: every file is its own group",
        "groups are unknown: clips of one recording",
    ):
        assert words in said
    assert made.as_dict()["path"] == str(tmp_path / "out" / "manifest.csv")
    assert made.manifest.labels == ("0", "1")


def test_a_clip_on_both_sides_of_the_split_is_found(tmp_path: Path, drawn: dict[str, Any]) -> None:
    arrays = dict(drawn, X_test=drawn["X_train"][:2], y_test=drawn["y_train"][:2])
    np.savez(tmp_path / "a.npz", **arrays)
    made = commands.exchange.import_data(tmp_path / "a.npz", out=tmp_path / "out")
    leaks = [note for note in made.notes if note.startswith("leak: ")]
    assert len(leaks) == 2
    assert "train/00000.mp4" in leaks[0] + leaks[1]
    assert "test/00000.mp4" in leaks[0] + leaks[1]


def test_a_clip_that_is_no_number_is_named_or_left_out(tmp_path: Path, drawn: dict[str, Any]) -> None:
    bad = drawn["X_train"] / np.float32(255)
    bad[3, 0, 0, 0, 0] = np.nan
    np.savez(tmp_path / "a.npz", X=bad, y=drawn["y_train"])
    with pytest.raises(DatasetError, match=r"a\.npz/clips/3: corrupt: 1 value in it are NaN"):
        commands.exchange.import_data(tmp_path / "a.npz", out=tmp_path / "out")
    made = commands.exchange.import_data(tmp_path / "a.npz", out=tmp_path / "out", on_error="skip")
    assert len(made.manifest.clips) == 7
    assert "clips/3" in (tmp_path / "out" / "left_out.csv").read_text()


def test_folders_of_frames_become_clips_with_their_names(tmp_path: Path, drawn: dict[str, Any]) -> None:
    for label, person, frames in (("boxing", 1, drawn["X_train"][0]), ("große Schritte", 2, drawn["X_train"][4])):
        folder = tmp_path / "frames" / label / f"person{person:02d}_{'walking'}_d1"
        folder.mkdir(parents=True)
        for number, frame in enumerate(frames, start=1):
            Image.fromarray(frame).save(folder / f"{number}.png")
    made = commands.exchange.import_data(tmp_path / "frames", out=tmp_path / "out")
    assert [clip.path.relative_to(tmp_path / "out").as_posix() for clip in made.manifest.clips] == [
        "boxing/person01_walking_d1.mp4",
        "große Schritte/person02_walking_d1.mp4",
    ]
    assert made.manifest.grouping == "groups by the pattern 'kth': 2 groups"
    assert not any("is unknown" in note for note in made.notes)
    found = decode(made.manifest.clips[0].path, (np.arange(25) + 0.5) / 25).data.permute(0, 2, 3, 1).numpy()
    assert (found == drawn["X_train"][0]).all()


@pytest.mark.parametrize("name", ["features", "features.npz"])
def test_exported_features_are_those_that_training_sees(
    small_set: Path, small_changes: list[str], tmp_path: Path, name: str
) -> None:
    commands.extract(str(small_set), recipe="default-0.1", set=small_changes)
    made = commands.extract(str(small_set), recipe="default-0.1", out=tmp_path / name, set=small_changes)
    found = (read_feature_file if name.endswith("npz") else read_feature_folder)(tmp_path / name)
    recipe = load_recipe("default-0.1", changes=small_changes)
    encoder = load_encoder(recipe.encoder)
    contract = encoder.contract(sampling=recipe.sampling, streams=recipe.streams, fit=recipe.fit)
    manifest = load_data(small_set)
    expected = extract(manifest.clips, encoder, contract, cache=FeatureCache())
    assert found.contract == contract.model_dump(mode="json")
    assert made.as_dict()["clips"] == 12
    assert made.as_dict()["streams"] == {stream: [4, encoder.dim] for stream in contract.streams}
    for clip, source, features in zip(found.clips, manifest.clips, expected, strict=True):
        assert clip.name == source.path.relative_to(small_set).as_posix()
        assert (clip.label, clip.group) == (source.label, source.group)
        assert isinstance(features, dict)
        for stream, values in features.items():
            assert (clip.read(stream) == values.numpy()).all()


def test_exported_features_are_imported_elsewhere(small_set: Path, small_changes: list[str], tmp_path: Path) -> None:
    commands.extract(str(small_set), recipe="default-0.1", out=tmp_path / "f.npz", set=small_changes)
    made = commands.exchange.import_data(tmp_path / "f.npz", out=tmp_path / "out")
    assert made.path == tmp_path / "out" / "features.csv"
    assert made.manifest.grouping == "groups from the column 'group': 6 groups"
    assert made.path.is_file()
    with pytest.raises(UsageError, match="into a folder"):
        commands.exchange.import_data(tmp_path / "f.npz", out=tmp_path / "g.npz")


def test_a_file_that_cannot_be_read_stops_an_export_or_is_left_out(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    for label in ("boxing", "walking"):
        (tmp_path / "clips" / label).mkdir(parents=True)
        source = sorted((small_set / label).iterdir())[0]
        (tmp_path / "clips" / label / "a.mp4").write_bytes(source.read_bytes())
    (tmp_path / "clips" / "walking" / "bad.mp4").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"1 clip of 3 cannot be used: .*bad\.mp4: empty"):
        commands.extract(str(tmp_path / "clips"), recipe="default-0.1", out=tmp_path / "f", set=small_changes)
    made = commands.extract(
        str(tmp_path / "clips"), recipe="default-0.1", out=tmp_path / "f", set=small_changes, on_error="skip"
    )
    assert isinstance(made, Exported)
    assert len(made.files.manifest.clips) == 2
    assert "bad.mp4" in (tmp_path / "f" / "left_out.csv").read_text()


class Runs:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_the_program_ends_with_3_and_a_sentence_on_hostile_input(call_marey: Call, tmp_path: Path) -> None:
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Runs(f"touch '{tmp_path}/bait'")))
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(np.zeros(100))[:-50])
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    for name, said in (
        ("evil.pkl", "asks for 'posix.system', and nothing of it was run"),
        ("cut.pkl", "as if it was cut off"),
        ("empty", "holds neither images nor .npy files"),
        ("notes.txt", "is no form of a data set that is imported"),
        ("none", "is not there"),
    ):
        ended = call_marey("data", "import", tmp_path / name, "--out", tmp_path / "out")
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.startswith("marey: ")
        assert ended.err.count("\n") == 1
        assert said in ended.err
    assert not (tmp_path / "bait").exists()
    assert not (tmp_path / "out").exists()


def test_the_program_imports_and_exports(
    call_marey: Call, imported: Path, small_changes: list[str], tmp_path: Path
) -> None:
    words = [word for change in small_changes for word in ("--set", change)]
    shown = call_marey("extract", imported, "--out", tmp_path / "f.npz", *words)
    assert (shown.code, str(tmp_path / "f.npz") in shown.out) == (0, True)
    answer = json.loads(call_marey("data", "import", tmp_path / "f.npz", "--out", tmp_path / "f", "--json").out)
    assert (answer["clips"], answer["splits"]) == (12, {"train": 8, "val": 2, "test": 2})
    again = call_marey("extract", imported, "--out", tmp_path / "f.npz", *words)
    assert again.code == 2
    assert "exists, and is left as it is" in again.err
    wrong = call_marey("data", "import", tmp_path / "f.npz", "--out", tmp_path / "g", "--unusable", "ignore")
    assert wrong.code == 2
