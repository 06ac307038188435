"""Write pictures with their times, and the sound that belongs to them."""

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

_TICK = Fraction(1, 90_000)  # s: the clock of broadcasts, in which all common frame rates are whole numbers
_LONGEST = 2**31 - 1  # ticks: what the table of an mp4 file can hold between two frames
_THREADS = 4  # a constant, whatever the machine: the bytes depend on it
_BT601 = 6  # AVCOL_SPC_SMPTE170M: the matrix by which FFmpeg makes yuv of RGB


class VideoWriter:
    """An mp4 file of pictures, each shown from its time to the next one's: H.264, yuv420p, its index in front.

        with VideoWriter("out.mp4", size=(480, 640), frame_rate=25.0, sound_of=source) as writer:
            writer.write(picture, time=0.04)

    The file appears when the `with` ends; after an error nothing of it is left, and what was there before stays.
    Memory holds a few pictures. Of an odd height or width, which yuv420p cannot hold, the last row or column is
    written twice.
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
        """Check what is asked for; the file is begun by the `with`.

        Args:
            path: the file, which ends in .mp4.
            size: (H, W) of the pictures in pixels.
            frame_rate: frames per second; the last picture stays for one frame where its end is not said.
            sound_of: a video whose sound is kept, in time with its own first picture, which is the time 0 here. Sound
                that mp4 holds and players know is copied as it is, other sound is encoded as AAC; of several sounds,
                the first. None, or a video without sound: silence.
            crf: quality from 0 (lossless) to 51 (worst).

        Raises:
            UsageError: a value out of range, or a path that cannot be meant.
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
        """Begin the file.

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
            self._stream.codec_context.colorspace = _BT601  # players take another matrix for large pictures
            self._sound = None if self._sound_of is None else open_sound(self._sound_of, self._container, opened)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._blaming_the_sound(), self._opened as opened:
            if error is not None:
                opened.__exit__(kind, error, trace)  # so that nothing of the file is left
            else:
                self._finish()

    def write(self, picture: npt.NDArray[np.uint8], *, time: float, end: float | None = None) -> None:
        """Add a picture.

        Args:
            picture: uint8 (H, W, 3), RGB, of the writer's size.
            time: seconds, later than that of the picture before; one that is not is written a moment after it.
            end: seconds at which it leaves the screen, if nothing follows; None is one frame later.

        Raises:
            UsageError: a picture of another size or type, or a time that cannot be meant.
            VideoError: the video with the sound cannot be read any further.
            OSError: the disk is full.
        """
        if picture.dtype != np.uint8 or picture.shape != (*self._size, 3):
            raise UsageError(f"a picture has to be uint8 {(*self._size, 3)}, not {picture.dtype} {picture.shape}")
        if not (math.isfinite(time) and time >= 0):
            raise UsageError(f"the time of a picture has to be 0 or more seconds, not {time}")
        stamp = round(time / _TICK)
        if self._last is not None:
            stamp = max(stamp, self._last + 1)
        if stamp - (self._last or 0) > _LONGEST:
            raise UsageError(f"{time:g} s are too long after the picture before; an mp4 file cannot hold that")
        period = round(1 / self._rate / _TICK)
        self._ends[stamp] = max(stamp + 1, stamp + period if end is None else min(round(end / _TICK), stamp + _LONGEST))
        self._last = stamp
        odd = [(0, side % 2) for side in self._size]
        padded = (
            np.pad(picture, [*odd, (0, 0)], mode="edge") if any(self._size[axis] % 2 for axis in (0, 1)) else picture
        )
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame.pts, frame.time_base = stamp, _TICK
        with self._blaming_the_sound():
            self._mux(self._stream.encode(frame))
            self._add_sound(time)

    def _finish(self) -> None:
        if self._last is None:
            raise UsageError("there are no frames to write")
        self._mux(self._stream.encode(None))
        self._add_sound(math.inf)

    @contextmanager
    def _blaming_the_sound(self) -> Iterator[None]:
        """What mp4 does not take is the sound: it comes from a stranger, the pictures from an encoder of ours."""
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
            for packet in self._sound.until(until):
                with suppress(av.InvalidDataError, av.ArgumentError):  # damaged, or not later than the one before
                    self._container.mux(packet)
