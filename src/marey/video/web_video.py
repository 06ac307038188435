"""Copy the video or the stream at a URL into a file, so that it can be read like one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import av

from marey.errors import UsageError, VideoError
from marey.video.limits import Limits
from marey.video.reader import ends_early, truncation_error
from marey.video.source import Source
from marey.video.urls import is_live, open_url, parse_source
from marey.video.versions import states_size

_FORMAT: Final = "matroska"  # which holds nearly every codec
WEB_SUFFIX: Final = ".mkv"
"""The suffix of the files that `fetch_video` writes."""


def fetch_video(
    url: str,
    path: str | Path,
    *,
    seconds: float | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[float], None] | None = None,
) -> str:
    """Copy the video at a URL, or on a web page, with its sound into a Matroska file; nothing is encoded again.

    Args:
        url: http(s)://... of a file, a playlist, or a page that yt-dlp knows; or a stream, rtsp(s):// or rtmp(s)://...
        path: the file to write; an incomplete one is left where this fails.
        seconds: stop after so many seconds of video; a live stream needs this.
        limits: on bytes, and on the wait for each piece.
        on_progress: called with the seconds of video that are copied.

    Returns:
        The name for messages: the URL without a password.

    Raises:
        UsageError: it is no such URL, or a live stream without an end.
        VideoError: the video cannot be fetched, or breaks off.
    """
    live = parse_source(url) if is_live(url) else None
    if live is None or live.kind not in ("http", "rtsp", "rtmp"):
        name = url if live is None else live.name
        raise UsageError(f"'{name}' is no URL that starts with http://, https://, rtsp:// or rtmp://")
    with open_url(live, limits, lambda: False) as source:
        endless = not source.container.duration and not states_size(source.container)
        if endless and seconds is None:
            raise UsageError(f"{live.name} is a live stream without an end: add --max-seconds")
        try:
            end = _copy(source, Path(path), live.name, seconds, limits, on_progress, wait=endless)
        except (av.FFmpegError, OSError) as error:
            if isinstance(error, OSError) and not isinstance(error, av.FFmpegError) and error.filename:
                raise  # the disk, not the network
            raise source.damage_error("it broke off while it was fetched", error) from error
        stated = source.stated_duration
        if seconds is None and stated is not None and ends_early(end, stated):
            raise truncation_error(source, end, stated)
    return live.name


def _copy(
    source: Source,
    path: Path,
    name: str,
    seconds: float | None,
    limits: Limits,
    on_progress: Callable[[float], None] | None,
    *,
    wait: bool,
) -> float:
    """Copy packets; return the end of the last one of the video, in seconds from the first.

    With `wait` they begin at a key frame: a stream is joined between two of them.
    """
    first: float | None = None
    end, size = 0.0, 0
    sounds = source.container.streams.audio[:1]
    with av.open(str(path), "w", format=_FORMAT) as copy:
        copies: dict[int, Any] = {
            stream.index: copy.add_stream_from_template(stream) for stream in (source.stream, *sounds)
        }
        with suppress(IndexError):  # raised by PyAV at the end, where a stream appeared later on
            for packet in source.container.demux(source.stream, *sounds):
                if packet.dts is None and packet.pts is None:
                    continue  # the empty packets at the end
                wait = wait and not (packet.stream.index == source.stream.index and packet.is_keyframe)
                if wait:
                    continue
                size += packet.size
                if size > limits.max_bytes:
                    raise VideoError(name, "too_large", f"it has more than {limits.max_bytes:,} bytes")
                if packet.stream.index == source.stream.index:
                    base = float(source.time_base)
                    at = base * (packet.pts if packet.pts is not None else packet.dts or 0)
                    first = at if first is None else first
                    end = max(end, at - first + base * (packet.duration or 0))
                    if on_progress is not None:
                        on_progress(end)
                packet.stream = copies[packet.stream.index]
                copy.mux(packet)
                if seconds is not None and end >= seconds:
                    break
    return end
