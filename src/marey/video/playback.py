"""A source that is read once, from its first frame to its last."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from av.video.frame import VideoFrame

from marey.errors import VideoError
from marey.video.decode import check_options
from marey.video.faults import cut_off, damaged
from marey.video.limits import Limits
from marey.video.picture import Anchor, Converter, Fit, Interpolation, rotation
from marey.video.probe import probe
from marey.video.reader import Reader
from marey.video.source import Source, open_video, reading

_WIDEST_PIXEL = 4.0  # width over height: beyond it a header is wrong or malicious, and the picture would be enormous


@dataclass(frozen=True, slots=True, eq=False)
class PlayedFrame:
    """One frame of a source that is played.

    Attributes:
        number: counted in the source from 0; frames that were dropped are counted too.
        time: seconds from the first frame.
        end: seconds at which it leaves the screen, if nothing follows.
        image: the picture as the decoder left it.
        arrived: when it left the decoder, in seconds of `time.monotonic()`.
    """

    number: int
    time: float
    end: float
    image: VideoFrame
    arrived: float


class Playback:
    """The frames of a source in the order in which they are shown, each once; to be closed, or used in a `with`.

    Memory holds a few frames, however long the source is.

    Attributes:
        size: (H, W) in pixels of the upright picture as it is shown: where the stored pixels are not square, one side
            is stretched.
        frame_rate: frames per second, as the source states it, else a guess.
        duration: seconds; None where nobody knows.
        live: whether the source is a camera, an address or a pipe, and not a file.
    """

    live = False

    def __init__(
        self,
        frames: Generator[PlayedFrame, None, None],
        *,
        first: VideoFrame,
        pixel_aspect: float,
        frame_rate: float,
        duration: float | None,
        close: Callable[[], None],
    ) -> None:
        self.size = _shown_size(first, pixel_aspect)
        self.frame_rate = frame_rate
        self.duration = duration
        self._frames = frames
        self._first = first
        self._pixel_aspect = pixel_aspect
        self._close = close
        self._converters: dict[tuple[tuple[int, int] | None, Fit, Anchor, Interpolation], Converter] = {}

    @property
    def dropped(self) -> int:
        """Frames so far that were thrown away because they were asked for too late; none of a file."""
        return 0

    @property
    def damaged(self) -> int:
        """Frames so far that were thrown away because they could not be decoded whole; in a file they are an error."""
        return 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> PlayedFrame:
        return next(self._frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the source; twice is no error."""
        self._frames.close()
        self._close()

    def picture(
        self,
        frame: PlayedFrame,
        *,
        size: tuple[int, int] | None = None,
        fit: Fit = "stretch",
        anchor: Anchor = "middle",
        interpolation: Interpolation = "bicubic",
    ) -> torch.Tensor:
        """A frame as the pixels that `decode` gives.

        Args:
            frame: of this playback.
            size: (H, W) in pixels; None keeps the stored pixels, even where they are not square. `self.size` shows them
                as they are meant.
            fit: as `decode` has it.
            anchor: likewise.
            interpolation: likewise.

        Returns:
            uint8 (3, H, W), RGB, upright.

        Raises:
            UsageError: a value that cannot be meant.
        """
        options = (size, fit, anchor, interpolation)
        convert = self._converters.get(options)
        if convert is None:
            check_options(*options)
            convert = self._converters[options] = Converter(
                self._first,
                pixel_aspect=self._pixel_aspect,
                size=size,
                fit=fit,
                anchor=anchor,
                interpolation=interpolation,
            )
        picture = torch.empty((3, *convert.size), dtype=torch.uint8)
        convert(frame.image, picture.numpy())
        return picture


def play(path: str | Path, *, limits: Limits = Limits()) -> Playback:  # noqa: B008 - frozen
    """Every frame of a local file, from the first to the last.

    A frame that cannot be decoded, and an end long before the stated one, raise a `VideoError` when their turn comes.

    Args:
        path: a local file.
        limits: what reading may cost; its time is for opening and then for each frame, not for the whole file.

    Raises:
        VideoError: the file cannot be used.
    """
    with ExitStack() as opened:
        source = opened.enter_context(open_video(path, limits))
        reader = Reader(source)
        return Playback(
            _play(source, reader),
            first=reader.first.image,
            pixel_aspect=float(source.stream.sample_aspect_ratio or 1),
            frame_rate=float(source.frame_rate),
            duration=_duration(source, reader),
            close=opened.pop_all().close,
        )


def _play(source: Source, reader: Reader) -> Generator[PlayedFrame, None, None]:
    with reading(source.path, source.deadline):
        frames = reader.frames()
        for number in count():
            source.deadline.restart()
            frame = next(frames, None)
            if frame is None:
                break
            yield PlayedFrame(number, frame.time, frame.end, frame.image, time.monotonic())
            end = frame.end
        missing = cut_off(source.path) if reader.stated_duration is None else None
        if missing is not None:
            raise damaged(source.path, f"it ends after {end:.3f} s")


def _duration(source: Source, reader: Reader) -> float | None:
    """The stated duration, else the measured one; None where a damaged file gives neither."""
    if reader.stated_duration is not None:
        return reader.stated_duration
    try:
        return probe(source.path, limits=source.limits).duration
    except VideoError:
        return None


def _shown_size(first: VideoFrame, pixel_aspect: float) -> tuple[int, int]:
    if not 1 / _WIDEST_PIXEL <= pixel_aspect <= _WIDEST_PIXEL:
        pixel_aspect = 1.0
    height = round(first.height / min(1.0, pixel_aspect))
    width = round(first.width * max(1.0, pixel_aspect))
    return (height, width) if rotation(first) % 180 == 0 else (width, height)
