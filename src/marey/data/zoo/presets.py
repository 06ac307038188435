"""Presets: subsets of named data sets that earlier systems were evaluated on; they refer to the files of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from marey.data.clip import Clip, Manifest, Part
from marey.data.subset import in_turn
from marey.data.text import join_first
from marey.data.zoo.registry import CATALOG, NamedData
from marey.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Preset:
    """Some classes of named data sets, and a number of clips per class.

    Attributes:
        name: the name.
        summary: its content.
        classes: the labels that are taken from each data set.
        most: maximum number of clips per class in each part of the first official split.
        exact: whether to report classes with fewer clips.
        published: label -> the name that the class has in the publication; the preset has a variant with these names.
    """

    name: str
    summary: str
    classes: Mapping[str, Sequence[str]]
    most: Mapping[Part, int]
    exact: bool = False
    published: Mapping[str, str] = field(default_factory=dict)


PRESETS: Final[dict[str, Preset]] = {
    preset.name: preset
    for preset in (
        Preset(
            "ucf-hmdb-10",
            "ten actions, 100 clips each: four of UCF101 and six of HMDB51, made from these two",
            {
                "ucf101": ("BabyCrawling", "CuttingInKitchen", "IceDancing", "WritingOnBoard"),
                "hmdb51": ("drink", "fall_floor", "hit", "shoot_gun", "smoke", "talk"),
            },
            {"train": 70, "test": 30},  # as in each split of HMDB51
            exact=True,
            published={
                "BabyCrawling": "Baby Crawling",
                "CuttingInKitchen": "Cutting in Kitchen",
                "IceDancing": "Dancing",
                "WritingOnBoard": "Writing on Board",
                "drink": "Drinking",
                "fall_floor": "Falling on Floor",
                "hit": "Hitting",
                "shoot_gun": "Gun Shooting",
                "smoke": "Smoking",
                "talk": "Talking",
            },
        ),
        Preset(
            "ucf101-25",
            "the first 25 classes of UCF101, at most 200 clips each, made from it",
            {
                "ucf101": (
                    *("ApplyEyeMakeup", "ApplyLipstick", "Archery", "BabyCrawling", "BalanceBeam", "BandMarching"),
                    *("BaseballPitch", "Basketball", "BasketballDunk", "BenchPress", "Biking", "Billiards"),
                    *("BlowDryHair", "BlowingCandles", "BodyWeightSquats", "Bowling", "BoxingPunchingBag"),
                    *("BoxingSpeedBag", "BreastStroke", "BrushingTeeth", "CleanAndJerk", "CliffDiving"),
                    *("CricketBowling", "CricketShot", "CuttingInKitchen"),
                )
            },
            {"train": 140, "test": 60},  # more than any class of UCF101 has: all clips are taken
        ),
    )
}
"""The presets by name."""

for _preset in PRESETS.values():
    CATALOG[_preset.name] = NamedData(
        _preset.name, _preset.summary, f"marey data get {_preset.name}", "the first official split"
    )
    if _preset.published:
        _name = f"{_preset.name}-published"
        _named = ", ".join(sorted(_preset.published.values()))
        CATALOG[_name] = NamedData(
            _name,
            f"the same clips with the published names of the actions: {_named}",
            f"marey data get {_name}",
            "the first official split",
            of=_preset.name,
        )


def select(preset: Preset, parts: Mapping[str, Manifest]) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Return the clips of a preset, and one sentence for each class with too few clips.

    If a class has more clips than needed, they are taken in turn from its groups: the first clip of every group, then
    the second one, and so on. So the selection is deterministic and covers as many sources as possible.

    Args:
        preset: the preset.
        parts: the data sets that it is made from, by name.

    Raises:
        DatasetError: a class is missing.
    """
    chosen: list[Clip] = []
    notes = []
    for data, labels in preset.classes.items():
        absent = [label for label in labels if label not in parts[data].labels]
        if absent:
            raise DatasetError(f"'{data}' has no clips of {join_first(absent)}, which '{preset.name}' needs")
        for label in labels:
            for part, most in preset.most.items():
                clips = [clip for clip in parts[data].clips if clip.label == label and clip.split == part]
                chosen += in_turn(clips)[:most]
                if preset.exact and len(clips) < most:
                    notes.append(f"{label} has {len(clips)} clips for {part}, and not {most}")
    return tuple(chosen), tuple(notes)
