"""What a video file is, and what is odd about it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av

from marey.video.faults import cut_off, damaged
from marey.video.limits import Limits
from marey.video.picture import rotation
from marey.video.reader import Reader, ended_early, ends_early
from marey.video.source import Source, demux, open_video

_NEAR_END = 1.0  # s: where to look for the last packet


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video file.

    Attributes:
        path: the file.
        duration: seconds of its video stream.
        frame_rate: mean number of frames a second.
        width: pixels of the upright picture.
        height: pixels of the upright picture.
        rotation: the clockwise turn in degrees that shows the stored picture upright: 0, 90, 180 or 270.
        codec: FFmpeg's name of the video codec.
        container: FFmpeg's name of the file format.
        frame_count: as the container claims; None where it does not.
        has_audio: whether there is sound.
        faults: sentences about what is odd and did not keep the file from being used.
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
    """Look at the header, the first frame and the last packets of a video file.

    Damage between its first and its last second is found by decoding, not here. What was found is kept until the file
    changes.

    Raises:
        VideoError: with the reason why the file cannot be used.
    """
    try:
        state = Path(path).stat()
    except (OSError, ValueError):
        return _look(Path(path), None, limits)
    return _look(Path(path), (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns), limits)


@lru_cache(maxsize=1 << 14)
def _look(path: Path, _state: tuple[int, ...] | None, limits: Limits) -> VideoInfo:
    """What `probe` says; a file is looked at again only after it has changed."""
    with open_video(path, limits) as source:
        reader = Reader(source)
        first = reader.first.image
        turn = rotation(first)
        height, width = (first.height, first.width) if turn % 180 == 0 else (first.width, first.height)
        faults = []
        if first.pts is None and first.dts is None:
            faults.append("its frames have no timestamps; they are placed by the frame rate")
        if first.rotation % 90:
            faults.append(f"it states a turn of {first.rotation} degrees, which is not a quarter turn")
        missing = cut_off(source.path)
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
            rotation=turn,
            codec=source.stream.codec_context.name,
            container=source.container.format.name,
            frame_count=source.stream.frames or None,
            has_audio=bool(source.container.streams.audio),
            faults=tuple(faults),
        )


def _duration(source: Source, reader: Reader, faults: list[str]) -> float:
    """The stated duration where the file lives up to it, the measured one where it states none."""
    measured = _measure(source, reader)
    stated = reader.stated_duration
    if stated is None:
        if cut_off(source.path):
            raise damaged(source.path, f"it ends after {measured:.3f} s")
        faults.append("no duration is stated; it was measured")
        return measured
    if ends_early(measured, stated):
        raise ended_early(source.path, measured, stated)
    if ends_early(stated, measured):
        faults.append(f"it states {stated:.3f} s, and {measured:.3f} s are there")
        return measured
    return stated


def _measure(source: Source, reader: Reader) -> float:
    """Seconds to the end of the last packet, read from near the end where the file allows it."""
    guess = reader.stated_duration or (source.container.duration or 0) / av.time_base
    for stamp in (reader.stamp(max(0.0, guess - _NEAR_END)), reader.start):
        if guess:
            with suppress(av.FFmpegError):
                source.container.seek(stamp, stream=source.stream)
        end = _last_end(source, reader)
        if end is not None:
            return max(end, reader.first.end)
    return reader.packets / float(source.frame_rate)


def _last_end(source: Source, reader: Reader) -> float | None:
    """Seconds to the end of the last packet from here on; None where none follows that has a time."""
    end = None
    for packet in demux(source, source.stream):
        source.deadline.check()
        stamp = packet.pts if packet.pts is not None else packet.dts
        if packet.size and stamp is None:
            reader.packets += 1
        elif stamp is not None and not packet.is_corrupt:
            length = packet.duration or reader.stamp(source.frame_period) - reader.origin
            end = max(end or 0.0, reader.seconds(stamp + length))
    source.deadline.check()
    return end
