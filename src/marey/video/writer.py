"""Write frames with their times, and the sound of another video."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from marey.errors import UsageError, VideoError
from marey.video.encode import add_h264, check_encoding, mp4_file
from marey.video.sound import open_sound

_TICK = Fraction(1, 90_000)  # s: the clock of broadcasts, of which all common frame periods are multiples
_MAX_TICKS = 2**31 - 1  # between two frames in the table of an mp4 file
_THREADS = 4  # a constant, whatever the machine: the bytes depend on it
_BT601 = 6  # AVCOL_SPC_SMPTE170M: the matrix with which FFmpeg converts RGB to yuv


class VideoWriter:
    """An mp4 file of frames, each shown until the next: H.264, yuv420p, index at the start.

        with VideoWriter("out.mp4", size=(480, 640), frame_rate=25.0, sound_of=source) as writer:
            writer.write(image, time=0.04)

    The file appears when the `with` ends; after an error nothing of it is left, and the previous
    file is unchanged. A few frames are held in memory. If the height or width is odd, which yuv420p
    cannot hold, the last row or column is written twice.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        size: tuple[int, int],
        frame_rate: float,
        sound_of: str | Path | None = None,
        crf: int = 20,
    ) -> None:
        """Check the arguments; the file is created by the `with`.

        Args:
            path: the file, which ends in .mp4.
            size: (H, W) of the frames in pixels.
            frame_rate: frames per second; the last frame is shown for one period unless its end is
                given.
            sound_of: a video whose first audio stream is added, in sync with its first frame, whose
                time is 0 here. Codecs that mp4 can hold and players support are copied, others are
                encoded as AAC. None, or a video without sound, gives a silent video.
            crf: quality from 0 (lossless) to 51 (worst).

        Raises:
            UsageError: a value out of range, or a path that is not valid.
        """
        self._path = Path(path)
        self._rate = check_encoding(self._path, frame_rate, crf)
        if len(size) != 2 or min(size) < 1:
            raise UsageError(f"size has to be (height, width) in pixels, not {size}")
        self._size = (int(size[0]), int(size[1]))
        self._crf = crf
        self._sound_of = None if sound_of is None else Path(sound_of)
        self._opened = ExitStack()
        self._last: int | None = None
        self._ends: dict[int, int] = {}

    def __enter__(self) -> Self:
        """Create the file.

        Raises:
            VideoError: the video with the sound cannot be used.
            OSError: the folder may not be written to.
        """
        with ExitStack() as opened:
            self._container = opened.enter_context(mp4_file(self._path))
            rows, columns = (side + side % 2 for side in self._size)
            self._stream = add_h264(
                self._container, size=(rows, columns), rate=self._rate, crf=self._crf, threads=_THREADS
            )
            self._stream.codec_context.time_base = _TICK
            self._stream.codec_context.colorspace = _BT601  # players assume another matrix for large frames
            self._sound = None if self._sound_of is None else open_sound(self._sound_of, self._container, opened)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._sound_errors(), self._opened as opened:
            if error is not None:
                opened.__exit__(kind, error, trace)  # so that nothing of the file is left
            else:
                self._finish()

    def write(self, image: npt.NDArray[np.uint8], *, time: float, end: float | None = None) -> None:
        """Add a frame.

        Args:
            image: uint8 (H, W, 3), RGB, of the writer's size.
            time: seconds, later than that of the previous frame; otherwise, it is written one tick
                after it.
            end: seconds at which it is no longer shown, if no frame follows; None is one frame
                period later.

        Raises:
            UsageError: an image of another size or type, or a time that is not valid.
            VideoError: the video with the sound cannot be read any further.
            OSError: the disk is full.
        """
        if image.dtype != np.uint8 or image.shape != (*self._size, 3):
            raise UsageError(f"an image has to be uint8 {(*self._size, 3)}, not {image.dtype} {image.shape}")
        if not (math.isfinite(time) and time >= 0):
            raise UsageError(f"the time of a frame has to be 0 or more seconds, not {time}")
        pts = round(time / _TICK)
        if self._last is not None:
            pts = max(pts, self._last + 1)
        if pts - (self._last or 0) > _MAX_TICKS:
            raise UsageError(f"{time:g} s are too long after the previous frame; an mp4 file cannot hold that")
        period = round(1 / self._rate / _TICK)
        self._ends[pts] = max(pts + 1, pts + period if end is None else min(round(end / _TICK), pts + _MAX_TICKS))
        self._last = pts
        odd = [(0, side % 2) for side in self._size]
        padded = np.pad(image, [*odd, (0, 0)], mode="edge") if any(map(any, odd)) else image
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame.pts, frame.time_base = pts, _TICK
        with self._sound_errors():
            self._mux(self._stream.encode(frame))
            self._add_sound(time)

    def _finish(self) -> None:
        if self._last is None:
            raise UsageError("there are no frames to write")
        self._mux(self._stream.encode(None))
        self._add_sound(math.inf)

    @contextmanager
    def _sound_errors(self) -> Iterator[None]:
        """Raise FFmpeg's errors as errors of the sound: only the sound is untrusted."""
        try:
            yield
        except av.FFmpegError as error:
            if self._sound_of is None or isinstance(error, OSError):
                raise
            raise VideoError(
                self._sound_of, "corrupt", f"its sound cannot be put into an mp4 file: {error.strerror}"
            ) from error

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            packet.duration = self._ends.pop(packet.pts or 0) - (packet.pts or 0)
            self._container.mux(packet)

    def _add_sound(self, until: float) -> None:
        if self._sound is not None:
            for packet in self._sound.packets_until(until):
                with suppress(av.InvalidDataError, av.ArgumentError):  # corrupt, or not later than the previous one
                    self._container.mux(packet)
