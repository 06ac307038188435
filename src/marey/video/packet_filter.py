"""Select the packets that have to be decoded to show a video at given timestamps."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from marey.video.source import Source, VideoPacket

FilteredPackets: TypeAlias = "Iterator[tuple[VideoPacket, bool]]"

EMPTY_SIZE: Final = 19
"""Bytes: FFmpeg takes a packet of at most this size for a frame of which nothing is coded."""
_TIMED_FORMATS: Final = ("mov,", "matroska,")
_CODECS: Final = ("h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video")  # FFmpeg can drop unreferenced frames
_MAX_REORDERED: Final = 16  # frames decoded before a frame and shown after it: H.264, A.4.1; the same for HEVC
_HVCC_LAYERS: Final = 21  # byte of HEVC's configuration record with the number of its temporal layers
_NEVER: Final = 1 << 63
# MPEG-4 Part 2, of which AVI files may pack two frames into one packet (DivX, XviD)
_VOP: Final = re.compile(rb"\x00\x00\x01\xb6(.)", re.DOTALL)  # start code of a frame, ISO/IEC 14496-2, 6.2.5
_VOP_TYPES: Final = "IPBS"
_PACKED: Final = re.compile(rb"DivX\d+(?:Build|b)\d+p")  # by which FFmpeg recognises a packed stream


class PacketFilter:
    """Divides packets into those to decode and those to drop if no other frame refers to them.

        shown at    0   1   2   3   4   5   6   7   8
        packets     I0  P4  B2  b1  b3  P8  B6  b5  b7     in decoding order
        requested                           ^              a timestamp between 6 and 7
        decoded     I0  P4  B2  .   .   P8  B6             no frame refers to b1 and b3

    The slot of a packet is the timestamp at which it is due: its presentation timestamp; in AVI,
    which has none, its own place in the file. Its frame is shown until the next slot, which is
    known once no earlier slot can follow.

    Args:
        source: the file.

    Attributes:
        complete: whether all requested frames were among the packets so far.
        reordered: whether the last of them may still be inside the decoder, because frames are
            reordered.
    """

    def __init__(self, source: Source) -> None:
        name, codec = source.container.format.name, source.stream.codec_context
        self._timeless = name == "avi"
        self.reordered = not self._timeless
        self._estimated = name.startswith("matroska,")  # its decoding timestamps are estimated by FFmpeg
        self._mpeg4 = codec.name == "mpeg4"
        self._enabled = self._mpeg4 if self._timeless else name.startswith(_TIMED_FORMATS) and codec.name in _CODECS
        if codec.name == "hevc" and not _has_one_layer(codec.extradata):
            self._enabled = False  # a frame that no frame of its layer refers to may serve the next layer
        self._packed = self._mpeg4 and _PACKED.search(codec.extradata or b"") is not None
        self._requested: list[int] = []
        self._slots: list[int] = []
        self.complete = False

    def request(self, timestamps: Sequence[int]) -> None:
        """Request the frames shown at some timestamps, ascending, and no others.

        Without a request, all frames are decoded. Call it before the first of those is decoded.
        """
        self._requested = list(timestamps) if self._enabled else []

    def disable(self) -> None:
        """Decode all frames from now on."""
        self._enabled = False
        self._requested = []

    def filter(self, packets: Iterable[VideoPacket]) -> FilteredPackets:
        """Yield the packets up to the last one needed, each with whether its frame is requested.

        Afterwards, `complete` is set if no later packet is needed.
        """
        self._slots, self.complete = [], False
        return self._filter_groups(packets) if self._timeless and self._mpeg4 else self._filter_frames(packets)

    def agrees(self, pts: int, requested: int) -> bool:
        """Return whether this timestamp is that of the packet announced for a request."""
        if not self._requested:
            return True
        after = bisect_right(self._slots, requested)
        announced = self._slots[after - 1] if after else pts
        del self._slots[: max(0, after - 1)]
        return announced == pts

    def _filter_frames(self, packets: Iterable[VideoPacket]) -> FilteredPackets:
        """Filter packets that each hold one frame with a presentation timestamp."""
        held: deque[tuple[VideoPacket, int | None]] = deque()
        for packet in packets:
            at_end = packet.size == 0 and packet.dts is None
            slot = None if packet.is_discard else packet.pts
            if slot is not None:
                insort(self._slots, slot)
            elif not at_end and not packet.is_discard:
                self.disable()
            if self._requested and self._mpeg4 and not at_end and not _is_one_frame(bytes(packet)):
                self.disable()
            if not self._requested:
                yield from ((waiting, True) for waiting, _ in held)
                held.clear()
                yield packet, True
                continue
            if not at_end:
                held.append((packet, slot))
            settled = _NEVER if at_end else self._settled(packet)
            while held and (requested := self._is_requested(held, settled)) is not None:
                yield held.popleft()[0], requested
            if at_end and not held:
                yield packet, True
            elif settled > self._requested[-1]:
                self.complete = True
                return

    def _settled(self, packet: VideoPacket) -> int:
        """Return a timestamp before which no further slot can be."""
        if self._estimated:
            return self._slots[-_MAX_REORDERED - 1] if len(self._slots) > _MAX_REORDERED else -_NEVER
        return -_NEVER if packet.dts is None else packet.dts

    def _is_requested(self, held: Sequence[tuple[VideoPacket, int | None]], settled: int) -> bool | None:
        """Return whether the frame of the first held packet is requested; None while not known."""
        slot = held[0][1]
        if slot is None:
            return False
        place = bisect_left(self._requested, slot)
        if place == len(self._requested):  # needed only as a reference, and then it precedes a requested frame
            last = self._requested[-1]
            return False if any(other is not None and other <= last for _, other in held) else None
        timestamp = self._requested[place]
        after = bisect_right(self._slots, slot)
        if after < len(self._slots) and self._slots[after] <= timestamp:
            return False
        return True if settled > timestamp else None

    def _filter_groups(self, packets: Iterable[VideoPacket]) -> FilteredPackets:
        """Filter MPEG-4 in AVI: a reference is decoded with the B-frames after it, or alone.

        packets     I   PB  b   n   PB  b   n      n: an empty packet, in place of the packed frame
        group       1   2   2   2   3   3   3
        """
        group: list[tuple[VideoPacket, int]] = []
        stored = False  # whether the decoder holds a packed frame, to be shown for the next packet
        for packet in packets:
            at_end, slot = packet.size == 0 and packet.dts is None, packet.dts
            data = bytes(packet) if self._enabled and not at_end else b""
            types = _frame_types(data)
            self._packed = self._packed or (bool(types) and _PACKED.search(data) is not None)
            if slot is not None:
                insort(self._slots, slot)
            if (slot is None and not at_end) or (len(types) > 1 and not self._packed):
                self.disable()
            if not self._requested or (not group and (stored or types[:1] == "B")):
                yield from ((waiting, True) for waiting, _ in group)
                group = []
                yield packet, True
            elif slot is not None and (stored or types[:1] == "B"):
                group.append((packet, slot))
            else:
                # At the end, the decoder still holds one frame, without timestamp, after the others.
                yield from self._filter_group(group, _NEVER if slot is None else slot)
                if slot is None and self._slots:
                    self._slots.append(self._slots[-1] + 1)
                if slot is None:
                    yield packet, True
                elif slot > self._requested[-1]:
                    self.complete = True
                    return
                else:
                    group = [(packet, slot)]
            stored = "B" in (types if stored else types[1:])

    def _filter_group(self, group: Sequence[tuple[VideoPacket, int]], following: int) -> FilteredPackets:
        """Yield the whole group if one of its later slots is requested, else only its reference."""
        if not group:
            return
        slots = [slot for _, slot in group]
        requested = [self._is_shown(slot, end) for slot, end in pairwise([*slots, following])]
        if any(requested[1:]):
            yield from ((packet, True) for packet, _ in group)
            return
        yield group[0][0], requested[0]
        if self._packed and len(group) > 1:  # takes the packed frame out of the decoder, and drops it
            yield group[1][0], False

    def _is_shown(self, slot: int, end: int) -> bool:
        place = bisect_left(self._requested, slot)
        return place < len(self._requested) and self._requested[place] < end


def _frame_types(data: bytes) -> str:
    """Return the types of the frames in an MPEG-4 packet: "I", "PB" or "B"; "P" if empty."""
    return "".join(_VOP_TYPES[vop[1][0] >> 6] for vop in _VOP.finditer(data))


def _is_one_frame(data: bytes) -> bool:
    """Return whether an MPEG-4 packet certainly holds exactly one frame."""
    return len(data) > EMPTY_SIZE and len(_VOP.findall(data)) == 1


def _has_one_layer(configuration: bytes | None) -> bool:
    """Return whether an `hvcC` box (ISO/IEC 14496-15, 8.3.3.1) states a single temporal layer."""
    if configuration is None or len(configuration) <= _HVCC_LAYERS or configuration[0] != 1:
        return False
    return configuration[_HVCC_LAYERS] >> 3 & 7 == 1
