"""Read cameras, URLs and pipes in the background, while their frames are processed."""

from __future__ import annotations

import logging
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from threading import Condition, Thread
from typing import Final, Literal, get_args

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video.frames import TimedFrame
from marey.video.limits import Limits
from marey.video.playback import Playback, SourceInfo, StreamFrame, recorded_frames
from marey.video.reader import Reader
from marey.video.source import Source, demux
from marey.video.urls import LiveSource, open_url, parse_source
from marey.video.versions import states_size

_LOG: Final = logging.getLogger(__name__)

Drop = Literal["oldest", "never"]

_MAX_LEAD = 10.0  # s by which timestamps may be ahead of the wall clock before they are ignored
_FIRST_PAUSE: Final = 0.5  # s before a source is opened again; each further pause is twice as long
_LONGEST_PAUSE: Final = 10.0
_JOIN_TIMEOUT = 2.0  # s that closing waits for the thread


def open_live(
    source: str,
    *,
    buffer: int = 2,
    drop: Drop | None = None,
    reconnect: float = 0.0,
    limits: Limits = Limits(timeout=15.0),  # noqa: B008 - frozen
) -> LivePlayback:
    """Open a camera, a URL or a pipe for reading its frames from now on.

    Frames are read and decoded in the background. For live sources, their timestamps are used as
    long as they keep up with the wall clock, and the wall clock where they are missing or jump;
    corrupt frames are left out and counted. Recordings are read as by `play`.

    Args:
        source: a camera (`0`, `/dev/video0`), a URL (`rtsp://`, `rtmp://`, `http://`, `https://`;
            pages of video sites if yt-dlp is installed), or `-` for video on standard input.
        buffer: maximum number of waiting frames.
        drop: what to do when the buffer is full: discard and count the "oldest" waiting frame, or
            let the source wait, "never" losing one. None is "never" for pipes and for files behind
            a URL, else "oldest".
        reconnect: seconds for which a camera or a stream that breaks off is opened again, after growing
            waits. The time goes on meanwhile, and the first frame afterwards says how long the gap was.
            0 for never; recordings and pipes are never opened again.
        limits: the time is for opening, and then for the wait for each frame.

    Raises:
        VideoError: the source cannot be opened. The playback raises one if the source fails or
            stalls, and does not come back, after the frames that came before.
        UsageError: an argument that is not valid.
    """
    if buffer < 1:
        raise UsageError(f"buffer has to be 1 or more frames, not {buffer}")
    if drop is not None and drop not in get_args(Drop):
        raise UnknownNameError("way to drop frames", drop, get_args(Drop))
    if not 0 <= reconnect < float("inf"):
        raise UsageError(f"reconnect has to be 0 or more seconds, not {reconnect:g}")
    return LivePlayback(_Receiver(parse_source(source), buffer=buffer, drop=drop, reconnect=reconnect, limits=limits))


class LivePlayback(Playback):
    """The frames of a source that is read in the background."""

    live = True

    def __init__(self, receiver: _Receiver) -> None:
        info = receiver.open()
        super().__init__(receiver.frames(), info, close=weakref.finalize(self, receiver.close))
        self._receiver = receiver

    @property
    def dropped(self) -> int:
        """Number of frames so far that were discarded because they were requested too late."""
        return self._receiver.dropped

    @property
    def damaged(self) -> int:
        """Number of frames so far that were discarded because they are corrupt."""
        return self._receiver.damaged

    @property
    def lost(self) -> float:
        """Seconds so far in which the source had broken off."""
        return self._receiver.lost

    def stretches(self) -> Iterator[tuple[float, Playback]]:
        """Yield the parts between interruptions; see `Playback.stretches`."""
        following = next(self, None)
        while following is not None:
            stretch = _Stretch(self, following)
            yield following.time, stretch
            for _ in stretch:  # what the reader has left
                pass
            following = stretch.following


class _Stretch(Playback):
    """The frames of a live source from one on to the next interruption, with times from the first of them."""

    live = True

    def __init__(self, source: LivePlayback, first: StreamFrame) -> None:
        # The source may have another size than before.
        super().__init__(self._read(first), replace(source.info, first=first.image), close=lambda: None)
        self.following: StreamFrame | None = None
        self._source = source

    @property
    def dropped(self) -> int:
        """Number of frames of the whole source so far that were discarded."""
        return self._source.dropped

    @property
    def lost(self) -> float:
        """Seconds so far in which the source had broken off."""
        return self._source.lost

    def _read(self, first: StreamFrame) -> Generator[StreamFrame, None, None]:
        yield replace(first, time=0.0, end=first.end - first.time)
        for frame in self._source:
            if frame.gap:
                self.following = frame
                return
            yield replace(frame, time=frame.time - first.time, end=frame.end - first.time)


class _Receiver:
    """A thread that reads a source, and a buffer of frames that wait."""

    def __init__(self, live: LiveSource, *, buffer: int, drop: Drop | None, reconnect: float, limits: Limits) -> None:
        self.dropped = 0
        self.damaged = 0
        self.lost = 0.0
        self._reconnect = reconnect
        self._frames = 0
        self._began: float | None = None  # by `time.monotonic`, and so is the next one
        self._latest = 0.0
        self._end = 0.0  # of the latest frame, seconds from the first
        self._live = live
        self._capacity = buffer
        self._drop = drop
        self._limits = limits
        self._waiting: deque[StreamFrame] = deque()
        self._changed = Condition()
        self._info: SourceInfo | None = None
        self._error: Exception | None = None
        self._ended = False
        self._closed = False
        self._thread = Thread(target=self._run, name=f"reading {live.name}", daemon=True)

    def open(self) -> SourceInfo:
        """Start reading, and wait for the first frame."""
        self._thread.start()
        try:
            self._wait(lambda: self._info is not None)
            if self._info is None:
                raise self._error or VideoError(self._live.name, "no_frames", "it ended before its first frame")
        except BaseException:
            self.close()
            raise
        return self._info

    def frames(self) -> Generator[StreamFrame, None, None]:
        """Yield the frames that have not been dropped, as they come."""
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
        """Stop reading; if the source stalls, the thread ends at its deadline."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(_JOIN_TIMEOUT)

    def _wait(self, is_ready: Callable[[], bool]) -> None:
        """Wait until the condition holds or the source has ended."""
        with self._changed:
            longest = self._limits.timeout + self._reconnect * (self._info is not None)
            if not self._changed.wait_for(lambda: is_ready() or self._ended, longest):
                raise VideoError(self._live.name, "timeout", f"no frame has come for {longest:g} s") from self._error

    def _run(self) -> None:
        try:
            self._read_until_it_is_gone()
        except Exception as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _read_until_it_is_gone(self) -> None:
        """Read the source; where it breaks off, open it again, as long as `reconnect` allows.

        Raises:
            VideoError: it cannot be opened for the first time, or does not come back.
        """
        pauses = 0
        while True:
            known, failure = self._frames, None
            try:
                with open_url(self._live, self._limits, lambda: self._closed) as source:
                    if self._read(source):
                        return
            except VideoError as error:
                failure = error
            if self._closed:
                return
            pauses = 0 if self._frames > known else pauses
            left = self._reconnect - (time.monotonic() - self._latest)
            if self._began is None or not self._reconnect or left <= 0 or self._live.kind == "pipe":
                if failure is not None:
                    raise self._gone(failure)
                return
            pause = min(left, _LONGEST_PAUSE, _FIRST_PAUSE * 2**pauses)
            pauses += 1
            why = "it ended" if failure is None else failure.detail
            _LOG.warning("%s: %s; it is opened again in %.1f s", self._live.name, why, pause)
            with self._changed:
                self._changed.wait_for(lambda: self._closed, pause)

    def _gone(self, failure: VideoError) -> VideoError:
        """Return the error of a source that has broken off for good."""
        if self._began is None or not self._reconnect or self._live.kind == "pipe":
            return failure
        lasted = f"it broke off after {self._end:.1f} s and did not come back within {self._reconnect:g} s"
        return VideoError(failure.name, failure.reason, f"{lasted}: {failure.detail}")

    def _read(self, source: Source) -> bool:
        """Read an open source; return True if it is a recording, which has ended then."""
        reader = Reader(source) if _is_recorded(self._live, source) else None
        drop = self._drop or ("never" if reader else "oldest")
        duration = reader.stated_duration if reader else source.stated_duration
        start: float | None = None  # of this connection, seconds from the first frame of all
        for frame in recorded_frames(source, reader) if reader else _live_frames(source, self._live):
            if self._closed:
                break
            if not frame.intact:
                self.damaged += 1
                continue
            gap, arrived = 0.0, time.monotonic()
            if self._began is None:
                self._began, start = arrived - frame.time, 0.0
            elif start is None:
                begins = max(self._end + frame.end - frame.time, arrived - self._began)
                gap, start = begins - self._end, begins - frame.time
                self.lost += gap
                _LOG.warning("%s is back after %.1f s without video", self._live.name, gap)
            self._info = self._info or SourceInfo.of(source, frame.image, duration)
            self._end, self._latest = frame.end + start, arrived
            self._enqueue(StreamFrame(self._frames, frame.time + start, self._end, frame.image, arrived, gap), drop)
            self._frames += 1
        return reader is not None

    def _enqueue(self, frame: StreamFrame, drop: Drop) -> None:
        with self._changed:
            if drop == "never":
                self._changed.wait_for(lambda: len(self._waiting) < self._capacity or self._closed)
            elif len(self._waiting) == self._capacity:
                gap = self._waiting.popleft().gap
                self.dropped += 1
                if gap and self._waiting:  # the one that follows says it
                    self._waiting[0] = replace(self._waiting[0], gap=gap)
                elif gap:
                    frame = replace(frame, gap=gap)
            self._waiting.append(frame)
            self._changed.notify_all()


def _is_recorded(live: LiveSource, source: Source) -> bool:
    """Return whether the source is a recording, which can wait until it is read."""
    if live.kind == "http":
        return bool(source.container.duration) or states_size(source.container)
    return live.kind == "pipe"


def _live_frames(source: Source, live: LiveSource) -> Iterator[TimedFrame]:
    """Yield the frames of a source that does not wait; corrupt ones are marked."""
    clock = _Clock(source)
    intact = True
    for packet in _packets(source, clock):
        damaged = source.is_damaged(packet)
        intact = intact and not damaged
        try:
            images = packet.decode()
        except av.InvalidDataError:
            intact = False
            continue
        for image in images:
            intact = not (image.is_corrupt or damaged) and (intact or image.key_frame)
            yield clock.frame(image, intact)
    if live.kind in ("camera", "rtsp") and source.container.duration is None:
        raise source.damage_error(f"it ended after {clock.now:.1f} s", ConnectionError("the connection was closed"))


def _packets(source: Source, clock: _Clock) -> Iterator[Packet[VideoStream]]:
    """Yield packets from the first key frame on."""
    packets = demux(source, source.stream)
    started = False
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError) as error:
            raise source.damage_error(f"it broke off after {clock.now:.1f} s", error) from error
        if packet is None:
            return
        started = started or packet.is_keyframe
        if started:
            yield packet


class _Clock:
    """Seconds from the first frame, which never decrease.

    Timestamps are used as long as they keep up with the wall clock. Where they are missing, go back
    or jump ahead (a camera that was restarted), the elapsed wall-clock time is used, and the
    timestamps from there on.
    """

    def __init__(self, source: Source) -> None:
        self.now = 0.0
        self._source = source
        self._arrived: float | None = None
        self._origin: float | None = None

    def frame(self, image: VideoFrame, intact: bool) -> TimedFrame:
        """Return a frame that was decoded just now, with its time."""
        arrived = time.monotonic()
        pts = image.pts if image.pts is not None else image.dts
        seconds = None if pts is None else float(pts * self._source.time_base)
        if self._arrived is not None:
            self.now = self._next(seconds, arrived - self._arrived)
        self._arrived = arrived
        self._origin = None if seconds is None else seconds - self.now
        period = float(image.duration * self._source.time_base) or self._source.frame_period
        return TimedFrame(self.now, self.now + period, image, intact)

    def _next(self, seconds: float | None, elapsed: float) -> float:
        if seconds is None:
            return self.now + elapsed
        if self._origin is None:  # the first timestamp after a frame without one: both may have come at once
            return self.now + max(elapsed, self._source.frame_period)
        then = seconds - self._origin
        return then if self.now <= then <= self.now + elapsed + _MAX_LEAD else self.now + elapsed
