"""Whether the recipe `auto` finds the streams that pay: beside each recipe that it could have been.

On the data that is given, leaving one group out, and on clips that are drawn here, where only the background tells:
the same figures do the same actions in front of stripes of three directions that do not move. It is run by name:
`python benchmarks/bench.py --only choice`. Features are taken from the cache where they are.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np
import torch

import marey
from marey.data import Clip, Manifest, write_manifest
from marey.synthetic import ACTIONS, FRAME_RATE, draw
from marey.video import write_video
from measure import Line, Setting

RECIPES: Final = {  # name to recipe, and changes to it
    "auto": ("auto", ()),
    "chronophotograph": ("chronophotograph", ()),
    "appearance": ("auto", ("streams={appearance: {kind: appearance}}", "selection.first=[]")),
    "default-0.1": ("default-0.1", ()),
    "two-stream": ("two-stream", ()),
    "all four streams": ("auto", ("head.fusion=late", "selection.first=[]")),
}
DIRECTIONS: Final = {"across": 0.0, "down": 90.0, "slanted": 45.0}  # of the stripes, degrees
ACTORS: Final = 12
_CONTRAST: Final = 14.0  # levels around those of the clip
_LENGTHS: Final = (8.0, 20.0)  # pixels from stripe to stripe
_LOSS: Final = 0.02  # of accuracy, that `auto` may be behind the best of the others


def measure(setting: Setting) -> list[Line]:
    """Train each recipe on the data that is given, and on the drawn clips."""
    places = draw_places(setting.work / "places")
    return [*_compare("given", setting.data, setting.work), *_compare("background", places, setting.work)]


def draw_places(folder: Path) -> Path:
    """Draw three clips of each actor, one action in front of each kind of stripes; return their manifest.

    What stands still is gone from the difference of two frames, so no stream of motion sees the stripes.
    """
    folder.mkdir()
    clips = []
    for actor in range(1, ACTORS + 1):
        for number, (place, direction) in enumerate(DIRECTIONS.items()):
            random = np.random.default_rng([actor, number])
            frames = draw(ACTIONS[actor % len(ACTIONS)], actor=actor, take=number).float()
            frames += _stripes((frames.shape[-2], frames.shape[-1]), direction, random)
            path = folder / f"{place}-{actor:02d}.mp4"
            write_video(path, frames.clamp(0, 255).round().to(torch.uint8), frame_rate=FRAME_RATE, crf=10)
            clips.append(Clip(path, label=place, group=f"actor {actor}"))
    manifest = folder / "manifest.csv"
    write_manifest(Manifest(tuple(clips), root=folder, source="drawn", grouping="the actors"), manifest)
    return manifest


def _stripes(size: tuple[int, int], direction: float, random: np.random.Generator) -> torch.Tensor:
    """Return what is added to each pixel, (H, W)."""
    y, x = np.mgrid[: size[0], : size[1]]
    along = x * math.sin(math.radians(direction)) + y * math.cos(math.radians(direction))
    phase = along * (2 * math.pi / random.uniform(*_LENGTHS)) + random.uniform(0, 2 * math.pi)
    return torch.from_numpy(_CONTRAST * np.sin(phase)).float()


def _compare(what: str, data: Path, work: Path) -> list[Line]:
    accuracy = {}
    for number, (name, (recipe, changes)) in enumerate(RECIPES.items()):
        out = work / f"{what}-{number}"
        run = marey.train(data, recipe=recipe, set=list(changes), folds="group", out=out)
        accuracy[name] = float(run.metrics.values["accuracy"] or 0)
    best = max(value for name, value in accuracy.items() if name != "auto")
    return [
        *(Line(f"{what}, {name}", (value,), "accuracy") for name, value in accuracy.items()),
        Line(f"choice_{what}", (accuracy["auto"] - best,), "accuracy, of `auto` less the best", at_least=-_LOSS),
    ]
