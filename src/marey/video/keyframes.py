"""Read the key frames nearest to given timestamps; no other frame is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import av

from marey.video.frames import TIME_TOLERANCE, TimedFrame
from marey.video.packet_filter import EMPTY_SIZE
from marey.video.reader import check_end, ends_early, stated_from
from marey.video.source import Source, VideoPacket, check_frame_size, demux
from marey.video.video_end import VideoEnd

_INDEXED: Final = ("avi", "mov,")  # formats whose index lists every frame


@dataclass(frozen=True, slots=True)
class _Key:
    """A key frame that has not been decoded yet.

    Attributes:
        time: seconds from the first frame.
        packet: its packet.
        after_damage: True where the container shows damage between the key frame before it and this one.
    """

    time: float
    packet: VideoPacket
    after_damage: bool = False


class Keyframes:
    """Reads key frames, each decoded by itself.

        key frame   K               K               K
        timestamp      ^    ^     ^          ^
        returns     1  1    2     2          2             (1, 2: the first, the second key frame)

    If the file has an index, reading seeks from one key frame to the next; if not, the whole file
    is read, but only key frames are decoded. In AVI, which has no presentation timestamps, the time
    of a frame is that at which its packet is due.

    Args:
        source: the file.

    Attributes:
        first: the first key frame.
        packets: number of packets that have been read.

    Raises:
        VideoError: there is no key frame that can be decoded.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._timeless = source.container.format.name == "avi"
        self._started = False
        self._origin = 0
        self._end = 0.0
        self._ends = VideoEnd(source)
        self._read_end = False
        self._damaged = False  # after the key frame that was read last
        self.packets = 0
        for packet in self._demux():
            if _is_key(packet):
                self._started, self._origin = True, self._pts(packet) or 0
                self._delay = 0 if packet.pts is None or packet.dts is None else packet.pts - packet.dts
                first = self._decode(_Key(0.0, packet))
                if first is not None:
                    self.first = first
                    break
        else:
            raise source.error("no_frames", "its video stream holds no key frame that can be decoded")
        self._stated = stated_from(source, self._origin)

    def nearest(self, timestamps: Sequence[float]) -> Iterator[TimedFrame]:
        """Yield the key frame nearest to each timestamp; of two, the earlier one.

        Args:
            timestamps: seconds from the first frame, ascending.

        Raises:
            VideoError: a requested key frame cannot be decoded, or a timestamp is beyond the end.
        """
        keys = self._near(timestamps) if self._has_whole_index() else self._all()
        shown: TimedFrame | None = self.first
        at, following = 0.0, next(keys, None)
        chosen: _Key | None = None
        for timestamp in timestamps:
            while following is not None and following.time - timestamp < timestamp - at:
                chosen, at, shown = following, following.time, None
                following = next(keys, None)
            if self._may_be_missing(chosen, following, timestamp - at):
                raise self._source.damage_error(
                    f"a part near {timestamp:.3f} s, which may hold a key frame, is damaged"
                )
            if following is None:
                check_end(self._source, self._end_for(timestamp), self._stated, timestamp)
            if shown is None and chosen is not None:
                shown = self._decode(chosen)
            if shown is None or not shown.intact:
                raise self._source.damage_error(f"the key frame at {at:.3f} s is damaged")
            yield shown

    def _may_be_missing(self, key: _Key | None, following: _Key | None, distance: float) -> bool:
        """Return whether the container shows damage between a key frame and a timestamp so far after it."""
        if distance > TIME_TOLERANCE:
            return self._damaged if following is None else following.after_damage
        return distance < -TIME_TOLERANCE and key is not None and key.after_damage

    def _end_for(self, timestamp: float) -> float:
        """Return the end of the video; a timestamp beyond that of the index is worth reading the last packets.

        The index is in decoding order: the latest frame may be decoded long before the last.
        """
        if ends_early(max(self._end, self._ends.end or 0.0), timestamp) and not self._read_end:
            self._read_end = True
            self._source.container.seek(
                self._origin + round(self._end / self._source.time_base), stream=self._source.stream
            )
            for _ in self._demux():
                pass
        return max(self._end, self._ends.end or 0.0)

    def _near(self, timestamps: Sequence[float]) -> Iterator[_Key]:
        """Yield the key frames of the index that may be nearest to a timestamp, without the first."""
        index = self._source.stream.index_entries
        entries: set[int] = set()
        for timestamp in timestamps:
            pts = self._origin + round(timestamp / self._source.time_base)
            before = self._entry(pts, backward=True)
            # The index is in decoding order: the preceding key frame may be one entry earlier.
            earlier = self._entry(index[before].timestamp - 1, backward=True) if before >= 0 else before
            entries |= {before, earlier, self._entry(pts, backward=False)}
        for entry in sorted(entries - {-1}):
            packet = self._at(index[entry].timestamp)
            key = _Key(self._time(packet), packet)
            if key.time > 0:
                yield key

    def _at(self, dts: int) -> VideoPacket:
        """Read the key frame at a timestamp of the index."""
        for delay in (self._delay, 0):  # QuickTime seeks by presentation time, but its index has decoding times
            self._source.container.seek(dts + delay, stream=self._source.stream)
            found = (packet for packet in self._demux() if packet.dts is not None and packet.dts >= dts)
            packet = next(found, None)
            if packet is not None and packet.dts == dts and _is_key(packet):
                return packet
        raise self._source.damage_error("a key frame of its index does not exist")

    def _entry(self, pts: int, *, backward: bool) -> int:
        """Return the index entry of the key frame next to a timestamp; -1 if there is none."""
        index = self._source.stream.index_entries
        while True:
            entry: int = index.search_timestamp(pts, backward=backward)
            if entry < 0 or index[entry].size > EMPTY_SIZE:
                return entry
            pts = index[entry].timestamp + (-1 if backward else 1)

    def _all(self) -> Iterator[_Key]:
        """Yield every key frame after the first, by reading on."""
        for packet in self._demux():
            if _is_key(packet):
                yield _Key(self._time(packet), packet, after_damage=self._damaged)
                self._damaged = False
            self._damaged = self._damaged or packet.pos in self._source.damaged

    def _demux(self) -> Iterator[VideoPacket]:
        for packet in demux(self._source, self._source.stream):
            self._source.deadline.check()
            if packet.size:
                self.packets += 1
                if self._started:
                    self._ends.add(self._time(packet), float((packet.duration or 0) * self._source.time_base))
                yield packet

    def _decode(self, key: _Key) -> TimedFrame | None:
        """Decode a key frame; None if the decoder returns no frame."""
        codec = self._source.stream.codec_context
        try:
            images = [*codec.decode(key.packet), *codec.decode(None)]
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            raise self._source.damage_error(f"decoding failed at {key.time:.3f} s", error) from error
        codec.flush_buffers()
        image = next((image for image in images if image.key_frame), None)
        if image is None:
            return None
        check_frame_size(self._source.name, image.width, image.height, self._source.limits)
        intact = not (image.is_corrupt or self._source.is_damaged(key.packet))
        return TimedFrame(key.time, key.time + self._source.frame_period, image, intact)

    def _pts(self, packet: VideoPacket) -> int | None:
        return packet.dts if self._timeless or packet.pts is None else packet.pts

    def _time(self, packet: VideoPacket) -> float:
        pts = self._pts(packet)
        if pts is None:
            return (self.packets - 1) * self._source.frame_period
        return float((pts - self._origin) * self._source.time_base)

    def _has_whole_index(self) -> bool:
        """Return whether the index reaches the stated end; in a broken file it may not."""
        index = self._source.stream.index_entries
        if not self._source.container.format.name.startswith(_INDEXED) or not len(index) or self._stated is None:
            return False
        last = float((index[len(index) - 1].timestamp - self._origin) * self._source.time_base)
        self._end = max(self._end, last + self._source.frame_period)
        return not ends_early(self._end, self._stated)


def _is_key(packet: VideoPacket) -> bool:
    return packet.is_keyframe and not packet.is_discard and packet.size > EMPTY_SIZE
