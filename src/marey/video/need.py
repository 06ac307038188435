"""Which packets of a video have to be decoded, so that what is on screen at some instants can be shown."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from marey.video.mpeg4 import is_one_picture, picture_kinds, states_packing
from marey.video.source import Source, VideoPacket

Sifted: TypeAlias = "Iterator[tuple[VideoPacket, bool]]"

_TIMELESS: Final = ("avi",)
_TIMED: Final = ("mov,", "matroska,")
_CODECS: Final = ("h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video")  # FFmpeg can drop what nothing refers to
_REORDERED: Final = 16  # frames that may come before a frame and be shown after it: H.264, A.4.1, and HEVC alike
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

    Attributes:
        met: whether all that is asked for was among the packets so far.
        reordered: whether the last of them may still be inside the decoder, for frames come in another order.
    """

    def __init__(self, source: Source) -> None:
        name, codec = source.container.format.name, source.stream.codec_context
        self._timeless = name in _TIMELESS
        self.reordered = not self._timeless
        self._estimated = name.startswith("matroska,")  # its decoding timestamps are FFmpeg's guess
        self._mpeg4 = codec.name == "mpeg4"
        self._possible = self._mpeg4 if self._timeless else name.startswith(_TIMED) and codec.name in _CODECS
        if codec.name == "hevc" and not _has_one_layer(codec.extradata):
            self._possible = False  # a frame of one layer that calls itself unreferenced may serve the next layer
        self._packed = self._mpeg4 and states_packing(codec.extradata or b"")
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

    def sift(self, packets: Iterable[VideoPacket]) -> Sifted:
        """The packets up to the last one that is needed, each with whether its own frame is asked for.

        `met` says afterwards whether the packets ended because nothing after them is needed.
        """
        self._slots, self.met = [], False
        return self._sift_groups(packets) if self._timeless and self._mpeg4 else self._sift_frames(packets)

    def confirms(self, stamp: int, limit: int) -> bool:
        """Whether a frame with this timestamp is the one that the packets promised for the screen at `limit`."""
        if not self._limits:
            return True
        after = bisect_right(self._slots, limit)
        promised = self._slots[after - 1] if after else stamp
        del self._slots[: max(0, after - 1)]
        return promised == stamp

    def _sift_frames(self, packets: Iterable[VideoPacket]) -> Sifted:
        """Where each packet is a frame that knows when it is shown."""
        held: deque[tuple[VideoPacket, int | None]] = deque()
        for packet in packets:
            at_end = packet.size == 0 and packet.dts is None
            slot = None if packet.is_discard else packet.pts
            if slot is not None:
                insort(self._slots, slot)
            elif not at_end and not packet.is_discard:
                self.give_up()
            if self._limits and self._mpeg4 and not at_end and not is_one_picture(bytes(packet)):
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
        after = bisect_right(self._slots, slot)
        if after < len(self._slots) and self._slots[after] <= limit:
            return False
        return True if settled > limit else None

    def _sift_groups(self, packets: Iterable[VideoPacket]) -> Sifted:
        """MPEG-4 in AVI: a reference and the B-frames after it are decoded together, or the reference alone.

        packets     I   PB  b   n   PB  b   n      n: nothing, the place of the picture that was packed before
        group       1   2   2   2   3   3   3
        """
        group: list[tuple[VideoPacket, int]] = []
        stored = False  # whether the decoder keeps a picture that came packed, and shows it for the next packet
        for packet in packets:
            at_end, slot = packet.size == 0 and packet.dts is None, packet.dts
            data = bytes(packet) if self._possible and not at_end else b""
            kinds = picture_kinds(data)
            self._packed = self._packed or (bool(kinds) and states_packing(data))
            if slot is not None:
                insort(self._slots, slot)
            if (slot is None and not at_end) or (len(kinds) > 1 and not self._packed):
                self.give_up()
            if not self._limits or (not group and (stored or kinds[:1] == "B")):
                yield from ((waiting, True) for waiting, _ in group)
                group = []
                yield packet, True
            elif slot is not None and (stored or kinds[:1] == "B"):
                group.append((packet, slot))
            else:
                # At the end one frame is still inside the decoder. It comes without a time, one frame after the others.
                yield from self._needed_of(group, _NEVER if slot is None else slot)
                if slot is None and self._slots:
                    self._slots.append(self._slots[-1] + 1)
                if slot is None:
                    yield packet, True
                elif slot > self._limits[-1]:
                    self.met = True
                    return
                else:
                    group = [(packet, slot)]
            stored = "B" in (kinds if stored else kinds[1:])

    def _needed_of(self, group: Sequence[tuple[VideoPacket, int]], following: int) -> Sifted:
        """A group whole where one of its later slots is on screen when asked for, else its reference."""
        if not group:
            return
        slots = [slot for _, slot in group]
        asked = [self._is_shown(slot, end) for slot, end in pairwise([*slots, following])]
        if any(asked[1:]):
            yield from ((packet, True) for packet, _ in group)
            return
        yield group[0][0], asked[0]
        if self._packed and len(group) > 1:  # takes the picture that came packed out of the decoder, and drops it
            yield group[1][0], False

    def _is_shown(self, slot: int, end: int) -> bool:
        place = bisect_left(self._limits, slot)
        return place < len(self._limits) and self._limits[place] < end


def _has_one_layer(configuration: bytes | None) -> bool:
    """Whether an `hvcC` box (ISO/IEC 14496-15, 8.3.3.1) states one temporal layer."""
    if configuration is None or len(configuration) <= _HVCC_LAYERS or configuration[0] != 1:
        return False
    return configuration[_HVCC_LAYERS] >> 3 & 7 == 1
