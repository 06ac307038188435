from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey.data.clip import PARTS
from marey.data.importers.arrays import ArraySet, read_arrays
from marey.errors import DatasetError, UnknownNameError

X = {name: np.full((count, 2, 4, 6, 3), count, np.uint8) for name, count in (("train", 5), ("val", 2), ("test", 3))}
Y = {name: np.arange(len(frames)) % 2 for name, frames in X.items()}
NAMES = ("boxing", "walking")


def pickled(tmp_path: Path, value: Any, **options: Any) -> ArraySet:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    return read_arrays(tmp_path / "a.pkl", **options)


def summary(found: ArraySet) -> list[tuple[str | None, int, int, Sequence[str]]]:
    return [(part.split, len(part.items), int(np.ravel(part.items[0])[0]), part.labels) for part in found.parts]


EXPECTED = [
    ("train", 5, 5, ("boxing", "walking", "boxing", "walking", "boxing")),
    ("val", 2, 2, ("boxing", "walking")),
    ("test", 3, 3, ("boxing", "walking", "boxing")),
]


@pytest.mark.parametrize(
    ("value", "guessed"),
    [
        ((X["train"], X["val"], X["test"], Y["train"], Y["val"], Y["test"]), True),
        ([X["train"], Y["train"], X["val"], Y["val"], X["test"], Y["test"]], True),
        (((X["train"], Y["train"]), (X["val"], Y["val"]), (X["test"], Y["test"])), True),
        ({f"{kind}_{part}": where[part] for part in PARTS[::-1] for kind, where in (("X", X), ("y", Y))}, False),
        ({part: (X[part], Y[part]) for part in PARTS[::-1]}, False),
        ({"Training": {"frames": X["train"], "labels": Y["train"]}, "validY": Y["val"], "validX": X["val"]}
         | {"testX": X["test"], "testY": Y["test"]}, False),
    ],
)  # fmt: skip
def test_six_arrays_find_their_parts_by_names_or_by_order(tmp_path: Path, value: Any, guessed: bool) -> None:
    found = pickled(tmp_path, value, classes=NAMES)
    assert summary(found) == EXPECTED
    assert found.kind == "frames"
    assert any("taken in their order: train, val, test" in note for note in found.notes) == guessed


def test_an_npz_file_and_a_folder_of_npy_files_are_read_alike(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {f"{kind}_{part}": where[part] for part in X for kind, where in (("x", X), ("y", Y))}
    np.savez(tmp_path / "a.npz", **arrays, class_names=np.array(NAMES))
    (tmp_path / "folder").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "folder" / f"{name}.npy", array)
    assert summary(read_arrays(tmp_path / "a.npz")) == EXPECTED
    assert summary(read_arrays(tmp_path / "folder", classes=NAMES)) == EXPECTED


def test_four_arrays_are_for_training_and_testing_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    value = (X["train"], X["val"], Y["train"], Y["val"])
    assert [part.split for part in pickled(tmp_path, value).parts] == ["train", "test"]
    found = pickled(tmp_path, value, parts=("train", "val"))
    assert [part.split for part in found.parts] == ["train", "val"]
    assert not any("order" in note for note in found.notes)


def test_two_arrays_are_one_part_and_several_pickles_in_a_file_are_one_set(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(X["val"]) + pickle.dumps(["b", "a"]))
    (part,) = read_arrays(tmp_path / "a.pkl").parts
    assert (part.split, part.labels) == (None, ("b", "a"))


def test_clips_of_different_lengths_are_a_list(tmp_path: Path) -> None:
    clips = [np.zeros((length, 4, 6), np.uint8) for length in (3, 1, 2)]
    (part,) = pickled(tmp_path, {"frames": clips, "labels": ["a", "b", "c"]}).parts
    assert [len(part.items[index]) for index in range(3)] == [3, 1, 2]


def test_three_axes_of_fractions_are_features(tmp_path: Path) -> None:
    assert pickled(tmp_path, (np.zeros((2, 16, 8), np.float32), ["a", "b"])).kind == "features"
    with pytest.raises(DatasetError, match=r"of shape \(2, 16, 8\) and type uint8"):
        pickled(tmp_path, (np.zeros((2, 16, 8), np.uint8), ["a", "b"]))


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        ([1, 0], {"classes": NAMES}, ("walking", "boxing")),
        (np.array([[1], [0]], np.int8), {"classes": NAMES}, ("walking", "boxing")),
        (np.array([1.0, 0.0]), {"classes": NAMES}, ("walking", "boxing")),
        (np.array([[0, 1], [1, 0]], np.float32), {"classes": NAMES}, ("walking", "boxing")),
        (np.array([[False, True], [True, False]]), {"classes": NAMES}, ("walking", "boxing")),
        (np.array(["e\u0301t\u00e9 ", "b"]), {}, ("\u00e9t\u00e9", "b")),
        (np.array(["é".encode(), b"b"]), {}, ("é", "b")),
        ([3, 10], {}, ("03", "10")),
        (np.array([3, 1], ">i4"), {}, ("3", "1")),
    ],
)
def test_labels_are_names_numbers_or_one_hot_rows(tmp_path: Path, labels: Any, options: Any, expected: Any) -> None:
    (part,) = pickled(tmp_path, (X["val"], labels), **options).parts
    assert part.labels == expected


@pytest.mark.parametrize(
    ("value", "options", "said"),
    [
        ((X["train"], Y["val"]), {}, "5 clips and 2 labels in clips; there has to be one label a clip"),
        ((X["val"],), {}, "holds 1 arrays of clips and 0 of labels"),
        ((X["val"], X["test"], Y["val"]), {}, "holds 2 arrays of clips and 1 of labels"),
        ((X["val"], Y["val"]), {"parts": ("train", "test")}, "for the parts train, test"),
        ((Y["val"], Y["val"]), {}, "neither frames nor features"),
        ((X["val"], np.zeros((2, 3, 4)), Y["val"]), {}, "both frames and features"),
        (
            {"X_train": X["val"], "y_test": Y["val"]},
            {},
            "train needs one array of clips and one of labels, and has 'X_tr",
        ),
        ({"X_train": X["val"], "X_train2": X["val"], "y_train": Y["val"]}, {}, "has 'X_train', 'X_train2', 'y_train'"),
        ((X["val"], [0, 2]), {"classes": NAMES}, "labels go up to 2, counted from 0, and there are 2 names"),
        ((X["val"], [0, -1]), {}, "number 1 as -1"),
        ((X["val"], [0.5, float("nan")]), {}, "is no array"),
        ((X["val"], np.array([0.5, 1])), {}, "number 0 as 0.5"),
        ((X["val"], np.array([np.nan, 1])), {}, "number 0 as nan"),
        ((X["val"], np.array([[0.5, 0.5], [1, 0]])), {}, "are not one-hot rows: number 0"),
        ((X["val"], np.array([[1, 1], [1, 0]])), {}, "are not one-hot rows: number 0"),
        ((X["val"], ["a", ""]), {}, "have an empty one, number 1"),
        ((X["val"], ["a", 1]), {}, "of several types"),
        ((X["val"], ["Run", "run"]), {}, "differ only in case"),
        ((X["val"], np.array([b"\xff", b"a"])), {}, "not UTF-8"),
        ((X["val"], ["a", "b"], X["test"], [0, 1, 1]), {}, "some labels are text and others numbers"),
        ((X["val"][:0], Y["val"][:0]), {}, "holds no clips"),
        ((np.zeros((2, 3, 4, 5), "U1"), ["a", "b"]), {}, "type <U1"),
        (7, {}, "is no array"),
        (None, {}, "is no array"),
        ([], {}, "neither frames nor features"),
        ([[[[[[X["val"]]]]]], Y["val"]], {}, "otherwise than as a few arrays"),
        (tuple(np.zeros((1, 1, 1, 1, 1), np.uint8) for _ in range(70)), {}, "otherwise than as a few arrays"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, value: Any, options: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        pickled(tmp_path, value, **options)


def test_a_part_that_is_none_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no part of a split is called 'tain'; did you mean 'train'"):
        pickled(tmp_path, (X["val"], Y["val"]), parts=("tain",))
