"""The embedded data set: articulated figures in the six KTH actions, drawn as video.

`marey.data` lists the drawn data sets by name (`embedded`, `embedded-untrimmed`) without importing this package; the
command `marey data make` draws them to the folder where that name is looked up.
"""

from __future__ import annotations

from marey.synthetic.clip import ACTIONS, FRAME_RATE, FRAMES, PASSES, RESTS, SCENARIOS, SIZE, draw
from marey.synthetic.dataset import ACTORS, TEST_ACTORS, make
from marey.synthetic.skeleton import draw_joints
from marey.synthetic.untrimmed import VIDEOS, make_untrimmed

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
    "draw_joints",
    "make",
    "make_untrimmed",
]
