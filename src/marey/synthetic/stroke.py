"""Strokes: parts of the body, drawn from their distance fields with shading and antialiased edges.

A stroke is drawn on all frames together, each in the smallest window that contains it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marey.synthetic.body import Array
from marey.synthetic.scene import HEIGHT, WIDTH, Colour, Light

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Stroke:
    """A part of the body in pixels: a slab from `start` to `end` with rounded sides.

    Attributes:
        start, end: `(T, 2)`.
        flat: `(T, 2)` half-width of the straight middle at start and end, 0 for a limb.
        round: `(T, 2)` radius of the rounding at start and end.
        colour: RGB, 0 to 255.
    """

    start: Array
    end: Array
    flat: Array
    round: Array
    colour: Colour


def paint(canvas: Bytes, stroke: Stroke, light: Light, lit: Array, *, scale: int) -> None:
    """Draw one stroke on all frames, lit from the side and from above."""
    field = Field.of(stroke, canvas.shape, scale)
    if field is None:
        return
    across, cover = field.across, field.cover
    # The normal of a cylinder, (across, sqrt(1 - across²)), times a light from the side, from above and from the front.
    facing = field.normal[0] * (0.55 * light.side) - field.normal[1] * 0.45
    tone = 1.0 + light.contrast * (across * facing[:, None, None] + 0.72 * np.sqrt(1 - across * across) - 0.62)
    tone *= lit[field.which].astype(np.float32)[:, None, None]
    pixels = canvas.view(np.uint32).reshape(-1)
    under = pixels[field.where].view(np.uint8).reshape(*field.where.shape, 4).astype(np.float32)
    flesh = tone[..., None] * np.array((*stroke.colour, 0.0), dtype=np.float32)
    under += cover[..., None] * (flesh - under)
    under += np.float32(0.5)
    np.clip(under, 0, 255, out=under)
    pixels[field.where] = under.astype(np.uint8).view(np.uint32)[..., 0]


def darken(darkness: npt.NDArray[np.float32], stroke: Stroke, *, soft: float, scale: int) -> None:
    """Draw one stroke of a shadow on all frames; overlapping shadows are not darker."""
    field = Field.of(stroke, darkness.shape, scale, soft=soft)
    if field is not None:
        pixels = darkness.reshape(-1)
        pixels[field.where] = np.maximum(pixels[field.where], field.cover)


@dataclass(frozen=True, slots=True)
class Field:
    """The pixels of a stroke's windows `(N, h, w)` in the frames where it is visible.

    Attributes:
        which: `(N,)` frames.
        where: `(N, h, w)` pixels in the canvas; the last pixel of a frame stands for all outside.
        across: from -1 to 1 over the width of the stroke.
        cover: share of the pixel that the stroke covers.
        normal: x and y of the unit normal of the stroke, `(N,)` each.
    """

    which: npt.NDArray[np.int64]
    where: npt.NDArray[np.int64]
    across: npt.NDArray[np.float32]
    cover: npt.NDArray[np.float32]
    normal: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

    @classmethod
    def of(cls, stroke: Stroke, shape: tuple[int, ...], scale: int, *, soft: float = 1.0) -> Field | None:
        """Return the field of a stroke on a canvas, or None if invisible; `soft` is the width of the edge in pixels."""
        height, width = HEIGHT * scale, WIDTH * scale
        start, end = stroke.start * scale, stroke.end * scale
        flat, rounding = stroke.flat * scale, stroke.round * scale
        reach = (flat + rounding).max(axis=1) + soft
        low = np.floor(np.minimum(start, end) - reach[:, None]).astype(np.int64)
        high = np.ceil(np.maximum(start, end) + reach[:, None]).astype(np.int64)
        inside = (high > 0).all(axis=1) & (low < (width, height)).all(axis=1)
        which = np.flatnonzero(inside)
        if len(which) == 0:
            return None
        low, high, start, end = low[which], high[which], start[which], end[which]
        flat, rounding = flat[which].astype(np.float32), rounding[which].astype(np.float32)
        columns, rows = (high - low).max(axis=0)
        x = low[:, :1] + np.arange(columns)
        y = low[:, 1:] + np.arange(rows)
        within = ((x >= 0) & (x < width))[:, None, :] & ((y >= 0) & (y < height))[:, :, None]
        where = np.where(within, y[:, :, None] * width + x[:, None, :], height * width)
        where += (which * (height * width + 1))[:, None, None]

        line = end - start
        length = np.maximum(np.linalg.norm(line, axis=1), 1e-6)
        along = (line / length[:, None]).astype(np.float32)
        middle = (start + end) / 2
        px = (x + 0.5 - middle[:, :1]).astype(np.float32)[:, None, :]
        py = (y + 0.5 - middle[:, 1:]).astype(np.float32)[:, :, None]
        ax, ay = along[:, 0, None, None], along[:, 1, None, None]
        u = px * ax + py * ay
        v = py * ax - px * ay
        half = (length / 2).astype(np.float32)[:, None, None]
        share = np.clip(u / (2 * half) + np.float32(0.5), 0, 1)
        radius = rounding[:, 0, None, None] + share * (rounding[:, 1] - rounding[:, 0])[:, None, None]
        if flat.any():
            plane = flat[:, 0, None, None] + share * (flat[:, 1] - flat[:, 0])[:, None, None]
            beside = np.maximum(np.abs(v) - plane, 0)
            total = plane + radius
        else:
            beside, total = v, radius
        beyond = np.maximum(np.abs(u) - half, 0)
        distance = np.sqrt(beyond * beyond + beside * beside) - radius
        cover = np.clip(np.float32(0.5) - distance / np.float32(soft), 0, 1)
        across = np.clip(v / total, -1, 1)
        return cls(which, where, across, cover, (-along[:, 1], along[:, 0]))
