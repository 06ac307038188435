"""Decode the frames of a video at given timestamps, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from av.video.frame import VideoFrame

from marey.errors import UsageError
from marey.video.frames import Frames, TimedFrame
from marey.video.keyframes import Keyframes
from marey.video.limits import Limits
from marey.video.reader import Reader
from marey.video.sampling import Decoder, FrameChoice, check_decoder
from marey.video.source import Source, open_video
from marey.video.torchcodec_reader import TorchCodecReader
from marey.video.transform import Anchor, Fit, Interpolation, ResizeCrop, check_transform


def decode(
    path: str | Path,
    timestamps: Sequence[float] | npt.NDArray[np.float64],
    *,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    anchor: Anchor = "middle",
    interpolation: Interpolation = "bicubic",
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
        size: (H, W) of the result in pixels; None keeps the size of the upright frame.
        fit: "stretch" the frame to the size, or "crop" its largest part of that shape.
        anchor: the part that "crop" takes: middle, first (left or upper), or last (right or lower).
        interpolation: resizing method; all but "nearest" average over the area of a pixel.
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
    requested = _check_timestamps(timestamps)
    order = np.argsort(requested, kind="stable")
    transform = (size, fit, anchor, interpolation)
    with _opened(path, transform, frames, decoder, threads, limits) as (convert, frames_at):
        data = torch.empty((len(requested), 3, *convert.size), dtype=torch.uint8)
        pixels = data.numpy()
        starts = np.empty(len(requested))
        previous: tuple[object, int] | None = None
        for place, frame in zip(order, frames_at(requested[order].tolist()), strict=True):
            starts[place] = frame.time
            if previous is not None and previous[0] is frame:
                pixels[place] = pixels[previous[1]]
            else:
                convert(frame.image, pixels[place])
            previous = frame, place
    return Frames(data, starts)


def decode_each(
    path: str | Path,
    timestamps: Sequence[float] | npt.NDArray[np.float64],
    *,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    anchor: Anchor = "middle",
    interpolation: Interpolation = "bicubic",
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
    requested = _check_timestamps(timestamps)
    order = np.argsort(requested, kind="stable")
    transform = (size, fit, anchor, interpolation)
    with _opened(path, transform, frames, decoder, threads, limits) as (convert, frames_at):
        shown: TimedFrame | None = None
        for place, frame in zip(order.tolist(), frames_at(requested[order].tolist()), strict=True):
            if frame is not shown:
                image = torch.empty((3, *convert.size), dtype=torch.uint8)
                convert(frame.image, image.numpy())
                shown = frame
            yield place, image


def _check_timestamps(timestamps: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    requested = np.asarray(timestamps, dtype=np.float64)
    if requested.ndim != 1:
        raise UsageError(f"timestamps have to be a list of seconds, not an array of shape {requested.shape}")
    if not np.isfinite(requested).all():
        raise UsageError(f"timestamps have to be finite, not {requested[~np.isfinite(requested)][0]}")
    return requested


@contextmanager
def _opened(
    path: str | Path,
    transform: tuple[tuple[int, int] | None, Fit, Anchor, Interpolation],
    frames: FrameChoice,
    decoder: Decoder,
    threads: int,
    limits: Limits,
) -> Iterator[tuple[ResizeCrop, Callable[[list[float]], Iterator[TimedFrame]]]]:
    """Open a file; give the transform of its frames, and the function that reads them."""
    check_transform(*transform)
    check_decoder(frames, decoder)
    if threads < 1:
        raise UsageError(f"threads has to be at least 1, not {threads}")
    with open_video(path, limits, threads=threads, headers_only=frames == "keyframes") as source:
        first, pixel_aspect, frames_at = _open(source, frames, decoder, threads)
        yield ResizeCrop(first, pixel_aspect, *transform), frames_at


def _open(
    source: Source, frames: FrameChoice, decoder: Decoder, threads: int
) -> tuple[VideoFrame, float, Callable[[list[float]], Iterator[TimedFrame]]]:
    """Return the first frame, its pixel aspect ratio, and the function that reads frames."""
    if decoder == "torchcodec":
        other = TorchCodecReader(source, threads=threads)
        return other.first, other.pixel_aspect, other.frames_at
    pixel_aspect = float(source.stream.sample_aspect_ratio or 1)
    if frames == "keyframes":
        keyframes = Keyframes(source)
        return keyframes.first.image, pixel_aspect, keyframes.nearest
    reader = Reader(source)
    return reader.first.image, pixel_aspect, reader.frames_at
