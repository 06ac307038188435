"""An actor: the lengths of the body, its manner of moving, and the joints of the skeleton.

The figure's own axes are x forward, y up and z to its left, in metres, with the ground at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Joints = dict[str, Array]
"""Joint name to positions `(T, 3)` in metres; `left_knee`, `right_knee`, ..., `pelvis`, `chest`, `head`."""

SIDES: tuple[tuple[str, float], ...] = (("left", 1.0), ("right", -1.0))


@dataclass(frozen=True, slots=True)
class Body:
    """Segment lengths in metres, from stature by the proportions of Drillis and Contini (1966)."""

    height: float
    girth: float
    """Thickness of limbs and trunk as a multiple of the average."""
    thigh: float
    shank: float
    trunk: float
    """From the middle of the hips to the line of the shoulders."""
    neck: float
    upper_arm: float
    forearm: float
    hand: float
    shoulder: float
    """Half the distance between the shoulder joints."""
    hip: float
    """Half the distance between the hip joints."""
    ankle: float
    """Height of the ankle over the sole."""
    heel: float
    toe: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Body:
        """Return a body within the ordinary range of adults."""
        height = rng.uniform(1.58, 1.92)
        girth = rng.uniform(0.86, 1.22)
        long_legs = rng.uniform(0.965, 1.035)
        broad = rng.uniform(0.92, 1.08)
        return cls(
            height=height,
            girth=girth,
            thigh=0.245 * height * long_legs,
            shank=0.246 * height * long_legs,
            trunk=0.288 * height * (2.0 - long_legs),
            neck=0.038 * height,
            upper_arm=0.180 * height,
            forearm=0.148 * height,
            hand=0.075 * height,
            shoulder=0.112 * height * broad,
            hip=0.050 * height,
            ankle=0.039 * height,
            heel=0.040 * height,
            toe=0.105 * height,
        )


@dataclass(frozen=True, slots=True)
class Manner:
    """The manner of moving that the six actions of an actor have in common."""

    stride: float
    """Multiple of the literature's hip angles, which sets the length of a stride."""
    knee: float
    arm_swing: float
    elbow: float
    """Mean flexion of the elbows while walking, degrees."""
    lean: float
    """Lean of the trunk while walking, degrees forward."""
    twist: float
    """Turn of the shoulders against the hips while walking, degrees."""
    tempo: float
    """Repetitions of a gesture a second."""
    reach: float
    """Amplitude of a gesture as a multiple of the average."""
    sway: float
    lag: float
    """Delay of the right hand behind the left in a gesture, cycles."""

    @classmethod
    def random(cls, rng: np.random.Generator) -> Manner:
        """Return a manner within the ordinary range."""
        return cls(
            stride=rng.uniform(0.96, 1.08),
            knee=rng.uniform(0.94, 1.15),
            arm_swing=rng.uniform(0.70, 1.15),
            elbow=rng.uniform(12.0, 30.0),
            lean=rng.uniform(2.0, 7.0),
            twist=rng.uniform(4.0, 10.0),
            tempo=rng.uniform(0.9, 1.4),
            reach=rng.uniform(0.88, 1.08),
            sway=rng.uniform(0.4, 1.4),
            lag=rng.uniform(-0.03, 0.03),
        )


def stand_trunk(body: Body, pelvis: Array, *, lean: Array, hip_yaw: Array, shoulder_yaw: Array) -> Joints:
    """Return hips, chest, shoulders, neck and head over a pelvis.

    Args:
        body: the lengths.
        pelvis: `(T, 3)` metres.
        lean: `(T,)` radians forward.
        hip_yaw: `(T,)` radians, positive turns the left side forward.
        shoulder_yaw: `(T,)` radians, the same for the shoulders.
    """
    zero = np.zeros_like(lean)
    spine = np.stack([np.sin(lean), np.cos(lean), zero], axis=1)
    # The neck is more upright than the trunk: people look ahead.
    upright = np.stack([np.sin(lean * 0.6 + 0.08), np.cos(lean * 0.6 + 0.08), zero], axis=1)
    chest = pelvis + body.trunk * spine
    joints = {
        "pelvis": pelvis,
        "waist": pelvis + 0.30 * body.trunk * spine,
        "chest": chest,
        "neck": chest + body.neck * upright,
        "head": chest + (body.neck + 0.068 * body.height) * upright,
    }
    for side, sign in SIDES:
        across = np.stack([np.sin(shoulder_yaw), zero, np.cos(shoulder_yaw)], axis=1)
        joints[f"{side}_shoulder"] = chest + sign * body.shoulder * across - np.array([0.0, 0.012 * body.height, 0.0])
        across = np.stack([np.sin(hip_yaw), zero, np.cos(hip_yaw)], axis=1)
        joints[f"{side}_hip"] = pelvis + sign * body.hip * across
    return joints


def bend(start: Array, end: Array, first: float, second: float, pole: Array) -> tuple[Array, Array]:
    """Return the middle joint of a two-bone limb, and its end, which is moved closer if it is out of reach.

    Args:
        start: `(T, 3)` shoulder or hip.
        end: `(T, 3)` desired position of wrist or ankle.
        first: length of the upper bone.
        second: length of the lower bone.
        pole: `(3,)` or `(T, 3)`, the direction in which the middle joint points.
    """
    line = end - start
    distance = np.linalg.norm(line, axis=1, keepdims=True)
    direction = line / np.maximum(distance, 1e-9)
    reach = np.minimum(distance, 0.995 * (first + second))
    along = (first**2 - second**2 + reach**2) / (2 * np.maximum(reach, 1e-9))
    aside = np.sqrt(np.maximum(first**2 - along**2, 0.0))
    pole = np.broadcast_to(pole, line.shape)
    normal = pole - np.sum(pole * direction, axis=1, keepdims=True) * direction
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return start + along * direction + aside * normal, start + reach * direction
