"""Frames that are in memory already, seen as a video."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from av import VideoFrame

from marey.errors import UsageError
from marey.video.frames import Frames
from marey.video.picture import Anchor, Converter, Fit, Interpolation


def show(
    pictures: npt.NDArray[Any] | torch.Tensor,
    instants: npt.NDArray[np.float64],
    *,
    frame_rate: float,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    anchor: Anchor = "middle",
    interpolation: Interpolation = "bicubic",
) -> Frames:
    """The frames on screen at the given instants, of pictures that follow each other at a steady rate.

    Args:
        pictures: uint8 RGB, (T, H, W, 3) or (T, 3, H, W).
        instants: seconds from the first picture.
        frame_rate: pictures per second.
        size: (H, W) of the result in pixels; None keeps the pictures' own.
        fit: as `decode` has it.
        anchor: likewise.
        interpolation: likewise.

    Returns:
        Frames, (len(instants), 3, H, W), in the order of the instants.

    Raises:
        UsageError: an array of another type or shape, or a rate that is none.
    """
    stored = channels_last(pictures)
    if not (np.isfinite(frame_rate) and frame_rate > 0):
        raise UsageError(f"the frame rate has to be more than 0 pictures per second, not {frame_rate}")
    index = np.clip(np.floor(np.asarray(instants) * frame_rate + 1e-6), 0, len(stored) - 1).astype(np.int64)
    first = VideoFrame.from_ndarray(stored[0], format="rgb24")
    convert = Converter(first, pixel_aspect=1.0, size=size, fit=fit, anchor=anchor, interpolation=interpolation)
    data = torch.empty((len(index), 3, *convert.size), dtype=torch.uint8)
    for place, number in enumerate(index):
        convert(VideoFrame.from_ndarray(stored[number], format="rgb24"), data[place].numpy())
    return Frames(data, index / frame_rate)


def channels_last(pictures: npt.NDArray[Any] | torch.Tensor) -> npt.NDArray[np.uint8]:
    """Pictures as uint8 (T, H, W, 3), contiguous, from that or from (T, 3, H, W).

    Raises:
        UsageError: an array of another type or shape.
    """
    array = pictures.numpy() if isinstance(pictures, torch.Tensor) else np.asarray(pictures)
    if array.ndim == 4 and array.shape[1] == 3 and array.shape[3] != 3:
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or array.size == 0:
        raise UsageError(
            f"pictures have to be uint8 RGB, (T, H, W, 3) or (T, 3, H, W), not {array.dtype} {array.shape}"
        )
    return np.ascontiguousarray(array)
