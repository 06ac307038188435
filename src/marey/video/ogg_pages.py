"""Checksums of Ogg pages, which FFmpeg passes over: what fails one decodes to other frames without a word."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from marey.video.container_checks import damage_error

_MARK: Final = b"OggS"
_HEADER: Final = 27  # bytes before the table of segments
_LARGEST: Final = _HEADER + 255 + 255 * 255  # bytes of a page
_POSITION: Final = slice(6, 14)  # in time: 0 in pages of headers
_CHECKSUM: Final = slice(22, 26)
_KEPT: Final = 1 << 10  # files whose result is remembered
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_found: dict[tuple[Path, object], frozenset[int]] = {}


def damaged_pages(path: Path, file: io.RawIOBase, state: object) -> frozenset[int]:
    """Return where the damaged pages of an Ogg file begin, with the page before each, whose last frame may go on in it.

    A page is damaged if its checksum fails, or if pages of its stream are missing before it (RFC 3533). The whole file
    is read, once until it changes.

    Args:
        path: the file.
        file: the same, open; its position changes.
        state: what changes when the file does; None remembers nothing.

    Returns:
        Bytes from the start of the file; empty for a file of another format.

    Raises:
        VideoError: `corrupt`, if the header of a stream is damaged, without which no frame is right.
    """
    file.seek(0)
    if file.read(len(_MARK)) != _MARK:
        return frozenset()
    key = path, state
    if key not in _found:
        if len(_found) >= _KEPT:
            _found.clear()
        found = frozenset(_damaged(path, file))
        if state is None:
            return found
        _found[key] = found
    return _found[key]


def page_checksum(page: bytes) -> int:
    """Return the checksum of an Ogg page, whose own field counts as zeros.

    It is the CRC of zlib with the bits of each byte, and of the result, in reverse order, and without its inversions.
    """
    zeroed = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    reverse = zlib.crc32(zeroed.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reverse.to_bytes(4, "little").translate(_REVERSED), "big")


def _damaged(path: Path, file: io.RawIOBase) -> Iterator[int]:
    before: dict[bytes, tuple[int, int]] = {}  # stream -> where its last page began, and its number
    for at, page, intact in _pages(file):
        if not intact and page[_POSITION] == bytes(8):
            raise damage_error(path, f"the page of its header at byte {at:,} fails its checksum")
        stream, number = page[14:18], int.from_bytes(page[18:22], "little")
        last = before.get(stream)
        follows = last is None or number == (last[1] + 1) & 0xFFFFFFFF
        if not (intact and follows):
            yield at
            if last is not None:
                yield last[0]
        before[stream] = at, number


def _pages(file: io.RawIOBase) -> Iterator[tuple[int, bytes, bool]]:
    """Yield where each page begins, the page, and whether its checksum holds; look for the next one after damage."""
    at, held = 0, b""
    file.seek(0)
    while True:
        if len(held) < _LARGEST:
            held += file.read(2 * _LARGEST) or b""  # few: each read checks the deadline, and what is held is copied
        found = held.find(_MARK)
        if found < 0 or len(held) - found < _HEADER:
            return
        at, held = at + found, held[found:]
        table = held[_HEADER : _HEADER + held[26]]
        length = _HEADER + len(table) + sum(table)
        page = held[:length]
        if len(page) < length and held.find(_MARK, len(_MARK)) < 0:
            return  # the file was cut off here
        intact = len(page) == length and page_checksum(page) == int.from_bytes(page[_CHECKSUM], "little")
        yield at, page, intact
        step = length if intact else len(_MARK)  # of a damaged page the length may be wrong
        at, held = at + step, held[step:]
