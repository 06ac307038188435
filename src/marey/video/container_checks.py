"""Checks of a file's size against its own header, to tell truncated files from corrupt ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from marey.errors import VideoError
from marey.video.remote_file import open_binary, size_of

_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"sidx", b"uuid", b"meta")
_LFS = b"version https://git-lfs.github.com/spec/"
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def damage_error(path: Path, detail: str) -> VideoError:
    """Return the error of a damaged file: `truncated` where its end is missing, else `corrupt`."""
    try:
        missing = find_truncation(path)
    except OSError as error:  # it was moved or removed meanwhile
        return VideoError(path, "missing", f"it cannot be opened any more: {error.strerror}")
    if missing is not None:
        return VideoError(path, "truncated", f"{detail}; the file was cut off: {missing}")
    return VideoError(path, "corrupt", detail)


def has_video_header(path: Path) -> bool:
    """Return whether the file starts like MP4, QuickTime, AVI or Matroska."""
    with open_binary(path) as file:
        head = file.read(12)
    return head[4:8] in _BOXES or (head[:4] == b"RIFF" and head[8:] == b"AVI ") or head[:4] == _EBML


def starts_like_pointer(path: Path) -> bool:
    """Return whether the file is the text that Git LFS keeps in the place of a large file."""
    with open_binary(path) as file:
        return file.read(len(_LFS)) == _LFS


def find_truncation(path: Path) -> str | None:
    """Return how much of the file is missing, in words; None if nothing is."""
    size = size_of(path)
    with open_binary(path) as file:
        head = file.read(12)
        if head[4:8] in _BOXES:
            return _check_boxes(file, size)
        if head[:4] == b"RIFF" and len(head) == 12:
            return _compare(int.from_bytes(head[4:8], "little") + 8, size)
        if head[:4] == _EBML:
            return _check_segment(file, size)
    return None


def _compare(stated: int, size: int) -> str | None:
    return f"{size:,} of {stated:,} bytes are here" if stated > size else None


def _check_boxes(file: BinaryIO, size: int) -> str | None:
    """Check the boxes of an MP4 or QuickTime file (ISO/IEC 14496-12, 4.2)."""
    at, kinds = 0, set()
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - at
        if length < 8 or not kind.isalnum():
            return None  # corrupt, but not truncated
        kinds.add(kind)
        if at + length > size:
            return _compare(at + length, size)
        at += length
    return None if b"moov" in kinds else f"its index (moov) is missing after {size:,} bytes"


def _check_segment(file: BinaryIO, size: int) -> str | None:
    """Compare the size of a Matroska file with that of its segment (RFC 9559; RFC 8794, 4)."""
    file.seek(4)
    header = _variable_integer(file)
    if header is None or header > size:
        return None
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return None
    segment = _variable_integer(file)
    return None if segment is None else _compare(file.tell() + segment, size)


def _variable_integer(file: BinaryIO) -> int | None:
    """Read an EBML integer; None if it is 'unknown' or cannot be read."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    extra = 8 - first[0].bit_length()
    rest = file.read(extra)
    value = int.from_bytes(first + rest, "big") & ((1 << 7 * (extra + 1)) - 1)
    return None if len(rest) < extra or value == (1 << 7 * (extra + 1)) - 1 else value
