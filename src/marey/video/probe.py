"""Read the properties of a video file, and its irregularities."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av

from marey.video.container_checks import damage_error, find_truncation
from marey.video.limits import Limits
from marey.video.reader import Reader, ends_early, truncation_error
from marey.video.source import Source, demux, open_video
from marey.video.transform import rotation, upright_size

_NEAR_END = 1.0  # s before the end, where the last packet is searched


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video file.

    Attributes:
        path: the file.
        duration: seconds of its video stream.
        frame_rate: mean number of frames per second.
        width: pixels of the upright frame.
        height: pixels of the upright frame.
        rotation: clockwise rotation in degrees that makes the stored frame upright: 0, 90, 180 or
            270.
        codec: FFmpeg's name of the video codec.
        container: FFmpeg's name of the file format.
        frame_count: as stated by the container; None if not stated.
        has_audio: whether there is an audio stream.
        faults: irregularities that did not prevent using the file, each a sentence.
    """

    path: Path
    duration: float
    frame_rate: float
    width: int
    height: int
    rotation: int
    codec: str
    container: str
    frame_count: int | None
    has_audio: bool
    faults: tuple[str, ...] = ()


def probe(path: str | Path, *, limits: Limits = Limits()) -> VideoInfo:  # noqa: B008 - frozen
    """Read the header, the first frame and the last packets of a video file.

    Damage between the first second and the last is found by decoding, not here. The result is
    cached until the file changes.

    Raises:
        VideoError: the file cannot be used, with the reason.
    """
    try:
        state = Path(path).stat()
    except (OSError, ValueError):
        return _probe(Path(path), None, limits)
    return _probe(Path(path), (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns), limits)


@lru_cache(maxsize=1 << 14)
def _probe(path: Path, _state: tuple[int, ...] | None, limits: Limits) -> VideoInfo:
    with open_video(path, limits) as source:
        reader = Reader(source)
        first = reader.first.image
        height, width = upright_size(first)
        faults = []
        if first.pts is None and first.dts is None:
            faults.append("its frames have no timestamps; they are placed by the frame rate")
        if first.rotation % 90:
            faults.append(f"it states a turn of {first.rotation} degrees, which is not a quarter turn")
        missing = find_truncation(source.path)
        if missing is not None:
            faults.append(f"the file was cut off: {missing}")
        duration = _duration(source, reader, faults)
        if not source.stream.frames:
            faults.append("no frame count is stated")
        if not (source.stream.average_rate or source.stream.guessed_rate):
            faults.append(f"no frame rate is stated; {float(source.frame_rate):g} a second are assumed")
        return VideoInfo(
            path=source.path,
            duration=duration,
            frame_rate=float(source.frame_rate),
            width=width,
            height=height,
            rotation=rotation(first),
            codec=source.stream.codec_context.name,
            container=source.container.format.name,
            frame_count=source.stream.frames or None,
            has_audio=bool(source.container.streams.audio),
            faults=tuple(faults),
        )


def _duration(source: Source, reader: Reader, faults: list[str]) -> float:
    """Return the stated duration if the file reaches it, else the measured one."""
    measured = _measure(source, reader)
    stated = reader.stated_duration
    if stated is None:
        if find_truncation(source.path):
            raise damage_error(source.path, f"it ends after {measured:.3f} s")
        faults.append("no duration is stated; it was measured")
        return measured
    if ends_early(measured, stated):
        raise truncation_error(source, measured, stated)
    if ends_early(stated, measured):
        faults.append(f"it states {stated:.3f} s, and {measured:.3f} s are there")
        return measured
    return stated


def _measure(source: Source, reader: Reader) -> float:
    """Return seconds to the end of the last packet, from near the end of the file if possible."""
    guess = reader.stated_duration or (source.container.duration or 0) / av.time_base
    for pts in (reader.to_pts(max(0.0, guess - _NEAR_END)), reader.start):
        if guess:
            with suppress(av.FFmpegError):
                source.container.seek(pts, stream=source.stream)
        end = _last_end(source, reader)
        if end is not None:
            return max(end, reader.first.end)
    return reader.packets / float(source.frame_rate)


def _last_end(source: Source, reader: Reader) -> float | None:
    """Return seconds to the end of the last packet; None if no packet with a timestamp follows."""
    end = None
    for packet in demux(source, source.stream):
        source.deadline.check()
        pts = packet.pts if packet.pts is not None else packet.dts
        if packet.size and pts is None:
            reader.packets += 1
        elif pts is not None and not packet.is_corrupt:
            length = packet.duration or reader.to_pts(source.frame_period) - reader.origin
            end = max(end or 0.0, reader.to_seconds(pts + length))
    source.deadline.check()
    return end
