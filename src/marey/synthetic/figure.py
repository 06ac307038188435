"""The figure: a skeleton with body and clothes, as strokes in the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from marey.synthetic.body import Array, Body, Joints
from marey.synthetic.scene import HEIGHT, WIDTH, Clothes, Colour, Scene
from marey.synthetic.stroke import Stroke


@dataclass(frozen=True, slots=True)
class View:
    """The motion of the camera during a clip, frame by frame.

    Attributes:
        zoom: `(T,)` magnification about the middle of the frame.
        shift: `(T, 2)` pixels of the 160x120 frame.
        gain: `(T,)` brightness.
    """

    zoom: Array
    shift: Array
    gain: Array

    def apply(self, points: Array) -> Array:
        """Return the positions of pixels `(T, 2)` of the still camera in the moving one."""
        middle = np.array([WIDTH / 2, HEIGHT / 2])
        seen: Array = (points - middle) * self.zoom[:, None] + middle + self.shift
        return seen


def dress(scene: Scene, body: Body, joints: Joints, view: View) -> list[Stroke]:
    """Return the strokes of a figure, from the farthest to the nearest."""
    return _Figure(scene, body, joints, view).strokes()


def shadow(scene: Scene, body: Body, joints: Joints, view: View) -> Iterator[Stroke]:
    """Yield the limbs, projected onto the ground along the light."""
    right, away = scene.light.shadow
    flat = {
        name: np.stack(
            [curve[:, 0] + right * curve[:, 1], np.zeros(len(curve)), curve[:, 2] + away * curve[:, 1]], axis=1
        )
        for name, curve in joints.items()
    }
    lines = [
        (f"{side}_{start}", f"{side}_{end}", thick)
        for side in ("left", "right")
        for start, end, thick in (
            ("heel", "toe", 0.030),
            ("ankle", "knee", 0.030),
            ("knee", "hip", 0.042),
            ("shoulder", "elbow", 0.028),
            ("elbow", "hand", 0.024),
        )
    ]
    lines += [("pelvis", "chest", 0.075), ("neck", "head", 0.045)]
    for start, end, thick in lines:
        (a, size), (b, _) = scene.camera.project(flat[start]), scene.camera.project(flat[end])
        width = np.repeat((thick * body.height * 0.8 * size * view.zoom)[:, None], 2, axis=1)
        yield Stroke(view.apply(a), view.apply(b), np.zeros_like(width), width, (0.0, 0.0, 0.0))


class _Figure:
    def __init__(self, scene: Scene, body: Body, joints: Joints, view: View) -> None:
        self.body = body
        self.clothes: Clothes = scene.clothes
        self.joints = joints
        self.scene = scene
        self.view = view
        across = joints["left_shoulder"] - joints["right_shoulder"]
        self.frontal = np.clip(np.abs(across[:, 0]) / (2 * body.shoulder), 0, 1)
        forward = joints["left_toe"] + joints["right_toe"] - joints["left_heel"] - joints["right_heel"]
        forward = forward * np.array([1.0, 0.0, 1.0])
        self.forward = forward / np.linalg.norm(forward, axis=1, keepdims=True)
        # The side nearer to the camera, over the clip: an actor who faces the camera has both.
        self.facing = bool(self.frontal.mean() > 0.75)
        nearer = float(across[:, 2].mean())
        self.far, self.near = ("left", "right") if nearer > 0 else ("right", "left")

    def strokes(self) -> list[Stroke]:
        far, near = self.far, self.near
        dim = 1.0 if self.facing else 0.80
        pack = self._backpack()
        result: list[Stroke] = []
        if not self.facing:
            result += self._arm(far, dim)
        if self.facing:
            result += pack
        result += self._leg(far, dim) + self._leg(near, 1.0)
        result += self._hips() + self._torso()
        if not self.facing:
            result += pack
        result += self._head()
        if self.facing:
            result += self._arm(far, 1.0)
        return result + self._arm(near, 1.0)

    def _line(
        self, start: Array, end: Array, widths: tuple[float, float], colour: Colour, *, flat: Array | None = None
    ) -> Stroke:
        """Return a stroke between world points, with half-widths in metres."""
        (a, scale_a), (b, scale_b) = self.scene.camera.project(start), self.scene.camera.project(end)
        size = np.stack([scale_a, scale_b], axis=1) * self.view.zoom[:, None]
        return Stroke(
            start=self.view.apply(a),
            end=self.view.apply(b),
            flat=np.zeros_like(size) if flat is None else flat * size,
            round=np.array(widths) * size,
            colour=colour,
        )

    def _girth(self, share: float, *, extra: float = 0.0) -> float:
        return self.body.height * (share * self.body.girth + extra)

    def _leg(self, side: str, dim: float) -> list[Stroke]:
        clothes, joints = self.clothes, self.joints
        wide = {"wide": 0.016, "coat": 0.004}.get(clothes.garment, 0.003)
        trousers = _shade(clothes.trousers, dim)
        bare = _shade(clothes.skin, dim)
        knee, ankle = joints[f"{side}_knee"], joints[f"{side}_ankle"]
        hip = joints[f"{side}_hip"]
        heel, toe = joints[f"{side}_heel"], joints[f"{side}_toe"]
        sole = heel + (toe - heel) * (self.body.heel / (self.body.heel + self.body.toe))
        rise = (ankle - sole) / self.body.ankle
        shoe = _shade(clothes.shoes, dim)
        back = heel + (toe - heel) * 0.10 + rise * 0.019 * self.body.height
        front = toe - (toe - heel) * 0.07 + rise * 0.013 * self.body.height
        instep = ankle + (toe - heel) * 0.06
        short = clothes.garment in ("shorts", "skirt")
        lower = bare if short else trousers
        hem = knee + (ankle - knee) * (0.90 if clothes.garment == "wide" else 0.97)
        shank = (
            (self._girth(0.029), self._girth(0.018))
            if short
            else (self._girth(0.031, extra=wide), self._girth(0.022, extra=wide * 1.25))
        )
        parts = [
            self._line(instep, back, (self._girth(0.020), 0.019 * self.body.height), shoe),
            self._line(instep, front, (self._girth(0.019), 0.013 * self.body.height), shoe),
            self._line(back, front, (0.019 * self.body.height, 0.013 * self.body.height), shoe),
            self._line(knee, hem, shank, lower),
        ]
        if short:
            parts.append(self._line(hip, knee, (self._girth(0.047), self._girth(0.030)), bare))
            cuff = hip + (knee - hip) * 0.74
            parts.append(self._line(hip, cuff, (self._girth(0.049), self._girth(0.042)), trousers))
        else:
            parts.append(
                self._line(hip, knee, (self._girth(0.048, extra=wide * 0.5), self._girth(0.033, extra=wide)), trousers)
            )
        return parts

    def _arm(self, side: str, dim: float) -> list[Stroke]:
        clothes, joints = self.clothes, self.joints
        thick = 0.006 if clothes.garment == "coat" else 0.002
        sleeve = _shade(clothes.top, dim * (1.07 if side == self.near else 1.0))
        skin = _shade(clothes.skin, dim)
        shoulder, elbow = joints[f"{side}_shoulder"], joints[f"{side}_elbow"]
        wrist, hand = joints[f"{side}_wrist"], joints[f"{side}_hand"]
        lower = sleeve if clothes.long_sleeves else skin
        bulk = thick if clothes.long_sleeves else 0.0
        palm = wrist + (hand - wrist) * 0.25
        return [
            self._line(palm, hand, (self._girth(0.017), self._girth(0.015)), skin),
            self._line(elbow, wrist, (self._girth(0.024, extra=bulk), self._girth(0.016, extra=bulk)), lower),
            self._line(shoulder, elbow, (self._girth(0.031, extra=thick), self._girth(0.024, extra=thick)), sleeve),
        ]

    def _slab(self, wide: float, deep: float, rounding: float) -> Array:
        """Return the half-width in metres of the flat part of a trunk, `wide` from the front, `deep` from the side."""
        body = self.body
        seen = np.sqrt((wide * body.height * self.frontal) ** 2 + (deep * body.height) ** 2 * (1 - self.frontal**2))
        return np.maximum(seen - rounding, 0.0)

    def _hips(self) -> list[Stroke]:
        joints, clothes, body = self.joints, self.clothes, self.body
        rounding = 0.034 * body.height
        flat = np.stack(
            [
                self._slab(0.088 * body.girth**0.5, 0.058 * body.girth, rounding),
                self._slab(0.086 * body.girth**0.5, 0.060 * body.girth, rounding),
            ],
            axis=1,
        )
        bottom = joints["pelvis"] - np.array([0.0, 0.012 * body.height, 0.0])
        parts = [self._line(joints["waist"], bottom, (rounding, rounding), clothes.trousers, flat=flat)]
        if clothes.garment in ("skirt", "coat"):
            colour = clothes.trousers if clothes.garment == "skirt" else clothes.top
            parts.append(self._drape(colour, 0.92 if clothes.garment == "skirt" else 0.70))
        return parts

    def _drape(self, colour: Colour, length: float) -> Stroke:
        """Return cloth that hangs from the waist to a share of the thighs, as wide as the legs."""
        joints, body = self.joints, self.body
        left = joints["left_hip"] + (joints["left_knee"] - joints["left_hip"]) * length
        right = joints["right_hip"] + (joints["right_knee"] - joints["right_hip"]) * length
        spread = np.abs(left[:, 0] - right[:, 0]) / 2
        rounding = 0.022 * body.height
        waist = self._slab(0.086, 0.066 * body.girth, rounding)
        hem = np.maximum(self._slab(0.100, 0.070 * body.girth, rounding), spread + 0.036 * body.height)
        return self._line(
            joints["waist"], (left + right) / 2, (rounding, rounding), colour, flat=np.stack([waist, hem], axis=1)
        )

    def _torso(self) -> list[Stroke]:
        joints, body, clothes = self.joints, self.body, self.clothes
        bulk = 0.010 if clothes.garment == "coat" else 0.0
        rounding = 0.048 * body.height
        flat = np.stack(
            [
                self._slab(0.118 * (body.shoulder / (0.112 * body.height)) + bulk, 0.066 * body.girth + bulk, rounding),
                self._slab(0.080 * body.girth**0.5 + bulk, 0.058 * body.girth + bulk, rounding),
            ],
            axis=1,
        )
        spine = (joints["chest"] - joints["pelvis"]) / body.trunk
        top = joints["chest"] - spine * 0.036 * body.height
        bottom = joints["waist"] + spine * 0.004 * body.height
        neck = joints["chest"] - spine * 0.02 * body.height
        return [
            self._line(neck, joints["neck"] + 0.02 * spine, (self._girth(0.030), self._girth(0.024)), clothes.skin),
            self._line(top, bottom, (rounding, rounding), clothes.top, flat=flat),
        ]

    def _head(self) -> list[Stroke]:
        joints, body, clothes = self.joints, self.body, self.clothes
        h = body.height
        up = (joints["head"] - joints["chest"]) / np.linalg.norm(
            joints["head"] - joints["chest"], axis=1, keepdims=True
        )
        ahead = self.forward
        head = joints["head"]
        parts = [
            self._line(head + h * (0.020 * up - 0.012 * ahead), head + h * (0.006 * up - 0.014 * ahead),
                       (0.050 * h, 0.047 * h), clothes.hair),
            self._line(head + h * (0.012 * up + 0.012 * ahead), head + h * (-0.026 * up + 0.016 * ahead),
                       (0.038 * h, 0.032 * h), clothes.skin),
            self._line(head + h * (0.002 * up + 0.044 * ahead), head + h * (-0.010 * up + 0.052 * ahead),
                       (0.006 * h, 0.008 * h), clothes.skin),
        ]  # fmt: skip
        if clothes.hat is not None:
            parts.append(
                self._line(head + h * (0.046 * up - 0.004 * ahead), head + h * (0.034 * up - 0.008 * ahead),
                           (0.034 * h, 0.046 * h), clothes.hat)
            )  # fmt: skip
        return parts

    def _backpack(self) -> list[Stroke]:
        joints, body, clothes = self.joints, self.body, self.clothes
        if clothes.backpack is None:
            return []
        back = -self.forward * 0.088 * body.height * (0.75 + 0.25 * body.girth)
        spine = joints["chest"] - joints["pelvis"]
        rounding = 0.036 * body.height
        wide = self._slab(0.095, 0.046, rounding)
        return [
            self._line(
                joints["pelvis"] + 0.82 * spine + back,
                joints["pelvis"] + 0.34 * spine + back,
                (rounding, rounding),
                clothes.backpack,
                flat=np.stack([wide, wide * 1.1], axis=1),
            )
        ]


def _shade(colour: Colour, tone: float) -> Colour:
    return (colour[0] * tone, colour[1] * tone, colour[2] * tone)
