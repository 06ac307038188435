"""Read the frames of a video in presentation order, each with its time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import av
from av.video.frame import VideoFrame

from marey.errors import VideoError
from marey.video.frames import TIME_TOLERANCE, TimedFrame
from marey.video.packet_filter import PacketFilter
from marey.video.source import (
    BROADCAST_FORMATS,
    ZERO_BASED_FORMAT,
    Source,
    VideoPacket,
    check_duration,
    check_frame_size,
    demux,
)
from marey.video.video_end import VideoEnd

_SEEK_GAIN = 2  # frames that a seek has to save to be worth its cost
_SEEK_BACK = (0.0, 0.5, 5.0)  # s: an index may lead to a key frame that is shown after the timestamp
_SEEK_UNKNOWN = 5.0  # s: distance of the last timestamp from which an unread index is read
_MAX_PTS = 2**62
_LATE: Final = 2  # packets from the one that FFmpeg calls corrupt to the first after those that are missing
_MAX_PENDING: Final = 64  # packets without a frame that are remembered
_SEEKABLE = ("avi", "mov,", "matroska,")  # formats whose index leads exactly to key frames


class Reader:
    """Decodes forwards, one frame at a time, and seeks to a key frame where that saves work.

        time        0        1        2        3        4 s
        key frame   K . . . .K . . . .K . . . .K . . . .|
        requested     ^ ^                        ^
        decoded     K . .                      K .

    The time of a frame is its presentation timestamp, else (in AVI, which has none) the time at
    which its packet was due, else one frame period after the previous frame. It counts from the
    first frame and never decreases.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._filter = PacketFilter(source)
        self._frames = self._decode()
        self._period = source.frame_period
        self._ends = VideoEnd(source)
        self._ticks = source.time_base.denominator, source.time_base.numerator
        self._origin: int | None = None
        self._last: float | None = None
        self._may_seek = source.container.format.name.startswith(_SEEKABLE)
        self._cut: set[int] = set()  # timestamps of packets before which some are missing
        self.packets = 0
        first = self._next()
        if first is None:
            raise source.error("no_frames", "its video stream holds no frame that can be decoded")
        self.first = first

    @property
    def origin(self) -> int:
        """The timestamp of the first frame, in units of the stream's time base."""
        return self._origin or 0

    @property
    def start(self) -> int:
        """The timestamp to seek to for reading the whole stream."""
        return min(0, self.origin)

    @property
    def stated_duration(self) -> float | None:
        """Seconds from the first frame to the end that the container states; None if not stated."""
        return stated_from(self._source, self.origin)

    def to_seconds(self, pts: int) -> float:
        """Convert a timestamp of the stream into seconds from the first frame."""
        per_second, tick = self._ticks
        return (pts - self.origin) * tick / per_second

    def to_pts(self, seconds: float, rounded: Callable[[float], int] = round) -> int:
        """Convert seconds from the first frame into a timestamp of the stream."""
        per_second, tick = self._ticks
        return max(-_MAX_PTS, min(_MAX_PTS, self.origin + rounded(seconds * per_second / tick)))

    def frames_at(self, timestamps: Sequence[float]) -> Iterator[TimedFrame]:
        """Yield the frame shown at each timestamp: the last one that starts at or before it.

        Args:
            timestamps: seconds from the first frame, ascending.

        Raises:
            VideoError: a requested frame, or one that it refers to, cannot be decoded or does not
                exist.
        """
        shown, place = self.first, 0
        elsewhere = self._read_index(timestamps)
        while place < len(timestamps):
            run = self._run(timestamps, place)
            self._filter.request([self._latest_pts(timestamp) for timestamp in run])
            ahead = None
            if elsewhere or self._worth_seeking(shown.time, run[0]):
                shown = self._seek(run[0])
            place, elsewhere = place + len(run), True
            for timestamp in run:
                shown, ahead = self._forward(shown, ahead, timestamp)
                pts = _pts_of(shown.image)
                if not self._filter.agrees(
                    self.to_pts(shown.time) if pts is None else pts, self._latest_pts(timestamp)
                ):
                    self._filter.disable()
                    shown, ahead = self._forward(self._seek(timestamp), None, timestamp)
                if not shown.intact:
                    raise self._source.damage_error(f"the frame at {shown.time:.3f} s is damaged")
                yield shown

    def _run(self, timestamps: Sequence[float], first: int) -> Sequence[float]:
        """Return the timestamps from a place on that are reached without seeking."""
        end = first + 1
        while end < len(timestamps) and not self._worth_seeking(timestamps[end - 1], timestamps[end]):
            end += 1
        return timestamps[first:end]

    def _forward(
        self, shown: TimedFrame, ahead: TimedFrame | None, timestamp: float
    ) -> tuple[TimedFrame, TimedFrame | None]:
        """Return the frame shown at a timestamp, and the one after it if that has been decoded."""
        while True:
            ahead = ahead or self._next()
            if ahead is None:
                if not self._filter.complete:
                    check_end(self._source, shown.end, self.stated_duration, timestamp)
                return shown, None
            if ahead.time > timestamp + TIME_TOLERANCE:
                return shown, ahead
            shown, ahead = ahead, None

    def _latest_pts(self, timestamp: float) -> int:
        """Return the latest timestamp, in the time base, of a frame shown at `timestamp`."""
        return self.to_pts(timestamp + TIME_TOLERANCE, math.floor)

    def frames(self) -> Iterator[TimedFrame]:
        """Yield every frame from the first to the last, once; not together with `frames_at`.

        Raises:
            VideoError: a frame cannot be decoded, or the video ends long before its stated
                duration.
        """
        frame: TimedFrame | None = self.first
        while frame is not None:
            if not frame.intact:
                raise self._source.damage_error(f"the frame at {frame.time:.3f} s is damaged")
            end = frame.end
            yield frame
            frame = self._next()
        if self.stated_duration is not None:
            check_end(self._source, end, self.stated_duration, self.stated_duration)

    def _next(self) -> TimedFrame | None:
        try:
            return next(self._frames, None)
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            self._source.deadline.check()
            where = "at its start" if self._last is None else f"after {self._last:.3f} s"
            raise self._source.damage_error(f"decoding failed {where}", error) from error

    def _decode(self, *, after_seek: bool = False) -> Iterator[TimedFrame]:
        # The loop filter stays on: without it, decoding was 13 % faster, but frames drifted:
        # the cosine similarity of features fell to 0.93.
        codec = self._source.stream.codec_context
        tracker = _CorruptionTracker(intact=not after_seek, sound=not self._source.damaged)
        for packet, requested in self._filter.filter(self._packets()):
            codec.skip_frame = "DEFAULT" if requested else "NONREF"
            tracker.feed(packet, requested, damaged=packet.pos in self._source.damaged or packet.pts in self._cut)
            for image in codec.decode(packet):
                for shown, intact in tracker.receive(image):
                    yield self._timed(shown, intact)
        if self._filter.complete and self._filter.reordered:
            for image in codec.decode(None):
                for shown, intact in tracker.receive(image):
                    yield self._timed(shown, intact)
        for shown, intact in tracker.flush():
            yield self._timed(shown, intact)
        self._source.deadline.check()

    def _timed(self, image: VideoFrame, intact: bool) -> TimedFrame:
        check_frame_size(self._source.name, image.width, image.height, self._source.limits)
        self._last = time = self._time(image)
        pts = _pts_of(image)
        length = self._ends.length(None if pts is None else self._ticked(pts), self._ticked(image.duration))
        return TimedFrame(time, time + length, image, intact)

    def _ticked(self, ticks: int) -> float:
        return ticks * self._ticks[1] / self._ticks[0]

    def _packets(self) -> Iterator[VideoPacket]:
        source = self._source
        broadcast = source.container.format.name.startswith(BROADCAST_FORMATS)
        started = not broadcast
        for packet in self._with_cuts() if broadcast else demux(source, source.stream):
            source.deadline.check()
            self.packets += 1
            pts = packet.pts if packet.pts is not None else packet.dts
            if pts is not None:
                self._ends.add(self._ticked(pts), self._ticked(packet.duration or 0))
            started = started or packet.is_keyframe
            if started:
                yield packet

    def _with_cuts(self) -> Iterator[VideoPacket]:
        """Yield all packets, and note those before which a transport stream misses some.

        FFmpeg says it of the packet two before, which it has just let go. At a key frame it may be a joint of two
        streams, whose counters jump as well; damage does not reach beyond it.
        """
        held: deque[VideoPacket] = deque()
        for packet in demux(self._source, self._source.stream):
            held.append(packet)
            if len(held) > _LATE:
                first = held.popleft()
                if first.is_corrupt and packet.pts is not None and not packet.is_keyframe:
                    self._cut.add(packet.pts)
                yield first
        yield from held

    def _time(self, image: VideoFrame) -> float:
        pts = _pts_of(image)
        if pts is None:
            return 0.0 if self._last is None else self._last + self._period
        if self._origin is None:
            self._origin = pts
        time = max(self.to_seconds(pts), self._last or 0.0)
        check_duration(self._source.name, time)
        return time

    def _read_index(self, timestamps: Sequence[float]) -> bool:
        """Read a deferred index, if it may help; return whether the position changed."""
        far = bool(timestamps) and timestamps[-1] - self.first.time > _SEEK_UNKNOWN
        if not (self._may_seek and far and self._source.container.format.name.startswith(ZERO_BASED_FORMAT)):
            return False
        with suppress(av.FFmpegError):
            self._source.container.seek(self.start, stream=self._source.stream)
        return True

    def _worth_seeking(self, now: float, timestamp: float) -> bool:
        gain = _SEEK_GAIN * self._period
        if not self._may_seek or timestamp - now < gain:
            return False
        index = self._source.stream.index_entries
        entry: int = index.search_timestamp(self._latest_pts(timestamp))
        return entry >= 0 and self.to_seconds(index[entry].timestamp) - now > gain

    def _seek(self, timestamp: float) -> TimedFrame:
        """Seek to a key frame before a timestamp, or to the start if the index is wrong."""
        for back in _SEEK_BACK:
            try:
                frame = self._seek_to(self._latest_pts(max(0.0, timestamp - back)))
            except (av.FFmpegError, VideoError):
                self._source.deadline.check()
                break
            if frame is None or _pts_of(frame.image) is None:
                continue
            if frame.intact and frame.time <= timestamp + TIME_TOLERANCE:
                return frame
        self._may_seek = False
        self._filter.disable()
        frame = self._seek_to(self.start)
        if frame is None or frame.time > self.first.time:
            raise self._source.damage_error("it cannot be read again from its start")
        return frame

    def _seek_to(self, pts: int) -> TimedFrame | None:
        self._source.container.seek(pts, stream=self._source.stream)
        self._frames = self._decode(after_seek=pts > self.start)
        self._last = None
        return self._next()


@dataclass(slots=True)
class _Held:
    """A waiting frame, its place in decoding order, and the latest timestamp decoded before it."""

    image: VideoFrame
    place: int
    latest: int
    intact: bool


class _CorruptionTracker:
    """Finds the frames that refer to a corrupt frame, also those that are shown before it.

    Requested frames are returned, each after all frames that were decoded before it.

        decoded     I0  P4  B2  b1  b3
        shown       I0  b1  B2  b3  P4      b1 waits for P4: if P4 is corrupt, so are B2, b1 and b3

    Args:
        intact: whether frames before the first key frame can be intact; after a seek they cannot.
        sound: whether packets before the first key frame can be: not where that frame may have been lost to damage.
    """

    def __init__(self, *, intact: bool, sound: bool) -> None:
        self._place = 0
        self._latest = -1 << 63
        self._pending: dict[int, tuple[int, int, bool, bool]] = {}
        self._held: deque[_Held] = deque()
        self._intact = intact
        self._sound = sound

    def feed(self, packet: VideoPacket, requested: bool, *, damaged: bool) -> None:
        """Note that a packet is decoded next, whether its frame is requested, and whether it is known to be damaged."""
        self._place += 1
        self._sound = not damaged and (self._sound or packet.is_keyframe)  # its own frame may not come at all
        if packet.pts is not None:
            self._latest = max(self._latest, packet.pts)
            self._pending[packet.pts] = self._place, self._latest, requested, self._sound

    def receive(self, image: VideoFrame) -> Iterable[tuple[VideoFrame, bool]]:
        """Take a frame from the decoder; return those that are ready, and whether each is intact."""
        pts = image.pts
        if pts is None:  # then the order of decoding is not known
            place, pts, latest, requested, sound = self._place, -1, -1, True, self._sound
        else:
            place, latest, requested, sound = self._pending.pop(pts, (self._place, pts, True, self._sound))
        corrupt = image.is_corrupt or not sound
        if corrupt:
            for other in self._held:
                other.intact = other.intact and other.place < place
        self._intact = not corrupt and (self._intact or image.key_frame)
        if requested:
            self._held.append(_Held(image, place, latest, self._intact))
        if len(self._pending) > _MAX_PENDING:
            self._pending = {other: kept for other, kept in self._pending.items() if other > pts}
        ready = []
        while self._held and self._held[0].latest <= pts:
            held = self._held.popleft()
            ready.append((held.image, held.intact))
        return ready

    def flush(self) -> Sequence[tuple[VideoFrame, bool]]:
        """Return the remaining frames, after the last packet."""
        return [(held.image, held.intact) for held in self._held]


def stated_from(source: Source, origin: int) -> float | None:
    """Return seconds from the first frame, at timestamp `origin`, to the stated end."""
    stated = source.stated_duration
    if stated is None or not source.container.format.name.startswith(ZERO_BASED_FORMAT):
        return stated
    return stated - origin * source.time_base.numerator / source.time_base.denominator


def check_end(source: Source, end: float, stated: float | None, timestamp: float) -> None:
    """Raise `VideoError` if a video ends long before its stated end or a requested timestamp."""
    if timestamp <= end:
        return
    if stated is not None and ends_early(end, stated):
        raise truncation_error(source, end, stated)
    if ends_early(end, timestamp):
        raise source.error("too_short", f"a frame at {timestamp:.3f} s is requested of {end:.3f} s of video")


def _pts_of(image: VideoFrame) -> int | None:
    return image.pts if image.pts is not None else image.dts


def ends_early(end: float, expected: float) -> bool:
    """Return whether a video ends before its expected end by more than a frame or two."""
    return expected - end > max(0.5, 0.1 * expected)


def truncation_error(source: Source, end: float, stated: float) -> VideoError:
    """Return the error of a video that ends long before its stated duration."""
    return source.error("truncated", f"it states {stated:.3f} s and ends after {end:.3f} s")
