"""Read a source once, from its first frame to its last."""

from __future__ import annotations

import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from marey.errors import VideoError
from marey.remote_path import as_path
from marey.video.container_checks import damage_error, find_truncation
from marey.video.conversion import Conversion
from marey.video.frames import TimedFrame
from marey.video.limits import Limits
from marey.video.orientation import orientation
from marey.video.probe import probe
from marey.video.reader import Reader
from marey.video.reading_process import is_apart, reading_process
from marey.video.region import Region
from marey.video.source import Source, open_video, translate_errors
from marey.video.transform import Anchor, Fit, Interpolation, ResizeCrop, check_transform

if TYPE_CHECKING:
    import torch

_DEFAULTS: dict[str, Any] = {
    "size": None,
    "fit": "stretch",
    "anchor": "middle",
    "interpolation": "bicubic",
    "conversion": "standard",
}
_TRANSFORMS = 8  # that are kept: regions may change for as long as a source is played
_MAX_PIXEL_ASPECT = 4.0  # width / height: a higher one is wrong or malicious, and frames would be enormous


@dataclass(frozen=True, slots=True, eq=False)
class StreamFrame:
    """One frame of a source that is played.

    Attributes:
        number: index in the source, from 0; dropped frames are counted too.
        time: seconds from the first frame.
        end: seconds at which it is no longer shown, if no frame follows.
        image: the frame as the decoder returned it; where memory is limited, it stands for the one
            in the process that reads the file.
        arrived: when it was decoded, in seconds of `time.monotonic()`.
        gap: seconds without video before it, where a live source had broken off; 0 everywhere else.
    """

    number: int
    time: float
    end: float
    image: VideoFrame
    arrived: float
    gap: float = 0.0


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
        path: of the file; None of a live source.
        limits: of reading it.
    """

    live = False
    path: Path | None = None
    limits: Limits = Limits()

    def __init__(
        self, frames: Generator[StreamFrame, None, None], info: SourceInfo, *, close: Callable[[], None]
    ) -> None:
        self.info = info
        self.size = _display_size(info)
        self.frame_rate = info.frame_rate
        self.duration = info.duration
        self._frames = frames
        self._close = close
        self._transform = lru_cache(maxsize=_TRANSFORMS)(partial(_make_transform, info))

    @property
    def dropped(self) -> int:
        """Number of frames so far that were discarded because the reader was late; 0 for a file."""
        return 0

    @property
    def lost(self) -> float:
        """Seconds so far in which a live source had broken off; 0 for a file."""
        return 0.0

    def stretches(self) -> Iterator[tuple[float, Playback]]:
        """Yield the parts between interruptions, each to be read to its end before the next one.

        Yields:
            The start of a part in seconds, and a playback whose times count from there. A file is one part.
        """
        yield 0.0, self

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
        fit: Fit | Region = "stretch",
        anchor: Anchor = "middle",
        interpolation: Interpolation = "bicubic",
        conversion: Conversion = "standard",
    ) -> torch.Tensor:
        """Convert a frame into the same pixels that `decode` returns.

        Args:
            frame: of this playback.
            size: (H, W) in pixels; None keeps the stored pixels, even if they are not square.
                `self.size` displays them undistorted.
            fit: as in `decode`.
            anchor: as in `decode`.
            interpolation: as in `decode`.
            conversion: as in `decode`.

        Returns:
            uint8 (3, H, W), RGB, upright.

        Raises:
            UsageError: an argument that is not valid.
        """
        import torch

        return torch.from_numpy(
            self.convert(frame, size=size, fit=fit, anchor=anchor, interpolation=interpolation, conversion=conversion)
        )

    def convert(self, frame: StreamFrame, **options: Any) -> npt.NDArray[np.uint8]:
        """Return `to_rgb` as an array."""
        to_pixels = self._transform(**{**_DEFAULTS, **options})
        pixels = np.empty((3, *to_pixels.size), dtype=np.uint8)
        to_pixels(frame.image, pixels)
        return pixels

    def picture(self, frame: StreamFrame, **options: Any) -> torch.Tensor:
        """Return `to_rgb`, whose older name this is; it goes with the next release."""
        warnings.warn("Playback.picture is called to_rgb now", DeprecationWarning, stacklevel=2)
        return self.to_rgb(frame, **options)


class PlaybackApart(Playback):
    """The frames of a file that is read in a process of its own.

    Args:
        path: the file.
        limits: limits of reading.

    Raises:
        VideoError: the file cannot be used.
    """

    def __init__(self, path: str | Path, limits: Limits) -> None:
        self.path, self.limits = as_path(path), limits
        self._over: deque[int] = deque()
        with ExitStack() as opened:
            self._process = opened.enter_context(reading_process())
            opened.callback(self._process.leave)
            found, _ = self._process.ask(path, limits, "play", str(path), limits)
            (height, width), self.frame_rate, self.duration = found
            self.size = (height, width)
            self._frames = self._read()
            self._close = weakref.finalize(self, opened.pop_all().close)

    def convert(self, frame: StreamFrame, **options: Any) -> npt.NDArray[np.uint8]:
        """Return `to_rgb` as an array."""
        _, pixels = self._process.ask(self.path or "", self.limits, "rgb", frame.number, options)
        return cast("npt.NDArray[np.uint8]", pixels)

    def _read(self) -> Generator[StreamFrame, None, None]:
        while True:
            over = [self._over.popleft() for _ in range(len(self._over))]
            found, _ = self._process.ask(self.path or "", self.limits, "frame", over)
            if found is None:
                return
            number, start, end, arrived = found
            yield StreamFrame(number, start, end, cast(VideoFrame, _FrameApart(number, self._over)), arrived)


class _FrameApart:
    """A frame in another process, which is told when nobody needs it any more.

    Args:
        number: of the frame.
        over: numbers of frames that are not needed.
    """

    def __init__(self, number: int, over: deque[int]) -> None:
        self._number = number
        self._over = over

    def __del__(self) -> None:
        self._over.append(self._number)


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
    if is_apart(limits):
        return PlaybackApart(path, limits)
    with ExitStack() as opened:
        source = opened.enter_context(open_video(path, limits))
        reader = Reader(source)
        info = SourceInfo.of(source, reader.first.image, _duration(source, reader))
        playback = Playback(_play(source, reader), info, close=opened.pop_all().close)
        playback.path, playback.limits = as_path(path), limits
        return playback


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


def _make_transform(
    info: SourceInfo,
    size: tuple[int, int] | None,
    fit: Fit | Region,
    anchor: Anchor,
    interpolation: Interpolation,
    conversion: Conversion,
) -> ResizeCrop:
    check_transform(size, fit, anchor, interpolation, conversion)
    return ResizeCrop(info.first, info.pixel_aspect, size, fit, anchor, interpolation, conversion)


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
    return (width, height) if orientation(first).sideways else (height, width)
