"""Deterministic mutants of video files: boxes, counts, tags, timestamps, truncation, splices."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

SEEDS: Final = {
    "mp4": ("mp4", "libx264", {}),
    "fragments": ("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "faststart": ("mp4", "mpeg4", {"movflags": "faststart"}),
    "mov": ("mov", "mjpeg", {}),
    "3gp": ("3gp", "mpeg4", {}),
    "avi": ("avi", "mpeg4", {}),
    "avi_mjpeg": ("avi", "mjpeg", {}),
    "matroska": ("matroska", "libx264", {}),
    "webm": ("webm", "libvpx", {}),
    "ts": ("mpegts", "mpeg2video", {}),
    "ts_h264": ("mpegts", "libx264", {}),
    "mpeg": ("mpeg", "mpeg1video", {}),
    "flv": ("flv", "flv", {}),
    "ogg": ("ogg", "libvpx", {}),
    "nut": ("nut", "mpeg4", {}),
    "gif": ("gif", "gif", {}),
    "wmv": ("asf", "wmv2", {}),
    "mxf": ("mxf", "mpeg2video", {}),
    "ivf": ("ivf", "libvpx", {}),
    "h264": ("h264", "libx264", {}),
}
"""Name of a seed -> container, codec, options of the container."""

_FRAMES: Final = 12
_SIDE: Final = (64, 48)
_PIXELS: Final = {"mjpeg": "yuvj420p", "gif": "rgb8"}
_ODD: Final = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 83_000_000, 35_389_440)
"""Values where sums overflow, or that state far more than there is."""
_TAGS: Final = re.compile(rb"[a-zA-Z0-9]{4}")


def write_seeds(folder: Path) -> list[Path]:
    """Write a small video of each container that this FFmpeg has; return their paths."""
    paths = []
    for name, (kind, codec, options) in SEEDS.items():
        if codec not in av.codecs_available or kind not in av.formats_available:
            continue
        path = folder / f"{name}.{kind}"
        with av.open(str(path), "w", format=kind, container_options=options) as container:
            stream: Any = container.add_stream(codec, rate=25)
            stream.width, stream.height = _SIDE
            stream.pix_fmt = _PIXELS.get(codec, "yuv420p")
            stream.codec_context.gop_size = 6
            stream.codec_context.thread_count = 1
            for number in range(_FRAMES):
                image = np.full((_SIDE[1], _SIDE[0], 3), 60, np.uint8)
                image[10:30, 3 * number : 3 * number + 20] = (230, 180, 40)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        paths.append(path)
    return paths


def mutant(seeds: Sequence[bytes], number: int) -> bytes:
    """Return the mutant of a number: one of the seeds after one to three changes, the same on every machine."""
    rng = random.Random(number)  # noqa: S311 - the same each time
    data = bytearray(seeds[number % len(seeds)])
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(_CHANGES)(data, rng, seeds)
        if not data:
            data = bytearray(b"\0")
    return bytes(data[: 1 << 20])


def _near_head(data: bytearray, rng: random.Random) -> int:
    """Choose a place, mostly in the header or the index: the first bytes, the last ones, or beside a tag."""
    tags = [found.start() for found in _TAGS.finditer(data)]
    if tags and rng.random() < 0.6:
        return max(0, min(len(data) - 1, rng.choice(tags) + rng.choice((-8, -4, 4, 8, 12, 16, 20))))
    reach = min(len(data), 1024)
    at = rng.randrange(reach)
    return at if rng.random() < 0.7 else len(data) - 1 - at


def _odd_number(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """Write an odd number of one, two, four or eight bytes: sizes, counts, scales, timestamps."""
    size = rng.choice((1, 2, 4, 4, 4, 8))
    value = rng.choice(_ODD) if size < 8 else rng.choice((*_ODD, 1 << 62, (1 << 64) - 1))
    packed = (value % (1 << 8 * size)).to_bytes(size, rng.choice(("big", "little")))
    at = _near_head(data, rng)
    data[at : at + size] = packed


def _flip(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    for _number in range(rng.randrange(1, 9)):
        data[_near_head(data, rng)] ^= 1 << rng.randrange(8)


def _swap_tags(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """Write one tag of the file over another."""
    tags = [found.start() for found in _TAGS.finditer(data)]
    if len(tags) > 1:
        first, second = rng.choice(tags), rng.choice(tags)
        data[first : first + 4] = data[second : second + 4]


def _truncate(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    del data[rng.randrange(1, len(data) + 1) :]


def _cut(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 4, 8, 188, 512))]


def _double(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """Repeat a part, once or often."""
    at = _near_head(data, rng)
    part = bytes(data[at : at + rng.choice((4, 8, 64, 512))])
    data[at:at] = part * rng.choice((1, 1, 2, 200))


def _splice(data: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    """Put a part of another file in the place of one."""
    other = rng.choice(seeds)
    start = rng.randrange(len(other))
    part = other[start : start + rng.choice((16, 256, 4096))]
    at = rng.randrange(len(data))
    data[at : at + len(part)] = part


def _noise(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    data[at : at + 64] = rng.randbytes(len(data[at : at + 64]))


_CHANGES: Final[tuple[Callable[[bytearray, random.Random, Sequence[bytes]], None], ...]] = (
    _odd_number,
    _odd_number,
    _odd_number,
    _flip,
    _swap_tags,
    _truncate,
    _cut,
    _double,
    _splice,
    _noise,
)
