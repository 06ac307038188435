"""Render a scene and a skeleton in it: the background, the shadow, the figure, the sensor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from marey.synthetic.body import Array, Body, Joints
from marey.synthetic.figure import View, dress, shadow
from marey.synthetic.scene import HEIGHT, MARGIN, WIDTH, Light, Scene
from marey.synthetic.stroke import Bytes, darken, paint

SOFT = 2.2
"""Pixels over which the edge of a shadow fades."""


def render(
    scene: Scene,
    body: Body,
    joints: Joints,
    *,
    place: npt.NDArray[np.float32],
    present: npt.NDArray[np.bool_],
    view: View,
    rng: np.random.Generator,
    scale: int,
) -> Bytes:
    """Return frames `(T, H, W, 3)` of an actor at world joints `(T, 3)`; only the background if not `present`."""
    count = len(present)
    height, width = HEIGHT * scale, WIDTH * scale
    # The row of pixels ends in an invisible one, for everything outside the frame. With four bytes per pixel (the last
    # one is unused), a pixel is read and written as one number.
    canvas = np.empty((count, height * width + 1, 4), dtype=np.uint8)
    window = _Window(place, scale)
    for index in range(count):
        canvas[index, :-1] = window.look(view.zoom[index], view.shift[index]).reshape(-1, 4)
    if present.any():
        which = np.flatnonzero(present)
        shown = {name: curve[which] for name, curve in joints.items()}
        part = View(view.zoom[which], view.shift[which], view.gain[which])
        figure = canvas[which]
        _cast_shadow(figure, scene, body, shown, part, scale=scale)
        lit = scene.light.across(scene.camera.project(shown["pelvis"])[0][:, 0])
        for stroke in dress(scene, body, shown, part):
            paint(figure, stroke, scene.light, lit, scale=scale)
        canvas[which] = figure
    frames = canvas[:, :-1].reshape(count, height, width, 4)
    return _expose(frames, scene.light, view, rng)


class _Window:
    """The part of the background that the camera sees."""

    def __init__(self, place: npt.NDArray[np.float32], scale: int) -> None:
        self.place = Pillow.fromarray(np.rint(place).astype(np.uint8)).convert("RGBX")
        self.scale = scale
        self.moved: dict[tuple[float, float], Bytes] = {}

    def look(self, zoom: float, shift: Array) -> Bytes:
        """Return pixels `(H, W, 4)`."""
        size = np.array([WIDTH, HEIGHT]) * self.scale
        corner = ((1 - 1 / zoom) * size / 2 - shift / zoom * self.scale) + MARGIN * self.scale
        if zoom != 1.0:
            box = (*corner, *(corner + size / zoom))
            return np.asarray(self.place.resize(tuple(size), Pillow.Resampling.BILINEAR, box=box))
        # Without zoom, the camera shakes in quarters of a pixel: sixteen shifted backgrounds are enough for all frames.
        left, top = np.floor(corner).astype(np.int64)
        part = (float(corner[0] - left), float(corner[1] - top))
        if part not in self.moved:
            width, height = self.place.size
            box = (*part, width - 1 + part[0], height - 1 + part[1])
            moved = self.place.resize((width - 1, height - 1), Pillow.Resampling.BILINEAR, box=box)
            self.moved[part] = np.asarray(moved)
        return self.moved[part][top : top + size[1], left : left + size[0]]


def _cast_shadow(canvas: Bytes, scene: Scene, body: Body, joints: Joints, view: View, *, scale: int) -> None:
    darkness = np.zeros(canvas.shape[:2], dtype=np.float32)
    for stroke in shadow(scene, body, joints, view):
        darken(darkness, stroke, soft=SOFT, scale=scale)
    touched = np.flatnonzero(darkness)
    pixels = canvas.reshape(-1, 4)
    shade = 1 - scene.light.darkness * darkness.reshape(-1)[touched]
    pixels[touched] = (pixels[touched] * shade[:, None] + np.float32(0.5)).astype(np.uint8)


def _expose(frames: Bytes, light: Light, view: View, rng: np.random.Generator) -> Bytes:
    """Add flicker and sensor noise to frames `(T, H, W, 4)`; return `(T, H, W, 3)`."""
    count, height, width = frames.shape[:3]
    grain = rng.standard_normal((height + 32, width + 32, 1), dtype=np.float32) * np.float32(light.noise)
    grain = np.repeat(grain, 4, axis=2)
    corners = rng.integers(0, 32, size=(count, 2))
    signs = rng.choice((-1, 1), size=count).astype(np.float32)
    gains = view.gain.astype(np.float32)
    result = np.empty((count, height, width, 3), dtype=np.uint8)
    exposed, noise = np.empty((2, height, width, 4), dtype=np.float32)
    for index in range(count):
        row, column = corners[index]
        np.multiply(grain[row : row + height, column : column + width], signs[index], out=noise)
        np.multiply(frames[index], gains[index], out=exposed)
        exposed += noise
        exposed += np.float32(0.5)
        np.clip(exposed, 0, 255, out=exposed)
        result[index] = exposed.astype(np.uint8)[..., :3]
    return result
