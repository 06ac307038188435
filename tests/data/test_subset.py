"""Some classes of a data set, and a number of clips of each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from marey import commands
from marey.data import Clip, Manifest, read_manifest, take_subset
from marey.errors import UnknownNameError, UsageError


@pytest.fixture
def manifest() -> Manifest:
    clips = [
        Clip(Path(f"{label}_g{group:02d}_c{number:02d}.avi"), label, f"{label}_g{group:02d}")
        for label in ("Swing", "TaiChi", "Walk")
        for group in range(1, 4)
        for number in range(1, 5)
    ]
    return Manifest(tuple(clips), Path(), "drawn", "groups from the names")


def test_some_classes_are_taken_in_the_order_of_the_data(manifest: Manifest) -> None:
    taken = take_subset(manifest, classes=("Walk", "Swing"))
    assert taken.labels == ("Swing", "Walk")
    assert list(taken.clips) == [clip for clip in manifest.clips if clip.label != "TaiChi"]
    assert taken.notes == ("24 of 36 clips are taken, of 2 classes",)


def test_a_number_of_clips_is_taken_in_turn_from_all_groups(manifest: Manifest) -> None:
    taken = take_subset(manifest, most=5)
    assert set(Counter(clip.label for clip in taken.clips).values()) == {5}
    assert sorted(Counter(clip.group for clip in taken.clips if clip.label == "Swing").values()) == [1, 2, 2]
    assert take_subset(manifest, most=5) == taken


def test_a_subset_of_everything_is_the_data_itself(manifest: Manifest) -> None:
    assert take_subset(manifest, most=12) is manifest


def test_a_class_that_is_not_there_is_answered_with_the_nearest(manifest: Manifest) -> None:
    with pytest.raises(UnknownNameError, match=r"no class is called 'Swimg'.*'Swing'"):
        take_subset(manifest, classes=("Swimg",))
    with pytest.raises(UsageError, match="--most 0"):
        take_subset(manifest, most=0)


def test_the_command_splits_the_subset(small_set: Path, tmp_path: Path) -> None:
    made = commands.data.split(small_set, out=tmp_path / "few.csv", classes="walking, boxing", most=4, by="clip")
    assert Counter(clip.label for clip in read_manifest(made.path).clips) == {"boxing": 4, "walking": 4}
    assert "8 of 12 clips are taken, of 2 classes" in made.notes
