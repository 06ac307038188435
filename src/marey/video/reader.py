"""The frames of a video in the order in which they are shown, each with its time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.frame import VideoFrame

from marey.errors import VideoError
from marey.video.source import COUNTS_FROM_ZERO, STARTS_ANYWHERE, Source, demux

_TOLERANCE = 1e-6  # s: an instant computed from a timestamp means that frame, whatever the rounding
_SEEK_GAIN = 8  # frames that a seek has to save before it is worth its own cost
_SEEK_BACK = (0.0, 0.5, 5.0)  # s: an index may lead to a keyframe that is shown just after the instant
_SEEK_UNKNOWN = 10.0  # s: how far an instant has to be where the index has not been read yet
_LARGEST_STAMP = 2**62
_SEEKABLE = ("avi", "mov,", "matroska,")  # formats whose index leads to keyframes and not only near them


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A decoded picture.

    Attributes:
        time: seconds from the first frame of the stream.
        end: seconds at which it leaves the screen, if nothing follows.
        image: the picture as the decoder left it.
        intact: whether the decoder could rebuild it, and all that it was rebuilt from.
    """

    time: float
    end: float
    image: VideoFrame
    intact: bool


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
        self._frames = self._decode()
        self._period = source.frame_period
        self._ticks = source.time_base.denominator, source.time_base.numerator
        self._origin: int | None = None
        self._last: float | None = None
        self._intact = True
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

    def stamp(self, seconds: float) -> int:
        """The timestamp of a time."""
        per_second, tick = self._ticks
        return max(-_LARGEST_STAMP, min(_LARGEST_STAMP, self.origin + round(seconds * per_second / tick)))

    def on_screen(self, instants: Sequence[float]) -> Iterator[TimedFrame]:
        """The frame on screen at each instant, the last one that began by then.

        Args:
            instants: seconds from the first frame, ascending.

        Raises:
            VideoError: a frame that is asked for, or one before it, cannot be decoded or is not there.
        """
        shown, ahead = self.first, None
        for instant in instants:
            if self._worth_seeking(shown.time, instant):
                shown, ahead = self._seek(instant), None
            while True:
                ahead = ahead or self._next()
                if ahead is None:
                    self._check_end(shown.end, instant)
                    break
                if ahead.time > instant + _TOLERANCE:
                    break
                shown, ahead = ahead, None
            if not shown.intact:
                raise self._source.damaged(f"the picture at {shown.time:.3f} s is damaged")
            yield shown

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
            image = next(self._frames, None)
        except av.FFmpegError as error:
            self._source.deadline.check()
            where = "at its start" if self._last is None else f"after {self._last:.3f} s"
            raise self._source.damaged(f"decoding failed {where}", error) from error
        if image is None:
            return None
        if image.width * image.height > self._source.limits.max_pixels:
            raise self._source.error(
                "too_large",
                f"a picture has {image.width} x {image.height} pixels, "
                f"and {self._source.limits.max_pixels:,} are allowed",
            )
        self._intact = not image.is_corrupt and (self._intact or image.key_frame)
        self._last = time = self._time(image)
        shown_for = image.duration * self._ticks[1] / self._ticks[0] or self._period
        return TimedFrame(time, time + shown_for, image, self._intact)

    def _decode(self) -> Iterator[VideoFrame]:
        source = self._source
        started = not source.container.format.name.startswith(STARTS_ANYWHERE)
        for packet in demux(source, source.stream):
            source.deadline.check()
            self.packets += 1
            started = started or packet.is_keyframe
            if started:
                yield from packet.decode()
        source.deadline.check()

    def _time(self, image: VideoFrame) -> float:
        stamp = _stamp_of(image)
        if stamp is None:
            return 0.0 if self._last is None else self._last + self._period
        if self._origin is None:
            self._origin = stamp
        return max(self.seconds(stamp), self._last or 0.0)

    def _worth_seeking(self, now: float, instant: float) -> bool:
        gain = _SEEK_GAIN * self._period
        if not self._may_seek or instant - now < gain:
            return False
        if self._index_is_deferred:
            return instant - now > _SEEK_UNKNOWN
        index = self._source.stream.index_entries
        entry: int = index.search_timestamp(self.stamp(instant))
        if entry < 0:
            return False
        keyframe: int = index[entry].timestamp
        return self.seconds(keyframe) - now > gain

    def _seek(self, instant: float) -> TimedFrame:
        """Jump to a keyframe at or before the instant; to the first frame if the file leads anywhere else."""
        self._index_is_deferred = False
        for back in _SEEK_BACK:
            try:
                frame = self._jump(self.stamp(max(0.0, instant - back)))
            except (av.FFmpegError, VideoError):
                self._source.deadline.check()
                break
            if frame is None or _stamp_of(frame.image) is None:
                continue
            if frame.image.key_frame and frame.intact and frame.time <= instant + _TOLERANCE:
                return frame
        self._may_seek = False
        frame = self._jump(self.start)
        if frame is None or frame.time > self.first.time:
            raise self._source.damaged("it cannot be read again from its start")
        return frame

    def _jump(self, stamp: int) -> TimedFrame | None:
        self._source.container.seek(stamp, stream=self._source.stream)
        self._frames = self._decode()
        self._last, self._intact = None, True
        return self._next()

    def _check_end(self, end: float, instant: float) -> None:
        """Raise where the video ends long before its stated duration, or before what is asked of it."""
        stated = self.stated_duration
        if instant <= end:
            return
        if stated is not None and ends_early(end, stated):
            raise ended_early(self._source.path, end, stated)
        if ends_early(end, instant):
            raise self._source.error("too_short", f"a frame at {instant:.3f} s is asked of {end:.3f} s of video")


def _stamp_of(image: VideoFrame) -> int | None:
    return image.pts if image.pts is not None else image.dts


def ends_early(end: float, promised: float) -> bool:
    """Whether a video stops so far before its promised end that this is no matter of a frame or two."""
    return promised - end > max(0.5, 0.1 * promised)


def ended_early(path: Path, end: float, stated: float) -> VideoError:
    """The error of a video that ends long before it says."""
    return VideoError(path, "truncated", f"it states {stated:.3f} s and ends after {end:.3f} s")
