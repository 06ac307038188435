from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey.data import (
    FeatureClip,
    FeatureTable,
    Part,
    content_hash,
    detect_format,
    features_of,
    read_arrays,
    read_feature_file,
    read_feature_folder,
    write_features,
)
from marey.errors import DatasetError, UsageError, VideoError

CONTRACT = {"encoder": {"name": "ünet"}, "dim": 3}


def values(clip: str, stream: str) -> Any:
    return np.random.default_rng(len(clip)).random((4, 3 if stream == "motion" else 2)).astype(np.float32)


def table(
    read: Callable[[str, str], Any] = values, names: tuple[str, ...] = ("a/clip 1.mp4", "b/é@1-2")
) -> FeatureTable:
    parts: tuple[Part, ...] = ("train", "test")
    clips = tuple(
        FeatureClip(name, name[:1], f"group {number}", part, partial(read, name))
        for number, (name, part) in enumerate(zip(names, parts, strict=False))
    )
    return FeatureTable(clips, ("motion", "colour"), CONTRACT, "the test")


def content(found: FeatureTable) -> Any:
    rows = [(clip.name, clip.label, clip.group, clip.split) for clip in found.clips]
    return rows, found.streams, found.contract, [clip.read(s).tolist() for clip in found.clips for s in found.streams]


@pytest.mark.parametrize("name", ["features", "features.npz"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    files = write_features(table(), tmp_path / "new" / name)
    assert (files.dims, files.lengths, files.notes) == ({"motion": 3, "colour": 2}, (4,), ())
    reader = read_feature_file if name.endswith("npz") else read_feature_folder
    assert content(reader(tmp_path / "new" / name)) == content(table())
    assert detect_format(tmp_path / "new" / name) == ("feature file" if name.endswith("npz") else "feature folder")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_a_file_that_is_imported_gives_the_folder_that_was_exported(tmp_path: Path) -> None:
    write_features(table(), tmp_path / "a")
    write_features(read_feature_folder(tmp_path / "a"), tmp_path / "b.npz")
    write_features(read_feature_file(tmp_path / "b.npz"), tmp_path / "c")
    files = [
        sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file()) for root in (tmp_path / "a", tmp_path / "c")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 6
    for name in files[0]:
        assert content_hash(tmp_path / "a" / name) == content_hash(tmp_path / "c" / name)


def test_other_programs_read_the_file_as_plain_numpy(tmp_path: Path) -> None:
    write_features(table(), tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as found:
        assert found["features.motion"].shape == (2, 4, 3)
        assert found["features.colour"].dtype == np.float32
        assert found["labels"].tolist() == ["a", "b"]
        assert found["splits"].tolist() == ["train", "test"]
        assert json.loads(str(found["contract"])) == CONTRACT


def test_a_folder_of_features_from_elsewhere_needs_a_list_with_labels(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"v_Run_g0{number}_c01.npy", np.full((16, 2048), number, np.float64))
    np.save(tmp_path / "one.npy", np.arange(2048))
    (tmp_path / "metadata.csv").write_text(
        "path,label,split,note\nv_Run_g00_c01.avi,Run,train,x\nv_Run_g01_c01,Run,test,\none.npy,Walk,test,\n"
    )
    found = read_feature_folder(tmp_path)
    assert [(clip.name, clip.label, clip.split) for clip in found.clips] == [
        ("v_Run_g00_c01", "Run", "train"),
        ("v_Run_g01_c01", "Run", "test"),
        ("one", "Walk", "test"),
    ]
    assert found.streams == ("features",)
    assert found.contract is None
    assert found.notes == (
        "columns left aside: 'note'",
        "2 paths without .npy: the .npy file of the same name was taken",
    )
    first, _, one = (clip.read("features") for clip in found.clips)
    assert first.dtype == np.float32
    assert (first.shape, one.shape) == ((16, 2048), (1, 2048))
    (tmp_path / "other.csv").touch()
    with pytest.raises(DatasetError, match=r"one CSV file that lists its features .*, and has metadata.csv, other.csv"):
        read_feature_folder(tmp_path)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("path,label\nnone.npy,a\n", "there is no .npy file of that name"),
        ("path,label\na.npy,a\na.mp4,a\n", "names the features of 'a' twice"),
        ("path,label,start\na.npy,a,1\n", "is read whole"),
        ("filename,label\na.npy,a\n", "did you mean 'path'"),
        ("", "is empty"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path, rows: str, said: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    (tmp_path / "features.csv").write_text(rows)
    with pytest.raises(DatasetError, match=said):
        read_feature_folder(tmp_path)


def broken(how: str) -> Callable[[str, str], Any]:
    def read(clip: str, stream: str) -> Any:
        good = values(clip, stream)
        if clip == "a/clip 1.mp4" or stream == "colour":
            return good
        if how == "error":
            raise VideoError(clip, "truncated", "it ends early")
        if how == "nan":
            good[0, 0] = np.nan
        return {"nan": good, "frames": good[:2], "none": good[:0], "dim": good[:, :1]}[how]

    return read


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("error", "truncated: it ends early"),
        ("nan", "motion holds values that are NaN or infinite"),
        ("frames", r"its streams have \[2, 4\] frames"),
        ("none", r"its streams have \[0, 4\] frames"),
        ("dim", "motion has 1 numbers a frame, others have 3"),
    ],
)
@pytest.mark.parametrize("name", ["f", "f.npz"])
def test_features_that_cannot_be_used_stop_it_or_are_left_out(tmp_path: Path, how: str, said: str, name: str) -> None:
    with pytest.raises(DatasetError, match=rf"1 clip of 2 cannot be used: .*{said}"):
        write_features(table(broken(how)), tmp_path / name)
    assert not list(tmp_path.iterdir())
    files = write_features(table(broken(how)), tmp_path / name, unusable="leave-out")
    assert len(files.manifest.clips) == 1
    assert "1 clip left out" in files.notes[0]
    assert name == "f.npz" or "b/é@1-2" in (tmp_path / name / "left_out.csv").read_text()


def test_a_damaged_file_of_features_is_named(tmp_path: Path) -> None:
    write_features(table(), tmp_path / "a")
    path = tmp_path / "a" / "motion" / "a" / "clip 1.mp4.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"clip 1\.mp4\.npy.*corrupt.*it was cut off"):
        write_features(read_feature_folder(tmp_path / "a"), tmp_path / "b")
    np.save(path, np.array([["a"]]))
    with pytest.raises(VideoError, match="features are numbers"):
        read_feature_folder(tmp_path / "a").clips[0].read("motion")


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../b", "", "C:/x", "a\\b", "a\0b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="cannot be the name of a file"):
        write_features(table(names=(name,)), tmp_path / "deep" / "a")
    assert not list(tmp_path.rglob("*"))


def rewrite(path: Path, **arrays: Any) -> None:
    held = {"features.m": np.zeros((2, 4, 3), np.float32), "labels": np.array(["a", "b"])} | arrays
    np.savez(path, **{name: array for name, array in held.items() if array is not None})


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"features.m": np.zeros((2, 3), np.float32)}, r"it needs arrays \(N, T, D\)"),
        ({"features.m": np.zeros((2, 3, 4), np.uint8)}, r"it needs arrays \(N, T, D\)"),
        ({"labels": np.array(["a"])}, "arrays are of different lengths: 1, 2"),
        ({"features.n": np.zeros((3, 4, 3), np.float32)}, "arrays are of different lengths: 2, 3"),
        ({"labels": np.array([1, 2])}, "labels have to be text"),
        ({"splits": np.array(["train", "tset"])}, "the split 'tset' is none of train, val, test"),
        ({"clips": np.array(["a", "a"])}, "two clips have the same name"),
        ({"contract": np.array("{")}, "the contract is not JSON"),
        ({"contract": np.array("[" * 100_000)}, "the contract is not JSON"),
        ({"contract": np.array("[]")}, "not a JSON object"),
        ({"labels": np.array([{}, []], object)}, "Python objects"),
    ],
)
def test_a_file_of_features_that_does_not_fit_together_is_refused(tmp_path: Path, arrays: Any, said: str) -> None:
    rewrite(tmp_path / "f.npz", **arrays)
    with pytest.raises(DatasetError, match=said):
        read_feature_file(tmp_path / "f.npz")


def test_a_stream_whose_name_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive, archive.open("features.../x.npy", "w") as file:
        np.lib.format.write_array(file, np.zeros((2, 4, 3), np.float32))
    with pytest.raises(DatasetError, match="cannot be the name of a file"):
        write_features(read_feature_file(tmp_path / "f.npz"), tmp_path / "deep" / "a")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": "other", "streams": ["a"]}',
        '{"format": "marey features 1", "streams": [1]}',
        "{}",
        '{"format": "marey features 1", "streams": []}',
    ],
)
def test_a_description_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    write_features(table(), tmp_path / "a")
    (tmp_path / "a" / "features.json").write_text(text)
    with pytest.raises(DatasetError, match=r"features\.json"):
        read_feature_folder(tmp_path / "a")


def test_what_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    write_features(table(), tmp_path / "a")
    (tmp_path / "f.npz").touch()
    for name in ("a", "f.npz"):
        with pytest.raises(UsageError, match="exists, and is left as it is"):
            write_features(table(), tmp_path / name)


def test_clips_of_different_lengths_need_a_folder(tmp_path: Path) -> None:
    def read(clip: str, stream: str) -> Any:
        return values(clip, stream)[: 3 if clip.startswith("b") else 4]

    assert write_features(table(read), tmp_path / "a").lengths == (3, 4)
    with pytest.raises(DatasetError, match=r"clips have 3, 4 frames, .*: write a folder instead"):
        write_features(table(read), tmp_path / "a.npz")


def test_arrays_of_features_become_a_table(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        X_train=np.ones((2, 4, 3), np.float16),
        y_train=["a", "b"],
        X_test=np.zeros((1, 4, 3)),
        y_test=["b"],
    )
    found = features_of(read_arrays(tmp_path / "a.npz"), tmp_path / "a.npz")
    assert [(clip.name, clip.label, clip.split) for clip in found.clips] == [
        ("train/00000", "a", "train"),
        ("train/00001", "b", "train"),
        ("test/00000", "b", "test"),
    ]
    assert found.clips[0].read("features").tolist() == [[1.0] * 3] * 4
