"""The joints of a drawn figure in the image, in the order of COCO: what a perfect pose estimator would find."""

from __future__ import annotations

from typing import Final

import numpy as np

from marey.synthetic.body import Array, Joints
from marey.synthetic.clip import FRAME_RATE, FRAMES, act
from marey.synthetic.scene import HEIGHT, WIDTH

_BELOW_THE_HEAD: Final = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_FACE: Final = (
    (0.048, 0.0, -0.004),
    (0.040, 0.017, 0.010),
    (0.040, -0.017, 0.010),
    (0.0, 0.04, 0.0),
    (0.0, -0.04, 0.0),
)
"""Nose, eyes and ears as shares of the stature: ahead of the middle of the head, to its left, and above it."""


def draw_joints(
    action: str,
    *,
    actor: int,
    scenario: str = "d1",
    seed: int = 0,
    duration: float = FRAMES / FRAME_RATE,
    scale: int = 1,
    take: int = 0,
) -> Array:
    """Return the joints of the figure that `draw` draws with the same arguments.

    Returns:
        (T, 17, 3): x and y in pixels of the frame, and 1; a joint outside of the frame, or of an actor who is out of
        view, has 0 for all three.

    Raises:
        UnknownNameError: there is no such action or scenario.
        UsageError: a number is out of range.
    """
    acted = act(action, actor=actor, scenario=scenario, seed=seed, duration=duration, scale=scale, take=take)
    points = _coco(acted.joints, acted.body.height)
    found = np.zeros((len(acted.present), len(points), 3))
    for joint, point in enumerate(points):
        seen = acted.view.apply(acted.scene.camera.project(point)[0])
        inside = acted.present & (seen >= 0).all(1) & (seen < (WIDTH, HEIGHT)).all(1)
        found[inside, joint, :2] = seen[inside] * scale
        found[inside, joint, 2] = 1
    return found


def _coco(joints: Joints, height: float) -> list[Array]:
    """Return the world positions of the 17 joints, (T, 3) each."""
    ahead = joints["left_toe"] + joints["right_toe"] - joints["left_heel"] - joints["right_heel"]
    ahead = _unit(ahead * np.array([1.0, 0.0, 1.0]))
    aside = joints["left_shoulder"] - joints["right_shoulder"]
    aside = _unit(aside - (aside * ahead).sum(1, keepdims=True) * ahead)
    above = _unit(joints["head"] - joints["chest"])
    face = [joints["head"] + height * (a * ahead + b * aside + c * above) for a, b, c in _FACE]
    return face + [joints[f"{side}_{name}"] for name in _BELOW_THE_HEAD for side in ("left", "right")]


def _unit(vectors: Array) -> Array:
    found: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return found
