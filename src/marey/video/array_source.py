"""Read an array of frames like a video."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from av import VideoFrame

from marey.errors import UsageError
from marey.video.frames import TIME_TOLERANCE, Frames
from marey.video.region import Region
from marey.video.transform import Anchor, Fit, Interpolation, ResizeCrop

if TYPE_CHECKING:
    import torch


def frames_at(
    images: npt.NDArray[Any] | torch.Tensor,
    timestamps: npt.NDArray[np.float64],
    *,
    frame_rate: float,
    size: tuple[int, int] | None = None,
    fit: Fit | Region = "stretch",
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
    import torch

    stored, index = _index(images, timestamps, frame_rate)
    convert = ResizeCrop(_frame(stored[0]), 1.0, size, fit, anchor, interpolation)
    data = torch.empty((len(index), 3, *convert.size), dtype=torch.uint8)
    for place, number in enumerate(index):
        convert(_frame(stored[number]), data[place].numpy())
    return Frames(data, index / frame_rate)


def each_frame_at(
    images: npt.NDArray[Any] | torch.Tensor,
    timestamps: npt.NDArray[np.float64],
    *,
    frame_rate: float,
    size: tuple[int, int] | None = None,
    fit: Fit | Region = "stretch",
    anchor: Anchor = "middle",
    interpolation: Interpolation = "bicubic",
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the frames that `frames_at` returns one by one, as `decode_each` does for a file.

    Args:
        images: as for `frames_at`, and so are all others.
        timestamps: seconds from the first frame, ascending.

    Yields:
        The place of a timestamp, and the frame shown then, uint8 (3, H, W): the same tensor for all timestamps that
        show the same frame.

    Raises:
        UsageError: as `frames_at`.
    """
    import torch

    stored, index = _index(images, timestamps, frame_rate)
    convert = ResizeCrop(_frame(stored[0]), 1.0, size, fit, anchor, interpolation)
    shown = -1
    for place, number in enumerate(index.tolist()):
        if number != shown:
            image = torch.empty((3, *convert.size), dtype=torch.uint8)
            convert(_frame(stored[number]), image.numpy())
            shown = number
        yield place, image


def _index(
    images: npt.NDArray[Any] | torch.Tensor, timestamps: npt.NDArray[np.float64], frame_rate: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the frames, (T, H, W, 3), and the index of the one at each timestamp."""
    stored = _channels_last(images)
    if not (np.isfinite(frame_rate) and frame_rate > 0):
        raise UsageError(f"the frame rate has to be more than 0 frames per second, not {frame_rate}")
    index = np.floor(np.asarray(timestamps) * frame_rate + TIME_TOLERANCE).clip(0, len(stored) - 1).astype(np.int64)
    return stored, index


def _frame(pixels: npt.NDArray[np.uint8]) -> VideoFrame:
    return VideoFrame.from_ndarray(pixels, format="rgb24")


def _channels_last(images: npt.NDArray[Any] | torch.Tensor) -> npt.NDArray[np.uint8]:
    """Convert images to uint8 (T, H, W, 3), contiguous."""
    import torch

    array = images.numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
    if array.ndim == 4 and array.shape[1] == 3 and array.shape[3] != 3:
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or array.size == 0:
        raise UsageError(f"images have to be uint8 RGB, (T, H, W, 3) or (T, 3, H, W), not {array.dtype} {array.shape}")
    return np.ascontiguousarray(array)
