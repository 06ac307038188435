"""Cameras, addresses and pipes, read in the background while the frames are worked on."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Literal, get_args

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video.address import Address, connect, parse_address
from marey.video.frames import TimedFrame
from marey.video.limits import Limits
from marey.video.playback import Playback, PlayedFrame
from marey.video.reader import Reader
from marey.video.source import Source, demux
from marey.video.versions import states_size

Drop = Literal["oldest", "never"]

_LEAP = 10.0  # s: by how much timestamps may run ahead of the clock on the wall before they mean nothing
_GOODBYE = 2.0  # s: how long closing waits for the background


def open_live(
    source: str,
    *,
    buffer: int = 2,
    drop: Drop | None = None,
    limits: Limits = Limits(timeout=15.0),  # noqa: B008 - frozen
) -> LivePlayback:
    """The frames of a camera, an address or a pipe, from now on.

    They are read and decoded in the background. What a live source sends is timed by its timestamps as long as they
    keep up with the clock on the wall, and by that clock where there are none or where they leap; its damaged frames
    are left out and counted. What is recorded is read as `play` does.

    Args:
        source: a camera (`0`, `/dev/video0`), an address (`rtsp://`, `rtmp://`, `http://`, `https://`; pages of video
            sites where yt-dlp is installed), or `-` for video on standard input.
        buffer: how many frames may wait.
        drop: what happens when they are asked for too late: the "oldest" frame that waits is thrown away and counted,
            or the source has to wait, "never" losing one. None is "never" for pipes and for files behind an address,
            else "oldest".
        limits: the time is for opening, and then for the wait for each frame.

    Raises:
        VideoError: the source cannot be opened. The playback raises one when the source breaks off or stands still,
            after the frames that came before.
        UsageError: a value that cannot be meant.
    """
    if buffer < 1:
        raise UsageError(f"buffer has to be 1 or more frames, not {buffer}")
    if drop is not None and drop not in get_args(Drop):
        raise UnknownNameError("way to drop frames", drop, get_args(Drop))
    return LivePlayback(_Receiver(parse_address(source), buffer=buffer, drop=drop, limits=limits))


class LivePlayback(Playback):
    """A source that is read in the background."""

    live = True

    def __init__(self, receiver: _Receiver) -> None:
        opening = receiver.open()
        super().__init__(
            receiver.frames(),
            first=opening.first,
            pixel_aspect=opening.pixel_aspect,
            frame_rate=opening.frame_rate,
            duration=opening.duration,
            close=weakref.finalize(self, receiver.close),
        )
        self._receiver = receiver

    @property
    def dropped(self) -> int:
        """Frames so far that were thrown away because they were asked for too late."""
        return self._receiver.dropped

    @property
    def damaged(self) -> int:
        """Frames so far that were thrown away because they could not be decoded whole."""
        return self._receiver.damaged


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is known of a source once its first frame is here."""

    first: VideoFrame
    pixel_aspect: float
    frame_rate: float
    duration: float | None


class _Receiver:
    """A thread that reads a source, and the frames that wait to be fetched."""

    def __init__(self, address: Address, *, buffer: int, drop: Drop | None, limits: Limits) -> None:
        self.dropped = 0
        self.damaged = 0
        self._address = address
        self._room = buffer
        self._drop = drop
        self._limits = limits
        self._waiting: deque[PlayedFrame] = deque()
        self._changed = Condition()
        self._opening: _Opening | None = None
        self._error: Exception | None = None
        self._ended = False
        self._closed = False
        self._thread = Thread(target=self._run, name=f"reading {address.name}", daemon=True)

    def open(self) -> _Opening:
        """Begin to read, and wait for the first frame."""
        self._thread.start()
        try:
            self._wait(lambda: self._opening is not None)
            if self._opening is None:
                raise self._error or VideoError(self._address.name, "no_frames", "it ended before its first frame")
        except BaseException:
            self.close()
            raise
        return self._opening

    def frames(self) -> Generator[PlayedFrame, None, None]:
        """The frames that have not been dropped, as they come."""
        while True:
            with self._changed:
                self._wait(lambda: bool(self._waiting))
                if not self._waiting:
                    break
                frame = self._waiting.popleft()
                self._changed.notify_all()
            yield frame
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop reading; where the source stands still, the thread follows when its time is up."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(_GOODBYE)

    def _wait(self, is_there: Callable[[], bool]) -> None:
        """Wait until something is there or nothing will come."""
        with self._changed:
            if not self._changed.wait_for(lambda: is_there() or self._ended, self._limits.timeout):
                raise VideoError(
                    self._address.name, "timeout", f"no frame has come for {self._limits.timeout:g} s"
                ) from self._error

    def _run(self) -> None:
        try:
            with connect(self._address, self._limits, lambda: self._closed) as source:
                self._read(source)
        except Exception as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _read(self, source: Source) -> None:
        recorded = _is_recorded(self._address, source)
        drop = self._drop or ("never" if recorded else "oldest")
        number = 0
        reader = Reader(source) if recorded else None
        for frame in _recording(source, reader) if reader else _broadcast(source, self._address):
            if self._closed:
                break
            if not frame.intact:
                self.damaged += 1
                continue
            self._opening = self._opening or _Opening(
                first=frame.image,
                pixel_aspect=float(source.stream.sample_aspect_ratio or 1),
                frame_rate=float(source.frame_rate),
                duration=reader.stated_duration if reader else source.stated_duration,
            )
            self._hand_over(PlayedFrame(number, frame.time, frame.end, frame.image, time.monotonic()), drop)
            number += 1

    def _hand_over(self, frame: PlayedFrame, drop: Drop) -> None:
        with self._changed:
            if drop == "never":
                self._changed.wait_for(lambda: len(self._waiting) < self._room or self._closed)
            elif len(self._waiting) == self._room:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(frame)
            self._changed.notify_all()


def _is_recorded(address: Address, source: Source) -> bool:
    """Whether the source is there as a whole, and will still be there when it is asked for."""
    if address.kind == "http":
        return bool(source.container.duration) or states_size(source.container)
    return address.kind == "pipe"


def _recording(source: Source, reader: Reader) -> Iterator[TimedFrame]:
    """Frames timed as those of files are; the first that is damaged ends in an error."""
    frames = reader.frames()
    while True:
        source.deadline.restart()
        frame = next(frames, None)
        if frame is None:
            return
        yield frame


def _broadcast(source: Source, address: Address) -> Iterator[TimedFrame]:
    """Frames of something that goes on, whether or not they are looked at; damaged ones are marked."""
    clock = _Clock(source)
    intact = True
    for packet in _packets(source, clock):
        try:
            images = packet.decode()
        except av.InvalidDataError:
            intact = False
            continue
        for image in images:
            intact = not image.is_corrupt and (intact or image.key_frame)
            yield clock.frame(image, intact)
    if address.kind in ("camera", "rtsp") and source.container.duration is None:
        raise source.damaged(f"it ended after {clock.now:.1f} s", ConnectionError("the connection was closed"))


def _packets(source: Source, clock: _Clock) -> Iterator[Packet[VideoStream]]:
    """Packets from the first keyframe on."""
    packets = demux(source, source.stream)
    started = False
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError) as error:
            raise source.damaged(f"it broke off after {clock.now:.1f} s", error) from error
        if packet is None:
            return
        started = started or packet.is_keyframe
        if started:
            yield packet


class _Clock:
    """Seconds from the first frame, which never run backwards.

    Timestamps count as long as they keep up with the clock on the wall. Where there are none, or where they go back or
    leap ahead (a camera that was started again), the time that has passed on the wall counts, and the timestamps from
    there on.
    """

    def __init__(self, source: Source) -> None:
        self.now = 0.0
        self._source = source
        self._arrived: float | None = None
        self._origin: float | None = None

    def frame(self, image: VideoFrame, intact: bool) -> TimedFrame:
        """A frame that has just left the decoder, with its time."""
        arrived = time.monotonic()
        stamp = image.pts if image.pts is not None else image.dts
        seconds = None if stamp is None else float(stamp * self._source.time_base)
        passed = 0.0 if self._arrived is None else arrived - self._arrived
        if self._arrived is not None:
            self.now = self._next(seconds, passed)
        self._arrived = arrived
        self._origin = None if seconds is None else seconds - self.now
        period = float(image.duration * self._source.time_base) or self._source.frame_period
        return TimedFrame(self.now, self.now + period, image, intact)

    def _next(self, seconds: float | None, passed: float) -> float:
        if seconds is None:
            return self.now + passed
        if self._origin is None:  # the first timestamp after a frame without: the two may have come at once
            return self.now + max(passed, self._source.frame_period)
        then = seconds - self._origin
        return then if self.now <= then <= self.now + passed + _LEAP else self.now + passed
