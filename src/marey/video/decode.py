"""Decode the frames of a video at given timestamps, and no others; arrays of frames are read likewise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from av.video.frame import VideoFrame

from marey.errors import UsageError
from marey.video.frames import TIME_TOLERANCE, Frames, TimedFrame
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
    requested = np.asarray(timestamps, dtype=np.float64)
    if requested.ndim != 1:
        raise UsageError(f"timestamps have to be a list of seconds, not an array of shape {requested.shape}")
    if not np.isfinite(requested).all():
        raise UsageError(f"timestamps have to be finite, not {requested[~np.isfinite(requested)][0]}")
    check_transform(size, fit, anchor, interpolation)
    check_decoder(frames, decoder)
    if threads < 1:
        raise UsageError(f"threads has to be at least 1, not {threads}")
    order = np.argsort(requested, kind="stable")
    with open_video(path, limits, threads=threads, headers_only=frames == "keyframes") as source:
        first, pixel_aspect, read = _open(source, frames, decoder, threads)
        convert = ResizeCrop(first, pixel_aspect, size, fit, anchor, interpolation)
        data = torch.empty((len(requested), 3, *convert.size), dtype=torch.uint8)
        pixels = data.numpy()
        starts = np.empty(len(requested))
        previous: tuple[object, int] | None = None
        for place, frame in zip(order, read(requested[order].tolist()), strict=True):
            starts[place] = frame.time
            if previous is not None and previous[0] is frame:
                pixels[place] = pixels[previous[1]]
            else:
                convert(frame.image, pixels[place])
            previous = frame, place
    return Frames(data, starts)


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
