"""How many damaged files give other frames without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import av
import numpy as np
from av.video.stream import VideoStream

from marey.errors import VideoError
from marey.synthetic import FRAME_RATE, draw
from marey.video import decode
from measure import Line, Setting

_FILES: Final = 100  # of each kind
_SECONDS: Final = 2.0
_PACKET: Final = 188  # bytes of a packet of a transport stream
_SHOWN: Final = 0.01  # of 255: a smaller difference of a frame is none
_FORMATS: Final = {  # suffix -> codec, container, and whether the container shows all damage to its frames
    "ogv": ("libvpx", "ogg", True),
    "ts": ("libx264", "mpegts", False),
    "mkv": ("libx264", "matroska", False),
    "mp4": ("libx264", "mp4", False),
    "webm": ("libvpx-vp9", "webm", False),
    "avi": ("mpeg4", "avi", False),
}


def measure(setting: Setting) -> list[Line]:
    """Files with a changed bit in each container, and transport streams without one of their packets."""
    lines = []
    for suffix, (codec, container, checked) in _FORMATS.items():
        path = _written(setting.work / f"whole.{suffix}", codec, container)
        lines.append(_line(f"{suffix}, a changed bit", path, _change, at_most=0 if checked else None))
        if suffix == "ts":
            lines.append(_line(f"{suffix}, a packet is missing", path, _leave_out, at_most=None))
    return lines


def _line(
    name: str, path: Path, damage: Callable[[bytearray, np.random.Generator], None], *, at_most: float | None
) -> Line:
    times = np.arange(round(_SECONDS * FRAME_RATE)) / FRAME_RATE
    expected = decode(path, times).data.numpy().astype(np.int16)
    random, found, damaged = np.random.default_rng(0), Counter[str](), path.with_stem("damaged")
    for _ in range(_FILES):
        data = bytearray(path.read_bytes())
        damage(data, random)
        damaged.write_bytes(data)
        try:
            frames = decode(damaged, times).data.numpy()
        except VideoError as error:
            found[error.reason] += 1
        else:
            found["other" if np.abs(frames - expected).mean((1, 2, 3)).max() > _SHOWN else "same"] += 1
    rest = ", ".join(f"{count} {what}" for what, count in sorted(found.items()) if what != "other")
    return Line(
        f"damage: {name}", (float(found["other"]),), f"of {_FILES}", at_most=at_most, note=f"the others: {rest}"
    )


def _change(data: bytearray, random: np.random.Generator) -> None:
    data[random.integers(len(data) // 10, len(data))] ^= 1 << random.integers(8)


def _leave_out(data: bytearray, random: np.random.Generator) -> None:
    at = _PACKET * int(random.integers(10, len(data) // _PACKET - 3))
    del data[at : at + _PACKET]


def _written(path: Path, codec: str, container: str) -> Path:
    frames = draw("walking", actor=1, duration=_SECONDS)
    with av.open(str(path), "w", format=container) as output:
        stream = cast(VideoStream, output.add_stream(codec, rate=round(FRAME_RATE), options={"g": "12"}))
        stream.height, stream.width = frames.shape[-2:]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 400_000
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()), format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path
