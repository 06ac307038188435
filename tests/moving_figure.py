"""A drawn scene with texture, in which a small figure moves, and the camera, too."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RATE = 25.0
SIZE = (120, 160)
FIGURE = (26, 14)  # (H, W) in pixels
SWING = 8  # px, to both sides


def scene(
    *,
    seconds: float = 2.0,
    size: tuple[int, int] = SIZE,
    at: tuple[float, float] | None = (0.25, 0.25),
    pan: float = 0.0,
    noise: float = 0.0,
    until: float = np.inf,
) -> Tensor:
    """Return frames, uint8 (T, 3, H, W), `RATE` a second.

    Args:
        seconds: of the clip.
        size: (H, W).
        at: the middle of the figure, which sways around it, as shares of height and width; None for no figure.
        pan: of the camera, pixels a frame to the right.
        noise: of the camera, standard deviation.
        until: second from which on nothing moves.
    """
    rng = np.random.default_rng(0)
    count, (height, width) = round(seconds * RATE), size
    blocks = rng.integers(40, 200, (height // 10 + 1, (width + round(count * abs(pan))) // 10 + 1))
    canvas = np.kron(blocks, np.ones((10, 10)))[:height]
    frames = np.empty((count, height, width), np.float32)
    for index in range(count):
        time = min(index / RATE, until)
        left = round(index * pan)
        frames[index] = canvas[:, left : left + width]
        if at is not None:
            down = round(at[0] * height) - FIGURE[0] // 2
            right = round(at[1] * width + SWING * np.sin(2 * np.pi * time)) - FIGURE[1] // 2
            frames[index, down : down + FIGURE[0], right : right + FIGURE[1]] = 250
            frames[index, down + 4 : down + FIGURE[0] : 8, right : right + FIGURE[1]] = 10
    frames += rng.normal(0, noise, frames.shape).astype(np.float32) if noise else 0
    gray = torch.from_numpy(frames.clip(0, 255).astype(np.uint8))
    return gray[:, None].expand(-1, 3, -1, -1).contiguous()
