"""The pixels of the frames of a video at given timestamps, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from marey.errors import UsageError
from marey.video.conversion import Conversion, needs_conversion
from marey.video.frames import TimedFrame
from marey.video.keyframes import Keyframes
from marey.video.limits import Limits
from marey.video.reader import Reader
from marey.video.reading_process import is_apart, read_apart, walk_apart
from marey.video.region import Region
from marey.video.sampling import Decoder, FrameChoice, check_decoder
from marey.video.source import Source, open_video
from marey.video.torchcodec_reader import TorchCodecReader
from marey.video.transform import Anchor, Fit, Interpolation, ResizeCrop, check_transform

Pixels = npt.NDArray[np.uint8]


class Choices(NamedTuple):
    """Choices of how frames are read: the arguments of `decode` of these names."""

    size: tuple[int, int] | None = None
    fit: Fit | Region = "stretch"
    anchor: Anchor = "middle"
    interpolation: Interpolation = "bicubic"
    conversion: Conversion = "standard"
    frames: FrameChoice = "exact"
    decoder: Decoder = "pyav"
    threads: int = 1


def read_pixels(
    path: str | Path, timestamps: Sequence[float] | npt.NDArray[np.float64], choices: Choices, limits: Limits
) -> tuple[Pixels, npt.NDArray[np.float64]]:
    """Return the frames shown at the given timestamps, (T, 3, H, W), and when each begins, (T,); see `decode`.

    Raises:
        VideoError: a requested frame cannot be decoded.
        UsageError: an argument that is not valid.
    """
    requested = _check_timestamps(timestamps)
    if is_apart(limits):
        starts, apart = read_apart("pixels", path, limits, requested, choices)
        return apart, np.array(starts, dtype=np.float64)
    order = np.argsort(requested, kind="stable")
    with _opened(path, choices, limits) as (convert, frames_at):
        pixels = np.empty((len(requested), 3, *convert.size), dtype=np.uint8)
        begins = np.empty(len(requested))
        previous: tuple[object, int] | None = None
        for place, frame in zip(order, frames_at(requested[order].tolist()), strict=True):
            begins[place] = frame.time
            if previous is not None and previous[0] is frame:
                pixels[place] = pixels[previous[1]]
            else:
                convert(frame.image, pixels[place])
            previous = frame, place
    return pixels, begins


def read_each(
    path: str | Path, timestamps: Sequence[float] | npt.NDArray[np.float64], choices: Choices, limits: Limits
) -> Iterator[tuple[int, Pixels]]:
    """Yield the frames that `read_pixels` returns one by one, in the order of time.

    Yields:
        The place of a timestamp, and the frame shown then, (3, H, W): the same array for all that show the same frame.

    Raises:
        VideoError: a requested frame cannot be decoded.
        UsageError: an argument that is not valid.
    """
    requested = _check_timestamps(timestamps)
    if is_apart(limits):
        image: Pixels | None = None
        for place, pixels in walk_apart("each", path, limits, requested, choices):
            image = image if pixels is None else pixels
            assert image is not None  # noqa: S101 - the first one comes with its pixels
            yield place, image
        return
    order = np.argsort(requested, kind="stable")
    with _opened(path, choices, limits) as (convert, frames_at):
        shown: TimedFrame | None = None
        for place, frame in zip(order.tolist(), frames_at(requested[order].tolist()), strict=True):
            if frame is not shown:
                image = np.empty((3, *convert.size), dtype=np.uint8)
                convert(frame.image, image)
                shown = frame
            assert image is not None  # noqa: S101 - of the first frame
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
    path: str | Path, choices: Choices, limits: Limits
) -> Iterator[tuple[ResizeCrop, Callable[[list[float]], Iterator[TimedFrame]]]]:
    """Open a file; give the transform of its frames, and the function that reads them."""
    size, fit, anchor, interpolation, conversion, frames, decoder, threads = choices
    check_transform(size, fit, anchor, interpolation, conversion)
    check_decoder(frames, decoder)
    if threads < 1:
        raise UsageError(f"threads has to be at least 1, not {threads}")
    if decoder == "torchcodec" and conversion == "standard":
        with open_video(path, limits) as source:
            if needs_conversion(Reader(source).first.image):
                decoder = "pyav"  # TorchCodec converts to RGB by itself, and knows neither fields nor HDR
    with open_video(path, limits, threads=threads, headers_only=frames == "keyframes") as source:
        first, pixel_aspect, frames_at = _open(source, frames, decoder, threads)
        yield ResizeCrop(first, pixel_aspect, size, fit, anchor, interpolation, conversion), frames_at


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
