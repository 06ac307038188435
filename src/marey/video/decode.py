"""Decode the frames of a video at given timestamps, and no others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from marey.video.conversion import Conversion
from marey.video.frames import Frames
from marey.video.limits import Limits
from marey.video.pixels import Choices, read_each, read_pixels
from marey.video.region import Region
from marey.video.sampling import Decoder, FrameChoice
from marey.video.transform import Anchor, Fit, Interpolation

if TYPE_CHECKING:
    import torch


def decode(
    path: str | Path,
    timestamps: Sequence[float] | npt.NDArray[np.float64],
    *,
    size: tuple[int, int] | None = None,
    fit: Fit | Region = "stretch",
    anchor: Anchor = "middle",
    interpolation: Interpolation = "bicubic",
    conversion: Conversion = "standard",
    frames: FrameChoice = "exact",
    decoder: Decoder = "pyav",
    threads: int = 1,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Frames:
    """Return the frames shown at the given timestamps.

        frame       |0    |1    |2          |3    |      each from its timestamp to the next
        timestamp   ^  ^     ^       ^            ^  ^
        returns     0  0     1       2            3  3   (the last frame stays)

    Args:
        path: a local file.
        timestamps: seconds from the first frame of the video, in any order, repeated or not. Before
            0, the first frame is returned; after the end, the last one, for half a second or a
            tenth of the timestamp.
        size: (H, W) of the result in pixels; None keeps the size of the upright frame, or of the region.
        fit: "stretch" the frame to the size, or "crop" its largest part of that shape; or a `Region` of the
            frame, which is widened to the shape of the size where the frame is large enough, and stretched.
        anchor: the part that "crop" takes: middle, first (left or upper), or last (right or lower).
        interpolation: resizing method; all but "nearest" average over the area of a pixel.
        conversion: "standard" takes one field of interlaced frames, and brings HDR to BT.709; "none" reads them as they
            are stored.
        frames: "exact", or "keyframes" for the key frame nearest to each timestamp, which is many
            times faster where key frames are far apart.
        decoder: "pyav", or "torchcodec" if it is installed: the same frames, in slightly different
            pixels.
        threads: maximum number of decoder threads, used for large frames only. One is best if files
            are decoded in parallel.
        limits: limits of reading.

    Returns:
        Frames, (T, 3, H, W), in the order of the timestamps. A few more frames are held in memory.

    Raises:
        VideoError: a requested frame cannot be decoded; it is not replaced by another.
        UsageError: an argument that is not valid.
    """
    import torch

    choices = Choices(size, fit, anchor, interpolation, conversion, frames, decoder, threads)
    pixels, starts = read_pixels(path, timestamps, choices, limits)
    return Frames(torch.from_numpy(pixels), starts)


def decode_each(
    path: str | Path,
    timestamps: Sequence[float] | npt.NDArray[np.float64],
    *,
    size: tuple[int, int] | None = None,
    fit: Fit | Region = "stretch",
    anchor: Anchor = "middle",
    interpolation: Interpolation = "bicubic",
    conversion: Conversion = "standard",
    frames: FrameChoice = "exact",
    decoder: Decoder = "pyav",
    threads: int = 1,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the frames that `decode` returns one by one, in the order of time; none is held in memory.

    Args:
        path: as for `decode`, and so are all others.

    Yields:
        The place of a timestamp, and the frame shown then, uint8 (3, H, W): the same tensor for all timestamps that
        show the same frame.

    Raises:
        VideoError: as `decode`.
        UsageError: likewise.
    """
    import torch

    choices = Choices(size, fit, anchor, interpolation, conversion, frames, decoder, threads)
    shown: npt.NDArray[np.uint8] | None = None
    for place, pixels in read_each(path, timestamps, choices, limits):
        if pixels is not shown:
            image, shown = torch.from_numpy(pixels), pixels
        yield place, image
