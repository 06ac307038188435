"""What a packet of MPEG-4 Part 2 holds, where AVI files pack two pictures into one packet (DivX, XviD)."""

from __future__ import annotations

import re
from typing import Final

_PICTURE: Final = re.compile(rb"\x00\x00\x01\xb6(.)", re.DOTALL)  # start code of a VOP, ISO/IEC 14496-2, 6.2.5
NOTHING: Final = 19
"""Bytes: FFmpeg takes what is not larger for a picture of which nothing is coded."""
_KINDS: Final = "IPBS"
_PACKED: Final = re.compile(rb"DivX\d+(?:Build|b)\d+p")  # what FFmpeg takes for the sign of a packed stream


def picture_kinds(data: bytes) -> str:
    """The pictures of a packet by kind, as "I", "PB" or "B"; a picture of which the encoder coded nothing is a "P"."""
    return "".join(_KINDS[found[1][0] >> 6] for found in _PICTURE.finditer(data))


def is_one_picture(data: bytes) -> bool:
    """Whether a packet holds one picture, and not two, nor perhaps none."""
    return len(data) > NOTHING and len(_PICTURE.findall(data)) == 1


def states_packing(data: bytes) -> bool:
    """Whether a packet, or what goes before all packets, says that pictures are packed together."""
    return _PACKED.search(data) is not None
