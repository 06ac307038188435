"""The key frames of a video that are nearest to the instants asked for; nothing else is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import av

from marey.video.frames import TimedFrame
from marey.video.mpeg4 import NOTHING
from marey.video.reader import check_end, check_size, ends_early
from marey.video.source import COUNTS_FROM_ZERO, Source, VideoPacket, demux

_INDEXED: Final = ("avi", "mov,")  # formats whose index lists every frame


@dataclass(frozen=True, slots=True)
class _Key:
    """A key frame that has not been decoded yet, and its time in seconds from the first frame."""

    time: float
    packet: VideoPacket


class Keyframes:
    """Reads key frames, each decoded by itself.

        key frame   K               K               K
        instant        ^    ^     ^          ^
        gives       1  1    2     2          2             (1, 2: the first, the second key frame)

    Where the file has an index, reading jumps from one key frame to the next; where not, all of the file is read, and
    only key frames are decoded. In AVI, which has no timestamps, a frame is shown when its packet is due.

    Args:
        source: the file.

    Attributes:
        first: the first key frame.
        packets: how many have been read.

    Raises:
        VideoError: there is no key frame that can be decoded.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._timeless = source.container.format.name == "avi"
        self._origin: int | None = None
        self._end = 0.0
        self.packets = 0
        for packet in self._demux():
            if self._is_key(packet):
                self._origin = self._stamp(packet)
                self._delay = 0 if packet.pts is None or packet.dts is None else packet.pts - packet.dts
                first = self._decode(_Key(0.0, packet))
                if first is not None:
                    self.first = first
                    break
        else:
            raise source.error("no_frames", "its video stream holds no key frame that can be decoded")

    def nearest(self, instants: Sequence[float]) -> Iterator[TimedFrame]:
        """The key frame nearest to each instant, the earlier one of two.

        Args:
            instants: seconds from the first frame, ascending.

        Raises:
            VideoError: a key frame that is asked for cannot be decoded, or an instant lies beyond the end.
        """
        keys = self._near(instants) if self._has_whole_index() else self._all()
        shown: TimedFrame | None = self.first
        at, following = 0.0, next(keys, None)
        chosen: _Key | None = None
        for instant in instants:
            while following is not None and following.time - instant < instant - at:
                chosen, at, shown = following, following.time, None
                following = next(keys, None)
            if following is None:
                self._check_end(instant)
            if shown is None and chosen is not None:
                shown = self._decode(chosen)
            if shown is None or not shown.intact:
                raise self._source.damaged(f"the key frame at {at:.3f} s is damaged")
            yield shown

    def _near(self, instants: Sequence[float]) -> Iterator[_Key]:
        """The key frames after the first that may be nearest to an instant, by the index."""
        index = self._source.stream.index_entries
        wanted: set[int] = set()
        for instant in instants:
            stamp = self._origin_stamp + round(instant / self._source.time_base)
            before = self._entry(stamp, backward=True)
            # An index goes by the order of decoding: the key frame before may be the one before that on the screen.
            earlier = self._entry(index[before].timestamp - 1, backward=True) if before >= 0 else before
            wanted |= {before, earlier, self._entry(stamp, backward=False)}
        for entry in sorted(wanted - {-1}):
            packet = self._at(index[entry].timestamp)
            key = _Key(self._time(packet), packet)
            if key.time > 0:
                yield key

    def _at(self, stamp: int) -> VideoPacket:
        """The key frame at a timestamp of the index."""
        for delay in (self._delay, 0):  # QuickTime seeks by the time on the screen, its index has that of decoding
            self._source.container.seek(stamp + delay, stream=self._source.stream)
            for packet in self._demux():
                if packet.dts is not None and packet.dts >= stamp:
                    break
            if packet.dts == stamp and self._is_key(packet):
                return packet
        raise self._source.damaged("a key frame that its index promises is not there")

    def _entry(self, stamp: int, *, backward: bool) -> int:
        """The place in the index of the key frame next to a timestamp; -1 where there is none."""
        index = self._source.stream.index_entries
        while True:
            entry: int = index.search_timestamp(stamp, backward=backward)
            if entry < 0 or index[entry].size > NOTHING:
                return entry
            stamp = index[entry].timestamp + (-1 if backward else 1)

    def _all(self) -> Iterator[_Key]:
        """Every key frame after the first, by reading on."""
        for packet in self._demux():
            if self._is_key(packet):
                yield _Key(self._time(packet), packet)

    def _demux(self) -> Iterator[VideoPacket]:
        for packet in demux(self._source, self._source.stream):
            self._source.deadline.check()
            if packet.size:
                self.packets += 1
                if self._origin is not None:
                    length = float((packet.duration or 0) * self._source.time_base) or self._source.frame_period
                    self._end = max(self._end, self._time(packet) + length)
                yield packet

    def _decode(self, key: _Key) -> TimedFrame | None:
        """The picture of a key frame; None where the decoder makes none of it."""
        codec = self._source.stream.codec_context
        try:
            images = [*codec.decode(key.packet), *codec.decode(None)]
        except av.FFmpegError as error:
            raise self._source.damaged(f"decoding failed at {key.time:.3f} s", error) from error
        codec.flush_buffers()
        image = next((image for image in images if image.key_frame), None)
        if image is None:
            return None
        check_size(self._source, image)
        return TimedFrame(key.time, key.time + self._source.frame_period, image, not image.is_corrupt)

    def _is_key(self, packet: VideoPacket) -> bool:
        return packet.is_keyframe and not packet.is_discard and packet.size > NOTHING

    @property
    def _origin_stamp(self) -> int:
        return self._origin or 0

    def _stamp(self, packet: VideoPacket) -> int | None:
        return packet.dts if self._timeless or packet.pts is None else packet.pts

    def _time(self, packet: VideoPacket) -> float:
        stamp = self._stamp(packet)
        if stamp is None:
            return (self.packets - 1) * self._source.frame_period
        return float((stamp - self._origin_stamp) * self._source.time_base)

    @property
    def _stated(self) -> float | None:
        """Seconds from the first frame to the end that the container states."""
        stated = self._source.stated_duration
        if stated is None or not self._source.container.format.name.startswith(COUNTS_FROM_ZERO):
            return stated
        return stated - float(self._origin_stamp * self._source.time_base)

    def _has_whole_index(self) -> bool:
        """Whether the index reaches to the end that is stated: of a broken file it does not, or there is none."""
        index, stated = self._source.stream.index_entries, self._stated
        if not self._source.container.format.name.startswith(_INDEXED) or not len(index) or stated is None:
            return False
        last = float((index[len(index) - 1].timestamp - self._origin_stamp) * self._source.time_base)
        self._end = max(self._end, last + self._source.frame_period)
        return not ends_early(self._end, stated)

    def _check_end(self, instant: float) -> None:
        check_end(self._source, self._end, self._stated, instant)
