"""The frames of a video in the order in which they are shown, each with its time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import av
from av.video.frame import VideoFrame

from marey.errors import VideoError
from marey.video.damage import DamageWatch
from marey.video.frames import TimedFrame
from marey.video.need import Need
from marey.video.source import COUNTS_FROM_ZERO, STARTS_ANYWHERE, Source, VideoPacket, demux

TOLERANCE = 1e-6  # s: an instant computed from a timestamp means that frame, whatever the rounding
_SEEK_GAIN = 2  # frames that a seek has to save before it is worth its own cost
_SEEK_BACK = (0.0, 0.5, 5.0)  # s: an index may lead to a keyframe that is shown just after the instant
_SEEK_UNKNOWN = 5.0  # s: how far the last instant has to be for an index that has not been read yet to be read
_LARGEST_STAMP = 2**62
_SEEKABLE = ("avi", "mov,", "matroska,")  # formats whose index leads to keyframes and not only near them


class Reader:
    """Decodes forwards, one frame at a time, and jumps to a keyframe where that saves work.

        time      0        1        2        3        4 s
        keyframe  K . . . .K . . . .K . . . .K . . . .|
        asked       ^ ^                        ^
        decoded   K . .                      K .

    A frame's time is its presentation timestamp, else (AVI has none) the time at which its packet was due,
    else one frame after the frame before; always counted from the first frame. Times never run backwards.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._need = Need(source)
        self._frames = self._decode()
        self._period = source.frame_period
        self._ticks = source.time_base.denominator, source.time_base.numerator
        self._origin: int | None = None
        self._last: float | None = None
        self._may_seek = source.container.format.name.startswith(_SEEKABLE)
        self._index_is_deferred = source.container.format.name.startswith(COUNTS_FROM_ZERO)
        self.packets = 0
        first = self._next()
        if first is None:
            raise source.error("no_frames", "its video stream holds no frame that can be decoded")
        self.first = first

    @property
    def origin(self) -> int:
        """The timestamp of the first frame, in the stream's time base."""
        return self._origin or 0

    @property
    def start(self) -> int:
        """A timestamp to seek to for the whole stream."""
        return min(0, self.origin)

    @property
    def stated_duration(self) -> float | None:
        """Seconds from the first frame to the end that the container states; None where it states none."""
        stated = self._source.stated_duration
        if stated is None or not self._source.container.format.name.startswith(COUNTS_FROM_ZERO):
            return stated
        return stated + self.seconds(0)

    def seconds(self, stamp: int) -> float:
        """The time of a timestamp."""
        per_second, tick = self._ticks
        return (stamp - self.origin) * tick / per_second

    def stamp(self, seconds: float, rounded: Callable[[float], int] = round) -> int:
        """The timestamp of a time."""
        per_second, tick = self._ticks
        return max(-_LARGEST_STAMP, min(_LARGEST_STAMP, self.origin + rounded(seconds * per_second / tick)))

    def on_screen(self, instants: Sequence[float]) -> Iterator[TimedFrame]:
        """The frame on screen at each instant, the last one that began by then.

        Args:
            instants: seconds from the first frame, ascending.

        Raises:
            VideoError: a frame that is asked for, or one before it, cannot be decoded or is not there.
        """
        shown, place = self.first, 0
        elsewhere = self._read_index(instants)
        while place < len(instants):
            run = self._run(instants, place)
            self._need.ask([self._limit(instant) for instant in run])
            ahead = None
            if elsewhere or self._worth_seeking(shown.time, run[0]):
                shown = self._seek(run[0])
            place, elsewhere = place + len(run), True
            for instant in run:
                shown, ahead = self._forward(shown, ahead, instant)
                stamp = _stamp_of(shown.image)
                if not self._need.confirms(self.stamp(shown.time) if stamp is None else stamp, self._limit(instant)):
                    self._need.give_up()
                    shown, ahead = self._forward(self._seek(instant), None, instant)
                if not shown.intact:
                    raise self._source.damaged(f"the picture at {shown.time:.3f} s is damaged")
                yield shown

    def _run(self, instants: Sequence[float], first: int) -> Sequence[float]:
        """The instants from a place on that are reached by decoding on."""
        end = first + 1
        while end < len(instants) and not self._worth_seeking(instants[end - 1], instants[end]):
            end += 1
        return instants[first:end]

    def _forward(
        self, shown: TimedFrame, ahead: TimedFrame | None, instant: float
    ) -> tuple[TimedFrame, TimedFrame | None]:
        """The frame on screen at an instant, and the one after it where that has been decoded."""
        while True:
            ahead = ahead or self._next()
            if ahead is None:
                if not self._need.met:
                    self._check_end(shown.end, instant)
                return shown, None
            if ahead.time > instant + TOLERANCE:
                return shown, ahead
            shown, ahead = ahead, None

    def _limit(self, instant: float) -> int:
        """The last timestamp at which a frame may begin and be on screen at an instant."""
        return self.stamp(instant + TOLERANCE, math.floor)

    def frames(self) -> Iterator[TimedFrame]:
        """Every frame from the first to the last, once; not together with `on_screen`.

        Raises:
            VideoError: a frame cannot be decoded, or the video ends long before its stated duration.
        """
        frame: TimedFrame | None = self.first
        while frame is not None:
            if not frame.intact:
                raise self._source.damaged(f"the picture at {frame.time:.3f} s is damaged")
            end = frame.end
            yield frame
            frame = self._next()
        if self.stated_duration is not None:
            self._check_end(end, self.stated_duration)

    def _next(self) -> TimedFrame | None:
        try:
            return next(self._frames, None)
        except av.FFmpegError as error:
            self._source.deadline.check()
            where = "at its start" if self._last is None else f"after {self._last:.3f} s"
            raise self._source.damaged(f"decoding failed {where}", error) from error

    def _decode(self, *, after_jump: bool = False) -> Iterator[TimedFrame]:
        # The loop filter stays: without it a film ran 13 % faster, and features fell to a cosine of 0.93 (drift).
        codec, watch = self._source.stream.codec_context, DamageWatch(intact=not after_jump)
        for packet, asked in self._need.sift(self._packets()):
            codec.skip_frame = "DEFAULT" if asked else "NONREF"
            watch.feed(packet, asked)
            for image in codec.decode(packet):
                for shown, intact in watch.take(image):
                    yield self._timed(shown, intact)
        if self._need.met and self._need.reordered:
            for image in codec.decode(None):
                for shown, intact in watch.take(image):
                    yield self._timed(shown, intact)
        for shown, intact in watch.rest():
            yield self._timed(shown, intact)
        self._source.deadline.check()

    def _timed(self, image: VideoFrame, intact: bool) -> TimedFrame:
        check_size(self._source, image)
        self._last = time = self._time(image)
        shown_for = image.duration * self._ticks[1] / self._ticks[0] or self._period
        return TimedFrame(time, time + shown_for, image, intact)

    def _packets(self) -> Iterator[VideoPacket]:
        source = self._source
        started = not source.container.format.name.startswith(STARTS_ANYWHERE)
        for packet in demux(source, source.stream):
            source.deadline.check()
            self.packets += 1
            started = started or packet.is_keyframe
            if started:
                yield packet

    def _time(self, image: VideoFrame) -> float:
        stamp = _stamp_of(image)
        if stamp is None:
            return 0.0 if self._last is None else self._last + self._period
        if self._origin is None:
            self._origin = stamp
        return max(self.seconds(stamp), self._last or 0.0)

    def _read_index(self, instants: Sequence[float]) -> bool:
        """Read an index that is read by seeking only, where it may be of use; whether that left the first frame."""
        far = bool(instants) and instants[-1] - self.first.time > _SEEK_UNKNOWN
        if not (self._may_seek and self._index_is_deferred and far):
            return False
        with suppress(av.FFmpegError):
            self._source.container.seek(self.start, stream=self._source.stream)
        return True

    def _worth_seeking(self, now: float, instant: float) -> bool:
        gain = _SEEK_GAIN * self._period
        if not self._may_seek or instant - now < gain:
            return False
        index = self._source.stream.index_entries
        entry: int = index.search_timestamp(self._limit(instant))
        if entry < 0:
            return False
        keyframe: int = index[entry].timestamp
        return self.seconds(keyframe) - now > gain

    def _seek(self, instant: float) -> TimedFrame:
        """Jump to a keyframe at or before the instant, or to the start if the file leads wrong; a frame from there."""
        for back in _SEEK_BACK:
            try:
                frame = self._jump(self._limit(max(0.0, instant - back)))
            except (av.FFmpegError, VideoError):
                self._source.deadline.check()
                break
            if frame is None or _stamp_of(frame.image) is None:
                continue
            if frame.intact and frame.time <= instant + TOLERANCE:
                return frame
        self._may_seek = False
        self._need.give_up()
        frame = self._jump(self.start)
        if frame is None or frame.time > self.first.time:
            raise self._source.damaged("it cannot be read again from its start")
        return frame

    def _jump(self, stamp: int) -> TimedFrame | None:
        self._source.container.seek(stamp, stream=self._source.stream)
        self._frames = self._decode(after_jump=stamp > self.start)
        self._last = None
        return self._next()

    def _check_end(self, end: float, instant: float) -> None:
        check_end(self._source, end, self.stated_duration, instant)


def check_size(source: Source, image: VideoFrame) -> None:
    """Raise where a picture is larger than the limits allow, whatever the header said."""
    if image.width * image.height > source.limits.max_pixels:
        raise source.error(
            "too_large",
            f"a picture has {image.width} x {image.height} pixels, and {source.limits.max_pixels:,} are allowed",
        )


def check_end(source: Source, end: float, stated: float | None, instant: float) -> None:
    """Raise where a video ends long before its stated duration, or before what is asked of it."""
    if instant <= end:
        return
    if stated is not None and ends_early(end, stated):
        raise ended_early(source.path, end, stated)
    if ends_early(end, instant):
        raise source.error("too_short", f"a frame at {instant:.3f} s is asked of {end:.3f} s of video")


def _stamp_of(image: VideoFrame) -> int | None:
    return image.pts if image.pts is not None else image.dts


def ends_early(end: float, promised: float) -> bool:
    """Whether a video stops so far before its promised end that this is no matter of a frame or two."""
    return promised - end > max(0.5, 0.1 * promised)


def ended_early(path: Path, end: float, stated: float) -> VideoError:
    """The error of a video that ends long before it says."""
    return VideoError(path, "truncated", f"it states {stated:.3f} s and ends after {end:.3f} s")
