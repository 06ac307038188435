"""Check of the counts in the header of an MP4 or QuickTime file, before FFmpeg makes room for what they state."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from marey.video.container_checks import damage_error

_FLOOR: Final = 1 << 20  # samples without an entry of their own that any file may state: they take 0.1 GB
_META: Final = 4096  # bytes of a box `meta` among which its first box is searched
_DEEPEST: Final = 16  # boxes inside each other
_MOST_UNPACKED: Final = 64 << 20  # bytes of a compressed header
_INSIDE: Final = frozenset(
    b"dinf edts gmhd ilst mdia mfra minf moof moov mvex schi sinf stbl traf trak tref udta wave".split()
)
"""Boxes that hold boxes."""
_TABLES: Final = {
    b"stts": (4, 8),
    b"ctts": (4, 8),
    b"stsc": (4, 12),
    b"stss": (4, 4),
    b"stps": (4, 4),
    b"stco": (4, 4),
    b"co64": (4, 8),
    b"stsd": (4, 8),
    b"dref": (4, 8),
    b"keys": (4, 8),
    b"senc": (4, 1),
    b"sbgp": (8, 8),
    b"sgpd": (12, 1),
    b"tfra": (12, 11),
}
"""Boxes that begin with a count: where it is in their content, and the bytes that an entry takes at least."""
_OPTIONAL: Final = (0x100, 0x200, 0x400, 0x800)  # flags of `trun`: a field of 4 bytes for each sample


_MANY: Final = 500  # boxes, as of a file in fragments: fewer take under 10 ms, and are read each time
_KEPT: Final = 1 << 14  # files whose result is remembered
_faults: dict[tuple[Path, object], str | None] = {}


class _File(Protocol):
    """An open file, as far as it is needed."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...


def check_counts(path: Path, file: _File, size: int, state: object, *, whole: bool = True) -> None:
    """Refuse a file that states more samples than it could hold.

    FFmpeg takes memory for all samples of a table before it reads the first (ISO/IEC 14496-12: `stsz`, `stts`, `ctts`,
    `trun`, ...). Only the headers of boxes are read. A table has to lie inside the file; samples that have no entry of
    their own, where a box states one size for all, take a byte each, in all tracks together.

    Args:
        path: the file.
        file: the same, open; its position changes.
        size: its bytes.
        state: what changes when the file does; what was found in many boxes is remembered until then. None remembers
            nothing.
        whole: read on after the first fragment.

    Raises:
        VideoError: `corrupt`, with the box and its count, or `truncated` if the end of the file is missing.
    """
    key = path, state
    if key in _faults:
        fault = _faults[key]
    else:
        walk = _Walk(file, size, whole)
        fault = walk.find()
        if state is not None and walk.boxes > _MANY:
            if len(_faults) >= _KEPT:
                _faults.clear()
            _faults[key] = fault
    if fault is not None:
        raise damage_error(path, fault)


class _Walk:
    """A walk over the boxes of a file in the order in which FFmpeg reads them.

    Args:
        file: an open file.
        size: its bytes.
        whole: read on after the first fragment.

    Attributes:
        boxes: number of boxes so far.
    """

    def __init__(self, file: _File, size: int, whole: bool) -> None:
        self._file = file
        self._size = size
        self._whole = whole
        self._allowed = max(size, _FLOOR)
        self._bare = 0
        self.boxes = 0

    def find(self) -> str | None:
        """Return the first count that cannot be, in words; None if all can."""
        return self._walk(0, self._size, 0)

    def _walk(self, at: int, end: int, depth: int) -> str | None:
        for kind, start, stop in self._boxes(at, end):
            fault = self._check(kind, start, stop)
            if fault is None and kind in _INSIDE and depth < _DEEPEST:
                fault = self._walk(start, stop, depth + 1)
            elif fault is None and kind == b"meta":
                inner = self._read(start, _META).find(b"hdlr")
                fault = self._walk(start + inner - 4, stop, depth + 1) if inner >= 4 and depth < _DEEPEST else None
            elif fault is None and kind == b"cmov":
                fault = self._unpacked(start, stop)
            if fault is not None or (kind == b"moof" and not self._whole):
                return fault
        return None

    def _boxes(self, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield kind, start and end of the content of the boxes between two places."""
        while at + 8 <= end:
            head = self._read(at, 16)
            length, kind, start = int.from_bytes(head[:4], "big"), head[4:8], at + 8
            if length == 1:
                length, start = int.from_bytes(head[8:16], "big"), at + 16
            elif length == 0:
                length = end - at
            if length < start - at or len(head) < 8:
                return
            self.boxes += 1
            yield kind, start, min(at + length, end)
            at += length

    def _check(self, kind: bytes, start: int, stop: int) -> str | None:
        if kind in (b"stsz", b"stz2"):
            head = self._read(start, 12)
            one_size, count = head[4:8], int.from_bytes(head[8:12], "big")
            if kind == b"stsz" and any(one_size):
                return self._check_bare(kind, count)
            bits = 32 if kind == b"stsz" else head[7:8][0] if len(head) > 7 else 0
            return self._check_table(kind, count, start + 12, bits / 8)
        if kind == b"trun":
            head = self._read(start, 8)
            flags, count = int.from_bytes(head[1:4], "big"), int.from_bytes(head[4:8], "big")
            fields = sum(bool(flags & flag) for flag in _OPTIONAL)
            return self._check_table(kind, count, start + 8, 4 * fields) if fields else self._check_bare(kind, count)
        if kind in _TABLES:
            place, entry = _TABLES[kind]
            count = int.from_bytes(self._read(start + place, 4), "big")
            return self._check_table(kind, count, start + place + 4, entry)
        return None

    def _check_table(self, kind: bytes, count: int, start: int, entry: float) -> str | None:
        most = int(max(0, self._size - start) // entry) if entry else self._size
        return (
            None
            if count <= most
            else _fault(kind, count, f"there is room for {most:,} at most in {self._size:,} bytes")
        )

    def _check_bare(self, kind: bytes, count: int) -> str | None:
        self._bare += count
        if self._bare <= self._allowed:
            return None
        return _fault(kind, count, f"and {self._size:,} bytes do not hold them")

    def _unpacked(self, at: int, end: int) -> str | None:
        """Check a compressed header, as old QuickTime files have: its boxes are in `cmvd`, after their size."""
        for kind, start, stop in self._boxes(at, end):
            if kind != b"cmvd":
                continue
            stated = int.from_bytes(self._read(start, 4), "big")
            if stated > _MOST_UNPACKED:
                return f"its compressed header states {stated:,} bytes, and {_MOST_UNPACKED:,} are allowed"
            packed = self._read(start + 4, min(stop - start - 4, _MOST_UNPACKED))
            try:
                header = zlib.decompressobj().decompress(packed, _MOST_UNPACKED)
            except zlib.error:
                return None  # FFmpeg cannot read it either
            inner = _Walk(io.BytesIO(header), len(header), whole=True)
            inner._allowed = self._allowed
            return inner.find()
        return None

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        data = b""
        while len(data) < size and (piece := self._file.read(size - len(data))):  # of a remote file, a block a time
            data += piece
        return data


def _fault(kind: bytes, count: int, why: str) -> str:
    return f"its box '{kind.decode('latin-1')}' states {count:,} entries, {why}"
