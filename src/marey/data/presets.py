"""Presets: parts of named data sets that earlier systems were measured on; they point to the files of those."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from marey.data.clip import Clip, Manifest, Part, listing
from marey.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Preset:
    """Some classes of named data sets, and so many clips of each.

    Attributes:
        name: the name.
        summary: what it holds.
        classes: the name of a data set to the labels that are taken from it.
        most: clips a class at most in each part of the first official split.
        exact: whether a class with fewer is worth a word.
    """

    name: str
    summary: str
    classes: Mapping[str, Sequence[str]]
    most: Mapping[Part, int]
    exact: bool = False


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
            {"train": 70, "test": 30},  # as each split of HMDB51 has them
            exact=True,
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
            {"train": 140, "test": 60},  # no class of UCF101 has so many: all of its clips are taken
        ),
    )
}
"""The presets by name."""


def choose(preset: Preset, parts: Mapping[str, Manifest]) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """The clips of a preset, and what there was too little of, a sentence each.

    Where a class has more clips than are asked for, they are taken in turn from its groups: all first clips, then all
    second ones, and so on. So the same clips are chosen everywhere, from as many sources as there are.

    Args:
        preset: what to take.
        parts: the data sets that it is made from, by name.

    Raises:
        DatasetError: a class is missing.
    """
    chosen: list[Clip] = []
    notes = []
    for data, labels in preset.classes.items():
        absent = [label for label in labels if label not in parts[data].labels]
        if absent:
            raise DatasetError(f"'{data}' has no clips of {listing(absent)}, which '{preset.name}' is made of")
        for label in labels:
            for part, most in preset.most.items():
                clips = [clip for clip in parts[data].clips if clip.label == label and clip.split == part]
                chosen += _in_turn(clips)[:most]
                if preset.exact and len(clips) < most:
                    notes.append(f"{label} has {len(clips)} clips for {part}, and not {most}")
    return tuple(chosen), tuple(notes)


def _in_turn(clips: Sequence[Clip]) -> list[Clip]:
    groups: dict[str | None, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.path.name):
        groups[clip.group].append(clip)
    turns = [(turn, number, clip) for number, of in enumerate(groups.values()) for turn, clip in enumerate(of)]
    return [clip for _, _, clip in sorted(turns, key=lambda entry: entry[:2])]
