"""Small MP4 files made box by box (ISO/IEC 14496-12), whose tables may state what they do not hold."""

from __future__ import annotations

import struct
import zlib

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_WIDTH, _HEIGHT = 160, 120


def numbers(*values: int) -> bytes:
    """Pack values of 32 bits."""
    return struct.pack(f">{len(values)}I", *values)


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box."""
    content = b"".join(parts)
    return numbers(8 + len(content)) + kind + content


def full_box(kind: bytes, flags: int, *parts: bytes) -> bytes:
    """Return a box with version and flags."""
    return box(kind, numbers(flags), *parts)


def tables(**others: bytes) -> bytes:
    """Return the tables of a track with one sample of 10 bytes; those named are replaced or added."""
    usual = {
        "stts": full_box(b"stts", 0, numbers(1, 1, 40)),
        "stsc": full_box(b"stsc", 0, numbers(1, 1, 1, 1)),
        "stsz": full_box(b"stsz", 0, numbers(0, 1, 10)),
        "stco": full_box(b"stco", 0, numbers(1, 40)),
    }
    return b"".join((usual | others).values())


def track(number: int, stbl: bytes) -> bytes:
    """Return a track of MPEG-4 video with these tables."""
    head = full_box(b"tkhd", 7, numbers(0, 0, number, 0, 0, 0, 0, 0, 0), _MATRIX, numbers(_WIDTH << 16, _HEIGHT << 16))
    clock = full_box(b"mdhd", 0, numbers(0, 0, 1000, 0, 0x55C40000))
    kind = full_box(b"hdlr", 0, numbers(0), b"vide", numbers(0, 0, 0), b"v\0")
    entry = box(
        b"mp4v",
        struct.pack(">6xH16xHH", 1, _WIDTH, _HEIGHT),
        struct.pack(">IIIH32xHH", 0x480000, 0x480000, 0, 1, 24, 0xFFFF),
    )
    samples = box(b"stbl", full_box(b"stsd", 0, numbers(1), entry), stbl)
    references = box(b"dinf", full_box(b"dref", 0, numbers(1), full_box(b"url ", 1)))
    media = box(b"minf", full_box(b"vmhd", 1, numbers(0, 0)), references, samples)
    return box(b"trak", head, box(b"mdia", clock, kind, media))


def movie(*parts: bytes) -> bytes:
    """Return the header of a movie."""
    head = full_box(b"mvhd", 0, numbers(0, 0, 1000, 0, 0x10000, 0x1000000, 0, 0), _MATRIX, bytes(24), numbers(9))
    return box(b"moov", head, *parts)


def file_of(*parts: bytes) -> bytes:
    """Return a file: these parts between its type and some bytes of media."""
    return box(b"ftyp", b"isom", numbers(512), b"isomiso2mp41") + b"".join(parts) + box(b"mdat", bytes(100))


def with_tables(*tracks: bytes) -> bytes:
    """Return a file with a track for each of these tables."""
    return file_of(movie(*(track(number, stbl) for number, stbl in enumerate(tracks, 1))))


def in_fragments(count: int, *, tracks: int = 1, fragments: int = 1) -> bytes:
    """Return a file whose fragments state `count` samples for each track, all of one size."""
    empty = tables(
        stts=full_box(b"stts", 0, numbers(0)),
        stsc=full_box(b"stsc", 0, numbers(0)),
        stsz=full_box(b"stsz", 0, numbers(0, 0)),
        stco=full_box(b"stco", 0, numbers(0)),
    )
    every = range(1, tracks + 1)
    extended = box(b"mvex", *(full_box(b"trex", 0, numbers(each, 1, 40, 0, 0)) for each in every))
    runs = [
        box(b"traf", full_box(b"tfhd", 0x20000, numbers(each)), full_box(b"trun", 0, numbers(count))) for each in every
    ]
    fragment = box(b"moof", full_box(b"mfhd", 0, numbers(1)), *runs)
    return file_of(movie(*(track(each, empty) for each in every), extended), *[fragment] * fragments)


def compressed(header: bytes) -> bytes:
    """Return the header of a movie as old QuickTime files have it: packed."""
    packed = box(b"cmvd", numbers(len(header)), zlib.compress(header))
    return box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), packed))
