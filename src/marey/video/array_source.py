"""Read an array of frames like a video."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from av import VideoFrame

from marey.errors import UsageError
from marey.video.frames import TIME_TOLERANCE, Frames
from marey.video.transform import Anchor, Fit, Interpolation, ResizeCrop


def frames_at(
    images: npt.NDArray[Any] | torch.Tensor,
    timestamps: npt.NDArray[np.float64],
    *,
    frame_rate: float,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    anchor: Anchor = "middle",
    interpolation: Interpolation = "bicubic",
) -> Frames:
    """Return the frames shown at the given timestamps, of an array with a constant frame rate.

    Args:
        images: uint8 RGB, (T, H, W, 3) or (T, 3, H, W).
        timestamps: seconds from the first frame.
        frame_rate: frames per second.
        size: (H, W) of the result in pixels; None keeps the size of the array.
        fit: as in `decode`.
        anchor: as in `decode`.
        interpolation: as in `decode`.

    Returns:
        Frames, (len(timestamps), 3, H, W), in the order of the timestamps.

    Raises:
        UsageError: an array of another type or shape, or a rate that is not positive.
    """
    stored = _channels_last(images)
    if not (np.isfinite(frame_rate) and frame_rate > 0):
        raise UsageError(f"the frame rate has to be more than 0 frames per second, not {frame_rate}")
    index = np.floor(np.asarray(timestamps) * frame_rate + TIME_TOLERANCE).clip(0, len(stored) - 1).astype(np.int64)
    first = VideoFrame.from_ndarray(stored[0], format="rgb24")
    convert = ResizeCrop(first, 1.0, size, fit, anchor, interpolation)
    data = torch.empty((len(index), 3, *convert.size), dtype=torch.uint8)
    for place, number in enumerate(index):
        convert(VideoFrame.from_ndarray(stored[number], format="rgb24"), data[place].numpy())
    return Frames(data, index / frame_rate)


def _channels_last(images: npt.NDArray[Any] | torch.Tensor) -> npt.NDArray[np.uint8]:
    """Convert images to uint8 (T, H, W, 3), contiguous."""
    array = images.numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
    if array.ndim == 4 and array.shape[1] == 3 and array.shape[3] != 3:
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or array.size == 0:
        raise UsageError(f"images have to be uint8 RGB, (T, H, W, 3) or (T, 3, H, W), not {array.dtype} {array.shape}")
    return np.ascontiguousarray(array)
