from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from marey.data import CATALOG, Clip, Manifest
from marey.data.zoo.presets import PRESETS, select
from marey.errors import DatasetError


def data(name: str, classes: tuple[str, ...], *, test: int = 45, train: int = 100, groups: int = 25) -> Manifest:
    clips = []
    for label in classes:
        for part, count in (("train", train), ("test", test)):
            for number in range(count):
                group = f"{label}_{part}{number % groups:02d}"
                path = Path(name) / label / f"{group}_c{number // groups:02d}.avi"
                clips.append(Clip(path, label, group, split=part))  # type: ignore[arg-type]
    return Manifest(tuple(sorted(clips, key=lambda clip: clip.path)), Path(name), name, "")


def test_ten_actions_have_100_clips_each_in_the_parts_of_the_official_split() -> None:
    preset = PRESETS["ucf-hmdb-10"]
    parts = {name: data(name, (*labels, "other")) for name, labels in preset.classes.items()}
    clips, notes = select(preset, parts)
    assert notes == ()
    assert len(clips) == 1000
    assert set(Counter((clip.label, clip.split) for clip in clips).values()) == {70, 30}
    assert {clip.path.parts[0] for clip in clips if clip.label == "talk"} == {"hmdb51"}
    assert {clip.path.parts[0] for clip in clips if clip.label == "IceDancing"} == {"ucf101"}
    assert select(preset, parts)[0] == clips


def test_clips_are_taken_in_turn_from_all_groups() -> None:
    preset = PRESETS["ucf-hmdb-10"]
    parts = {name: data(name, tuple(labels)) for name, labels in preset.classes.items()}
    clips, _ = select(preset, parts)
    groups = Counter(clip.group for clip in clips if clip.label == "BabyCrawling" and clip.split == "train")
    assert len(groups) == 25
    assert set(groups.values()) == {2, 3}


def test_a_class_with_too_few_clips_is_said_and_one_that_is_missing_refused() -> None:
    preset = PRESETS["ucf-hmdb-10"]
    parts = {name: data(name, tuple(labels), test=20) for name, labels in preset.classes.items()}
    _, notes = select(preset, parts)
    assert notes[0] == "BabyCrawling has 20 clips for test, and not 30"
    assert len(notes) == 10
    parts["hmdb51"] = data("hmdb51", ("drink", "smoke"))
    with pytest.raises(DatasetError, match="'hmdb51' has no clips of fall_floor, hit, shoot_gun and 1 more"):
        select(preset, parts)


def test_25_classes_have_at_most_200_clips_each() -> None:
    preset = PRESETS["ucf101-25"]
    assert len(set(preset.classes["ucf101"])) == 25
    clips, notes = select(preset, {"ucf101": data("ucf101", tuple(preset.classes["ucf101"]), train=180, test=90)})
    assert set(Counter(clip.label for clip in clips).values()) == {200}
    assert notes == ()
    clips, notes = select(preset, {"ucf101": data("ucf101", tuple(preset.classes["ucf101"]), train=80, test=30)})
    assert set(Counter(clip.label for clip in clips).values()) == {110}
    assert notes == ()


def test_presets_are_in_the_catalog() -> None:
    for name in PRESETS:
        assert CATALOG[name].way_to_get == f"marey data get {name}"
