"""Which packets of a video have to be decoded, so that what is on screen at some instants can be shown."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from av.packet import Packet
from av.video.stream import VideoStream

from marey.video.source import Source

VideoPacket: TypeAlias = "Packet[VideoStream]"

_TIMELESS: Final = ("avi",)
_TIMED: Final = ("mov,", "matroska,")
_CODECS: Final = ("h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video")  # FFmpeg can drop what nothing refers to
_REORDERED: Final = 16  # frames that may come before a frame and be shown after it: H.264, A.4.1, and HEVC alike
_PACKED: Final = 1  # packets before one that may hold its frame: MPEG-4 in AVI packs a frame with the one before
_HVCC_LAYERS: Final = 21  # byte of HEVC's configuration record with the number of its temporal layers
_NEVER: Final = 1 << 63


class Need:
    """Sorts packets into those that are decoded and those that may be dropped if nothing refers to them.

        shown at    0   1   2   3   4   5   6   7   8
        packets     I0  P4  B2  b1  b3  P8  B6  b5  b7     in the order of decoding
        asked for                           ^              at an instant from 6 to 7
        decoded     I0  P4  B2  .   .   P8  B6             b1 and b3 refer to others, and nothing to them

    A packet is due for the screen at its slot: its presentation timestamp; in AVI, which has none, its own place in
    the file. It is on screen until the next slot, and which one that is, is known once no earlier slot can follow.

    Args:
        source: the file.
    """

    def __init__(self, source: Source) -> None:
        name, codec = source.container.format.name, source.stream.codec_context
        self._timeless = name in _TIMELESS
        self._estimated = name.startswith("matroska,")  # its decoding timestamps are FFmpeg's guess
        self._possible = codec.name == "mpeg4" if self._timeless else name.startswith(_TIMED) and codec.name in _CODECS
        if codec.name == "hevc" and not _has_one_layer(codec.extradata):
            self._possible = False  # a frame of one layer that calls itself unreferenced may serve the next layer
        self._linked = _PACKED if self._timeless else 0
        self._limits: list[int] = []
        self._slots: list[int] = []
        self.met = False

    def ask(self, limits: Sequence[int]) -> None:
        """Ask for the frames on screen at some timestamps, ascending, and for no others.

        Until this is called, all frames are decoded. It has to come before the first of those frames is decoded.
        """
        self._limits = list(limits) if self._possible else []

    def give_up(self) -> None:
        """Decode all frames from now on."""
        self._possible = False
        self._limits = []

    def sift(self, packets: Iterable[VideoPacket]) -> Iterator[tuple[VideoPacket, bool]]:
        """The packets up to the last one that is needed, each with whether its own frame is asked for.

        `met` says afterwards whether the packets ended because nothing after them is needed.
        """
        held: deque[tuple[VideoPacket, int | None]] = deque()
        self._slots, self.met = [], False
        for packet in packets:
            at_end = packet.size == 0 and packet.dts is None
            slot = None if packet.is_discard else packet.dts if self._timeless else packet.pts
            if slot is not None:
                insort(self._slots, slot)
            elif not at_end and not packet.is_discard:
                self.give_up()
            if not self._limits:
                yield from ((waiting, True) for waiting, _ in held)
                held.clear()
                yield packet, True
                continue
            if not at_end:
                held.append((packet, slot))
            settled = _NEVER if at_end else self._settled(packet)
            while held and (asked := self._is_asked(held, settled)) is not None:
                yield held.popleft()[0], asked
            if at_end and not held:
                yield packet, True
            elif settled > self._limits[-1]:
                self.met = True
                return

    def confirms(self, stamp: int | None, limit: int) -> bool:
        """Whether a frame with this timestamp is the one that the packets promised for the screen at `limit`."""
        if not self._limits:
            return True
        after = bisect_right(self._slots, limit)
        promised = self._slots[after - 1] if after else stamp
        del self._slots[: max(0, after - 1)]
        return promised == stamp

    def _settled(self, packet: VideoPacket) -> int:
        """A timestamp before which no further slot can lie."""
        if self._estimated:
            return self._slots[-_REORDERED - 1] if len(self._slots) > _REORDERED else -_NEVER
        return -_NEVER if packet.dts is None else packet.dts

    def _is_asked(self, held: Sequence[tuple[VideoPacket, int | None]], settled: int) -> bool | None:
        """Whether the frame of the first packet held is on screen when one is asked for; None where that is open."""
        slot = held[0][1]
        if slot is None:
            return False
        place = bisect_left(self._limits, slot)
        if place == len(self._limits):  # needed only if what is asked for refers to it, and then it comes before that
            last = self._limits[-1]
            return False if any(other is not None and other <= last for _, other in held) else None
        limit = self._limits[place]
        after = bisect_right(self._slots, slot) + self._linked
        if after < len(self._slots) and self._slots[after] <= limit:
            return False
        return True if settled > limit else None


def _has_one_layer(configuration: bytes | None) -> bool:
    """Whether an `hvcC` box (ISO/IEC 14496-15, 8.3.3.1) states one temporal layer."""
    if configuration is None or len(configuration) <= _HVCC_LAYERS or configuration[0] != 1:
        return False
    return configuration[_HVCC_LAYERS] >> 3 & 7 == 1
