"""Gait: joint angles over the phase of a stride, and the path over the ground that follows from them.

Walking, jogging and running share everything in this file. A stride is a closed curve of poses; the action
determines only the speed on this curve (`clip.PASSES`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marey.synthetic.body import SIDES, Array, Body, Joints, Manner, stand_trunk

# Sagittal angles in degrees at 0, 5, ..., 95 % of a stride from heel strike, after Winter, "The Biomechanics and
# Motor Control of Human Gait" (1991). Thigh: to the vertical, forward positive. Knee: flexion. Ankle: dorsiflexion.
THIGH = (22.5, 21, 18, 13, 7, 1, -5, -10, -14, -17.5, -19.5, -18, -11, -1, 9, 17, 22, 24.5, 24.5, 23.5)
KNEE = (5, 13, 19, 19, 15, 11, 8, 6, 6, 9, 17, 29, 45, 58, 64, 60, 46, 27, 10, 3)
ANKLE = (0, -5, -3, 2, 5, 7, 8, 10, 11, 9, 3, -9, -18, -15, -6, 2, 5, 5, 3, 1)

HARMONICS = 7
STEPS = 256
CONTACT = 0.012
"""Metres over which the weight moves from one contact point of the feet to the next."""


def fourier(samples: tuple[float, ...], phase: Array, *, harmonics: int = HARMONICS) -> Array:
    """Return the Fourier series of a periodic curve, given at equal steps, at phases in cycles."""
    coefficients = np.fft.rfft(np.asarray(samples, dtype=np.float64)) / len(samples)
    order = np.arange(1, harmonics + 1)
    waves = np.exp(2j * np.pi * phase[..., None] * order)
    series: Array = coefficients[0].real + 2 * np.real(waves @ coefficients[1 : harmonics + 1])
    return series


@dataclass(frozen=True, slots=True)
class Gait:
    """One actor's stride.

    Attributes:
        stride: metres from a heel strike to the next one of the same foot.
        joints: joint name to `(STEPS, 3)`, relative to a point that moves evenly over the ground.
    """

    stride: float
    joints: Joints

    def at(self, phase: Array) -> Joints:
        """Return the joints at phases `(T,)` in strides, relative to the evenly moving point `phase * stride`."""
        place = (phase % 1.0) * STEPS
        low = np.floor(place).astype(np.int64) % STEPS
        high = (low + 1) % STEPS
        part = (place - np.floor(place))[:, None]
        return {name: curve[low] * (1 - part) + curve[high] * part for name, curve in self.joints.items()}


def leg_angles(manner: Manner, phase: Array) -> tuple[Array, Array, Array]:
    """Return inclinations of thigh, shank and foot in radians at phases in cycles; forward and toe-up are positive."""
    thigh = manner.stride * fourier(THIGH, phase)
    shank = thigh - manner.knee * fourier(KNEE, phase)
    foot = shank + fourier(ANKLE, phase)
    return np.radians(thigh), np.radians(shank), np.radians(foot)


def arm_angles(manner: Manner, phase: Array) -> tuple[Array, Array]:
    """Return inclinations of upper arm and forearm in radians; the arm swings opposite to the leg of its side."""
    swing = 2 * np.pi * (phase - 0.03)
    upper = manner.arm_swing * (-21 * np.cos(swing) + 2.5 * np.cos(2 * swing)) - 0.12 * manner.elbow + 4
    flexion = manner.elbow + manner.arm_swing * 10 * (0.3 - np.cos(swing - 0.5))
    return np.radians(upper), np.radians(upper + np.maximum(flexion, 6.0))


def make_gait(body: Body, manner: Manner) -> Gait:
    """Return the stride of an actor.

    The pelvis follows from the feet: it moves forward as fast as the points in contact move back, and its height keeps
    the lowest of them on the ground. So the stance foot rests, and the length of the stride follows from the legs and
    their angles.
    """
    phase = np.arange(STEPS) / STEPS
    turn = 2 * np.pi * phase
    hip_yaw = np.radians(0.6 * manner.twist) * np.cos(turn)
    shoulder_yaw = -np.radians(manner.twist) * np.cos(turn - 0.2)
    lean = np.radians(manner.lean + 1.2 * np.cos(2 * turn))
    joints = stand_trunk(body, np.zeros((STEPS, 3)), lean=lean, hip_yaw=hip_yaw, shoulder_yaw=shoulder_yaw)
    for side, sign in SIDES:
        own = phase if sign > 0 else phase + 0.5
        joints |= _leg(body, manner, side, sign, joints[f"{side}_hip"], own)
        joints |= _arm(body, manner, side, sign, joints[f"{side}_shoulder"], own)

    points = np.stack([joints[f"{side}_{part}"] for side, _ in SIDES for part in ("heel", "toe")])  # (4, STEPS, 3)
    weight = np.exp(-(points[..., 1] - points[..., 1].min(axis=0)) / CONTACT)
    # A foot in mid-swing may be close to the ground, but bears no weight.
    weight *= np.concatenate([np.repeat(_carries(phase + shift)[None], 2, axis=0) for shift in (0.0, 0.5)])
    weight /= weight.sum(axis=0)
    pace = (np.roll(points[..., 0], -1, axis=1) - np.roll(points[..., 0], 1, axis=1)) * (STEPS / 2)
    speed = _smooth(-(weight * pace).sum(axis=0))  # metres a stride
    stride = float(speed.mean())
    surge = np.cumsum(speed - stride) / STEPS
    rise = _smooth(-(weight * points[..., 1]).sum(axis=0))
    sway = 0.010 * body.height * np.sin(turn - 0.4)  # towards the leg that bears the weight
    root = np.stack([surge - surge.mean(), rise, sway], axis=1)
    return Gait(stride=stride, joints={name: curve + root for name, curve in joints.items()})


def _leg(body: Body, manner: Manner, side: str, sign: float, hip: Array, phase: Array) -> Joints:
    thigh, shank, foot = leg_angles(manner, phase)
    knee = hip + body.thigh * _hang(thigh)
    ankle = knee + body.shank * _hang(shank)
    # The feet are closer to the middle line than the hips.
    knee[:, 2] -= sign * 0.006 * body.height
    ankle[:, 2] -= sign * 0.018 * body.height
    along = np.stack([np.cos(foot), np.sin(foot), np.zeros_like(foot)], axis=1)
    sole = ankle + body.ankle * _hang(foot)
    return {
        f"{side}_knee": knee,
        f"{side}_ankle": ankle,
        f"{side}_heel": sole - body.heel * along,
        f"{side}_toe": sole + body.toe * along,
    }


def _arm(body: Body, manner: Manner, side: str, sign: float, shoulder: Array, phase: Array) -> Joints:
    upper, lower = arm_angles(manner, phase)
    out = np.array([0.0, 0.0, sign])
    elbow = shoulder + body.upper_arm * (0.985 * _hang(upper) + 0.16 * out)
    wrist = elbow + body.forearm * (0.995 * _hang(lower) - 0.06 * out)
    return {
        f"{side}_elbow": elbow,
        f"{side}_wrist": wrist,
        f"{side}_hand": wrist + body.hand * _hang(lower + 0.15),
    }


def _hang(angle: Array) -> Array:
    """Return unit vectors of a segment that hangs down, turned forward by an angle."""
    return np.stack([np.sin(angle), -np.cos(angle), np.zeros_like(angle)], axis=1)


def _carries(phase: Array) -> Array:
    """Return 1 from heel strike to toe-off, 0 in swing, with soft transitions."""
    middle, half = 0.29, 0.33
    distance = np.abs((phase - middle + 0.5) % 1.0 - 0.5)
    return np.clip((half + 0.02 - distance) / 0.04, 1e-6, 1.0)


def _smooth(curve: Array, *, harmonics: int = 8) -> Array:
    spectrum = np.fft.rfft(curve)
    spectrum[harmonics + 1 :] = 0
    return np.fft.irfft(spectrum, n=len(curve))
