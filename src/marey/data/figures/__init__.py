"""The embedded data set: articulated figures in the six KTH actions, drawn as real video."""

from __future__ import annotations

from marey.data.figures.clip import ACTIONS, FRAME_RATE, FRAMES, PASSES, RESTS, SCENARIOS, SIZE, draw
from marey.data.figures.dataset import ACTORS, TEST_ACTORS, make
from marey.data.figures.untrimmed import VIDEOS, make_untrimmed

__all__ = [
    "ACTIONS",
    "ACTORS",
    "FRAMES",
    "FRAME_RATE",
    "PASSES",
    "RESTS",
    "SCENARIOS",
    "SIZE",
    "TEST_ACTORS",
    "VIDEOS",
    "draw",
    "make",
    "make_untrimmed",
]
