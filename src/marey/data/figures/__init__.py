"""The embedded data set: articulated figures in the six KTH actions, drawn as real video."""

from __future__ import annotations

from marey.data.figures.clip import ACTIONS, FRAME_RATE, FRAMES, PASSES, SCENARIOS, SIZE, draw
from marey.data.figures.dataset import ACTORS, TEST_ACTORS, make

__all__ = [
    "ACTIONS",
    "ACTORS",
    "FRAMES",
    "FRAME_RATE",
    "PASSES",
    "SCENARIOS",
    "SIZE",
    "TEST_ACTORS",
    "draw",
    "make",
]
