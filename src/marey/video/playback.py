"""Read a source once, from its first frame to its last."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from av.video.frame import VideoFrame

from marey.errors import VideoError
from marey.video.container_checks import damage_error, find_truncation
from marey.video.frames import TimedFrame
from marey.video.limits import Limits
from marey.video.probe import probe
from marey.video.reader import Reader
from marey.video.source import Source, open_video, translate_errors
from marey.video.transform import Anchor, Fit, Interpolation, ResizeCrop, check_transform, rotation

_MAX_PIXEL_ASPECT = 4.0  # width / height: a higher one is wrong or malicious, and frames would be enormous


@dataclass(frozen=True, slots=True, eq=False)
class StreamFrame:
    """One frame of a source that is played.

    Attributes:
        number: index in the source, from 0; dropped frames are counted too.
        time: seconds from the first frame.
        end: seconds at which it is no longer shown, if no frame follows.
        image: the frame as the decoder returned it.
        arrived: when it was decoded, in seconds of `time.monotonic()`.
    """

    number: int
    time: float
    end: float
    image: VideoFrame
    arrived: float


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Properties of a source that are known with its first frame."""

    first: VideoFrame
    pixel_aspect: float
    frame_rate: float
    duration: float | None

    @classmethod
    def of(cls, source: Source, first: VideoFrame, duration: float | None) -> Self:
        """Return the properties of an open source."""
        return cls(first, float(source.stream.sample_aspect_ratio or 1), float(source.frame_rate), duration)


class Playback:
    """The frames of a source in presentation order, each once; close it, or use it in a `with`.

    A few frames are held in memory, however long the source is.

    Attributes:
        size: (H, W) in pixels of the upright frame as displayed: if the stored pixels are not
            square, one side is stretched.
        frame_rate: frames per second, as stated by the source, else a guess.
        duration: seconds; None if not known.
        live: whether the source is a camera, a URL or a pipe, and not a file.
    """

    live = False

    def __init__(
        self, frames: Generator[StreamFrame, None, None], info: SourceInfo, *, close: Callable[[], None]
    ) -> None:
        self.size = _display_size(info)
        self.frame_rate = info.frame_rate
        self.duration = info.duration
        self._frames = frames
        self._info = info
        self._close = close
        self._transforms: dict[tuple[tuple[int, int] | None, Fit, Anchor, Interpolation], ResizeCrop] = {}

    @property
    def dropped(self) -> int:
        """Number of frames so far that were discarded because the reader was late; 0 for a file."""
        return 0

    @property
    def damaged(self) -> int:
        """Number of corrupt frames so far that were discarded; in a file, they raise an error."""
        return 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamFrame:
        return next(self._frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the source; it may be called twice."""
        self._frames.close()
        self._close()

    def to_rgb(
        self,
        frame: StreamFrame,
        *,
        size: tuple[int, int] | None = None,
        fit: Fit = "stretch",
        anchor: Anchor = "middle",
        interpolation: Interpolation = "bicubic",
    ) -> torch.Tensor:
        """Convert a frame into the same pixels that `decode` returns.

        Args:
            frame: of this playback.
            size: (H, W) in pixels; None keeps the stored pixels, even if they are not square.
                `self.size` displays them undistorted.
            fit: as in `decode`.
            anchor: as in `decode`.
            interpolation: as in `decode`.

        Returns:
            uint8 (3, H, W), RGB, upright.

        Raises:
            UsageError: an argument that is not valid.
        """
        options = (size, fit, anchor, interpolation)
        convert = self._transforms.get(options)
        if convert is None:
            check_transform(*options)
            convert = self._transforms[options] = ResizeCrop(self._info.first, self._info.pixel_aspect, *options)
        pixels = torch.empty((3, *convert.size), dtype=torch.uint8)
        convert(frame.image, pixels.numpy())
        return pixels

    def picture(self, frame: StreamFrame, **options: Any) -> torch.Tensor:
        """Return `to_rgb`, whose older name this is; it goes with the next release."""
        warnings.warn("Playback.picture is called to_rgb now", DeprecationWarning, stacklevel=2)
        return self.to_rgb(frame, **options)


def play(path: str | Path, *, limits: Limits = Limits()) -> Playback:  # noqa: B008 - frozen
    """Open a local file for reading every frame, from the first to the last.

    A frame that cannot be decoded, and an end long before the stated one, raise a `VideoError` when
    they are reached.

    Args:
        path: a local file.
        limits: limits of reading; the time is for opening and then for each frame, not for the
            file.

    Raises:
        VideoError: the file cannot be used.
    """
    with ExitStack() as opened:
        source = opened.enter_context(open_video(path, limits))
        reader = Reader(source)
        info = SourceInfo.of(source, reader.first.image, _duration(source, reader))
        return Playback(_play(source, reader), info, close=opened.pop_all().close)


def _play(source: Source, reader: Reader) -> Generator[StreamFrame, None, None]:
    with translate_errors(source.path, source.deadline):
        for number, frame in enumerate(recorded_frames(source, reader)):
            yield StreamFrame(number, frame.time, frame.end, frame.image, time.monotonic())
            end = frame.end
        if reader.stated_duration is None and find_truncation(source.path) is not None:
            raise damage_error(source.path, f"it ends after {end:.3f} s")


def recorded_frames(source: Source, reader: Reader) -> Iterator[TimedFrame]:
    """Yield the frames of a recording; the time limit is for each frame."""
    frames = reader.frames()
    while True:
        source.deadline.restart()
        frame = next(frames, None)
        if frame is None:
            return
        yield frame


def _duration(source: Source, reader: Reader) -> float | None:
    """Return the stated duration, else the measured one; None if the file is damaged."""
    if reader.stated_duration is not None:
        return reader.stated_duration
    try:
        return probe(source.path, limits=source.limits).duration
    except VideoError:
        return None


def _display_size(info: SourceInfo) -> tuple[int, int]:
    first, aspect = info.first, info.pixel_aspect
    if not 1 / _MAX_PIXEL_ASPECT <= aspect <= _MAX_PIXEL_ASPECT:
        aspect = 1.0
    height = round(first.height / min(1.0, aspect))
    width = round(first.width * max(1.0, aspect))
    return (height, width) if rotation(first) % 180 == 0 else (width, height)
