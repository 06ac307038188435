"""Read the properties of a video file, and its irregularities."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av

from marey.remote_path import as_path
from marey.video.container_checks import damage_error, find_truncation
from marey.video.conversion import HDR
from marey.video.limits import Limits
from marey.video.orientation import orientation, upright_size
from marey.video.reader import Reader, ends_early, truncation_error
from marey.video.reading_process import is_apart, read_apart
from marey.video.source import (
    MAX_FRAME_RATE,
    Source,
    check_duration,
    demux,
    file_state,
    open_video,
    states_frame_rate,
    video_streams,
)
from marey.video.video_end import VideoEnd

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
        mirrored: whether left and right of the stored frame are exchanged before it is turned.
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
    mirrored: bool = False


def probe(path: str | Path, *, limits: Limits = Limits()) -> VideoInfo:  # noqa: B008 - frozen
    """Read the header, the first frame and the last packets of a video file.

    Damage between the first second and the last is found by decoding, not here. The result is
    cached until the file changes.

    Raises:
        VideoError: the file cannot be used, with the reason.
    """
    file = as_path(path)
    return _probe(file, file_state(file), limits)


@lru_cache(maxsize=1 << 14)
def _probe(path: Path, _state: tuple[int | str, ...] | None, limits: Limits) -> VideoInfo:
    if is_apart(limits):
        found, _ = read_apart("probe", path, limits)
        return VideoInfo(path=path, **{**found, "faults": tuple(found["faults"])})
    with open_video(path, limits) as source:
        reader = Reader(source)
        first = reader.first.image
        height, width = upright_size(first)
        faults = []
        if first.pts is None and first.dts is None:
            faults.append("its frames have no timestamps; they are placed by the frame rate")
        turned = orientation(first)
        if turned.degrees % 90:
            faults.append(f"it states a turn of {turned.degrees} degrees, which is not a quarter turn")
        if first.interlaced_frame:
            faults.append("its frames are interlaced: one field of each is read")
        if int(first.color_trc) in HDR:
            faults.append(f"it is HDR ({HDR[int(first.color_trc)]}), and converted to BT.709")
        missing = find_truncation(source.path)
        if missing is not None:
            faults.append(f"the file was cut off: {missing}")
        others = len(video_streams(source.container)) - 1
        if others:
            faults.append(f"it has {others + 1} video streams; stream {source.stream.index} is read")
        duration = _duration(source, reader, faults)
        check_duration(source.name, duration)
        if duration < 1 / MAX_FRAME_RATE:
            raise source.error("corrupt", f"its clock is wrong: by it, the whole video lasts {duration:.3g} s")
        if not source.stream.frames:
            faults.append("no frame count is stated")
        if not states_frame_rate(source.container, source.stream):
            faults.append(
                f"no frame rate is stated; {float(source.frame_rate):g} a second are assumed (marey data import "
                "--frame-rate states it)"
            )
        return VideoInfo(
            path=source.path,
            duration=duration,
            frame_rate=float(source.frame_rate),
            width=width,
            height=height,
            rotation=turned.rotation,
            codec=source.stream.codec_context.name,
            container=source.container.format.name,
            frame_count=source.stream.frames or None,
            has_audio=bool(source.container.streams.audio),
            faults=tuple(faults),
            mirrored=turned.mirrored,
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
    ends = VideoEnd(source)
    for packet in demux(source, source.stream):
        source.deadline.check()
        pts = packet.pts if packet.pts is not None else packet.dts
        if packet.size and pts is None:
            reader.packets += 1
        elif pts is not None and not packet.is_corrupt:
            ends.add(reader.to_seconds(pts), float((packet.duration or 0) * source.time_base))
    source.deadline.check()
    return ends.end
