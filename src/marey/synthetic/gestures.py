"""Boxing, hand waving, hand clapping and standing: joints over the phase of a gesture, with the feet at rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from marey.synthetic.body import SIDES, Array, Body, Joints, Manner, bend, stand_trunk

FORWARD = np.array([1.0, 0.0, 0.0])


def boxing(body: Body, manner: Manner, phase: Array) -> Joints:
    """Return straight punches, left and right in turn, from a guard before the chin; hips and shoulders turn."""
    punch = {
        "left": _pulse(phase, 0.38),
        "right": _pulse(phase - 0.5 - manner.lag, 0.38),
    }
    turn = punch["right"] - punch["left"]  # positive: the right shoulder comes forward
    turned = 2 * np.pi * phase
    pelvis = _sway(body, manner, turned, height=0.500)
    pelvis[:, 0] += 0.012 * body.height * (punch["left"] + punch["right"])
    joints = stand_trunk(
        body,
        pelvis,
        lean=np.radians(6.0 + 3.0 * (punch["left"] + punch["right"])),
        hip_yaw=np.radians(4.0 - 12.0 * manner.reach * turn),
        shoulder_yaw=np.radians(6.0 - 26.0 * manner.reach * turn),
    )
    _stand(body, joints, {"left": (0.11, 0.055), "right": (-0.10, 0.055)}, knees_out=0.25)
    for side, sign in SIDES:
        shoulder = joints[f"{side}_shoulder"]
        out = punch[side][:, None]
        guard = joints["head"] + body.height * np.array([0.125, -0.075, sign * 0.045])
        length = min(0.97 * manner.reach, 0.985) * (body.upper_arm + body.forearm)
        target = shoulder + np.array([length, 0.02 * body.height, -sign * 0.05 * body.height])
        # The fist moves on a shallow arc, not on a straight line.
        arc = 0.03 * body.height * (out * (1 - out)) * np.array([0.0, -1.0, sign])
        _reach(
            body,
            joints,
            side,
            guard + (target - guard) * out + arc,
            pole=np.array([-0.75, -1.0, sign * 0.40]),
            hand=0.6,
        )
    return joints


def handwaving(body: Body, manner: Manner, phase: Array) -> Joints:
    """Return both arms in wide arcs at the sides of the body, from the thighs to above the head."""
    turned = 2 * np.pi * phase
    pelvis = _sway(body, manner, turned, height=0.520)
    joints = _upright(body, manner, pelvis, turned)
    _stand(body, joints, {"left": (0.0, 0.065), "right": (0.0, 0.065)}, knees_out=0.3)
    for side, sign in SIDES:
        own = turned - (2 * np.pi * manner.lag if sign < 0 else 0.0)
        spread = np.radians(92.0 - 66.0 * manner.reach * np.cos(own))
        # The forearm is bent behind the moving upper arm, and straight at the ends.
        trail = np.radians(14.0 + 12.0 * np.sin(own + 0.4) + 10.0 * (1 - np.cos(own)))
        joints[f"{side}_shoulder"] += (
            body.height * 0.020 * (1 - np.cos(spread))[:, None] / 2 * np.array([0, 1, -0.3 * sign])
        )
        elbow = joints[f"{side}_shoulder"] + body.upper_arm * _fan(spread, sign)
        wrist = elbow + body.forearm * _fan(spread + trail, sign)
        joints |= {
            f"{side}_elbow": elbow,
            f"{side}_wrist": wrist,
            f"{side}_hand": wrist + body.hand * _fan(spread + 0.7 * trail, sign),
        }
    return joints


def handclapping(body: Body, manner: Manner, phase: Array) -> Joints:
    """Return hands that open to the sides before the chest and come together."""
    turned = 2 * np.pi * phase
    pelvis = _sway(body, manner, turned, height=0.520)
    joints = _upright(body, manner, pelvis, turned)
    _stand(body, joints, {"left": (0.0, 0.060), "right": (0.0, 0.060)}, knees_out=0.3)
    for side, sign in SIDES:
        apart = 0.5 - 0.5 * np.cos(turned)
        apart = (apart**0.8)[:, None]
        closed = joints["chest"] + body.height * np.array([0.215, -0.045, sign * 0.014])
        opened = joints["chest"] + body.height * np.array([0.130, -0.060, sign * 0.290 * manner.reach])
        _reach(
            body,
            joints,
            side,
            closed + (opened - closed) * apart,
            pole=np.array([-0.35, -1.0, sign * 0.75]),
            hand=1.0,
        )
        inward = np.array([0.75, 0.45, -0.10 * sign])
        outward = np.array([0.55, 0.55, 0.55 * sign])
        palm = inward + (outward - inward) * apart
        palm /= np.linalg.norm(palm, axis=1, keepdims=True)
        joints[f"{side}_hand"] = joints[f"{side}_wrist"] + body.hand * palm
    return joints


def standing(body: Body, manner: Manner, phase: Array) -> Joints:
    """Return a body at rest: hanging arms, and a slight sway."""
    turned = 0.5 * np.pi * phase
    pelvis = _sway(body, manner, turned, height=0.520)
    joints = _upright(body, manner, pelvis, turned)
    _stand(body, joints, {"left": (0.0, 0.060), "right": (0.0, 0.060)}, knees_out=0.3)
    for side, sign in SIDES:
        hang = np.radians(9.0 + 2.0 * np.sin(turned + sign))
        elbow = joints[f"{side}_shoulder"] + body.upper_arm * _fan(hang, sign)
        wrist = elbow + body.forearm * _fan(0.4 * hang, sign)
        joints |= {
            f"{side}_elbow": elbow,
            f"{side}_wrist": wrist,
            f"{side}_hand": wrist + body.hand * _fan(0.2 * hang, sign),
        }
    return joints


GESTURES: dict[str, Callable[[Body, Manner, Array], Joints]] = {
    "boxing": boxing,
    "handwaving": handwaving,
    "handclapping": handclapping,
    "standing": standing,
}
"""The functions from phases `(T,)` in repetitions to joints `(T, 3)`, relative to a point between the feet."""


def _pulse(phase: Array, width: float) -> Array:
    """Return a pulse once per cycle: 0, a quick rise, 1, a slower return, 0; `width` is in cycles."""
    place = np.mod(phase, 1.0)
    rise, fall = 0.42 * width * 1.6, 0.58 * width * 1.6
    middle = 0.3
    ease: Array = np.where(
        place < middle, np.clip(1 - (middle - place) / rise, 0, 1), np.clip(1 - (place - middle) / fall, 0, 1)
    )
    return ease * ease * (3 - 2 * ease)


def _sway(body: Body, manner: Manner, turned: Array, *, height: float) -> Array:
    size = 0.006 * body.height * manner.sway
    legs = body.thigh + body.shank + body.ankle
    return np.stack(
        [
            size * np.sin(0.5 * turned + 1.0),
            np.full_like(turned, min(height * body.height, 0.985 * legs)) + 0.7 * size * np.cos(turned),
            1.2 * size * np.sin(0.5 * turned),
        ],
        axis=1,
    )


def _upright(body: Body, manner: Manner, pelvis: Array, turned: Array) -> Joints:
    still = np.zeros_like(turned)
    yaw = np.radians(2.0 * manner.sway) * np.sin(0.5 * turned)
    return stand_trunk(body, pelvis, lean=still + 0.02, hip_yaw=yaw * 0.5, shoulder_yaw=yaw)


def _stand(body: Body, joints: Joints, feet: dict[str, tuple[float, float]], *, knees_out: float) -> None:
    """Put the feet on the ground, `(forward, aside)` of the middle in statures, and bend the legs to reach them."""
    count = len(joints["pelvis"])
    for side, sign in SIDES:
        forward, aside = feet[side]
        ankle = np.array([forward * body.height, body.ankle, sign * aside * body.height])
        along = np.array([np.cos(0.35), 0.0, sign * np.sin(0.35)])
        knee, end = bend(
            joints[f"{side}_hip"],
            np.tile(ankle, (count, 1)),
            body.thigh,
            body.shank,
            FORWARD + np.array([0.0, 0.0, sign * knees_out]),
        )
        sole = end - np.array([0.0, body.ankle, 0.0])
        joints |= {
            f"{side}_knee": knee,
            f"{side}_ankle": end,
            f"{side}_heel": sole - body.heel * along,
            f"{side}_toe": sole + body.toe * along,
        }


def _reach(body: Body, joints: Joints, side: str, target: Array, *, pole: Array, hand: float) -> None:
    shoulder = joints[f"{side}_shoulder"]
    elbow, wrist = bend(shoulder, target, body.upper_arm, body.forearm, pole)
    direction = (wrist - elbow) / body.forearm
    joints |= {
        f"{side}_elbow": elbow,
        f"{side}_wrist": wrist,
        f"{side}_hand": wrist + hand * body.hand * direction,
    }


def _fan(angle: Array, sign: float) -> Array:
    """Return unit vectors slightly before the plane of the shoulders; 0 points down, pi points up."""
    vector = np.stack(
        [np.full_like(angle, 0.12), -np.cos(angle), sign * np.sin(angle)],
        axis=1,
    )
    unit: Array = vector / np.linalg.norm(vector, axis=1, keepdims=True)
    return unit
