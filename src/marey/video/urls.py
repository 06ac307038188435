"""Parse and open cameras, URLs and pipes."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import io
import logging
import os
import re
import select
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

import av
from av.container import InputContainer

from marey.errors import UnknownNameError, UsageError, VideoError
from marey.extras import install_command
from marey.remote_path import REMOTE_SCHEMES
from marey.video.limits import Deadline, Limits
from marey.video.source import FORMATS, GENERATE_PTS, Source, choose_stream, refuse_other_files
from marey.video.versions import open_input, states_size

Kind = Literal["camera", "pipe", "rtsp", "rtmp", "http"]

_NETWORK: tuple[Kind, ...] = ("rtsp", "rtmp", "http")
_SCHEMES = {f"{kind}{secure}": kind for kind in _NETWORK for secure in ("", "s")}
# Protocols that FFmpeg may use: a URL never leads to a file of this machine, nor to another device.
_PROTOCOLS: dict[Kind, str] = {
    "camera": "none",
    "rtsp": "rtsp,rtsps,rtp,srtp,udp,tcp,tls",
    "rtmp": "rtmp,rtmps,tcp,tls",
    "http": "http,https,httpproxy,tcp,tls,crypto",
}
_OPTIONS: dict[Kind, dict[str, str]] = {
    "rtsp": {"format_whitelist": "rtsp", "rtsp_flags": "prefer_tcp"},  # UDP loses packets
    "rtmp": {"format_whitelist": "flv,live_flv"},
    "http": {"format_whitelist": f"{FORMATS},hls,mjpeg,mpjpeg,webvtt"},
}
_CAMERA = re.compile(r"\d{1,3}|/dev/video\d{1,3}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_SIGNATURE = re.compile(
    r"([?&](?:x-(?:amz|goog)-[\w-]+|awsaccesskeyid|(?:access_)?token|key|key-pair-id|policy|sig|signature)=)[^&#]+",
    re.I,
)
_TIMELESS = ("h264", "hevc", "mjpeg", "mpjpeg")  # formats without timestamps: the time of arrival beats a guess
_STREAMED = "[protocol~='^(https?$|m3u8)']"  # in yt-dlp's syntax, a single file or a playlist of segments
_ENCRYPTED = ("https:", "rtsps:", "rtmps:")
_POLL = 0.1  # s after which reading a silent pipe notices that it is cancelled


@dataclass(frozen=True, slots=True)
class LiveSource:
    """A camera, URL or pipe.

    Attributes:
        kind: of source.
        url: for FFmpeg.
        name: for messages, without a password or a signature.
    """

    kind: Kind
    url: str = field(repr=False)
    name: str


def is_live(source: str) -> bool:
    """Return whether a source is a camera (`0`, `/dev/video0`), a URL or a pipe (`-`), not a file.

    URLs of object stores (s3, gs, az, hf) are files; those of web servers may be either, and count as live.
    """
    scheme = _SCHEME.match(source)
    if scheme is not None:
        return scheme[1].lower() not in REMOTE_SCHEMES or scheme[1].lower().startswith("http")
    return source == "-" or bool(_CAMERA.fullmatch(source))


def parse_source(source: str) -> LiveSource:
    """Parse the name of a camera, a URL or `-`.

    Raises:
        UsageError: it is none of these, or the scheme of the URL is not supported.
    """
    if source == "-":
        return LiveSource("pipe", source, "standard input")
    if _CAMERA.fullmatch(source):
        path = source if source.startswith("/") else f"/dev/video{int(source)}"
        return LiveSource("camera", path, path)
    scheme = _SCHEME.match(source)
    if scheme is None:
        raise UsageError(f"'{source}' is neither a camera, a URL nor '-' for a pipe; a file is opened with play")
    if scheme[1].lower() not in _SCHEMES:
        raise UnknownNameError("URL scheme", scheme[1], _SCHEMES)
    name = _SIGNATURE.sub(r"\1***", re.sub(r"(://[^/@:]*):[^/]*@", r"\1:***@", source))
    return LiveSource(_SCHEMES[scheme[1].lower()], source, name)


@contextmanager
def open_url(live: LiveSource, limits: Limits, is_cancelled: Callable[[], bool]) -> Iterator[Source]:
    """Open the first video stream of a live source.

    Args:
        live: of any kind.
        limits: the time is for opening, and then for each wait.
        is_cancelled: called while a pipe is silent; returns whether to stop waiting.

    Raises:
        VideoError: it cannot be opened, or reading inside the `with` fails.
    """
    deadline = Deadline(live.name, limits.timeout)

    def make_error(detail: str, cause: Exception | None = None) -> VideoError:
        return _reading_error(live, detail, cause, limits)

    try:
        if live.kind == "pipe":
            opened = _open_pipe(deadline, is_cancelled)
        elif live.kind == "camera":
            opened = _open_camera(live, limits)
        else:
            opened = _open_network(live, limits)
    except (av.FFmpegError, OSError) as error:
        deadline.check()
        raise _opening_error(live, error, limits) from error
    with opened as container:
        container.flags &= ~GENERATE_PTS
        yield choose_stream(live.name, container, limits, deadline, make_error)


def _open_pipe(deadline: Deadline, is_cancelled: Callable[[], bool]) -> InputContainer:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("nothing is piped into this program; '-' reads video from standard input")
    if os.name != "posix":
        raise UsageError("video can be piped in on Linux and macOS only")
    return open_input(
        _Pipe(sys.stdin.fileno(), deadline, is_cancelled),
        container_options={"format_whitelist": f"{FORMATS},mjpeg,mpjpeg", "protocol_whitelist": "none"},
        io_open=refuse_other_files,
    )


def _open_camera(live: LiveSource, limits: Limits) -> InputContainer:
    if not sys.platform.startswith("linux"):
        raise UsageError(
            "cameras are opened on Linux only; elsewhere let ffmpeg pipe it in: "
            "ffmpeg -f avfoundation -i 0 -f matroska - | marey predict MODEL -"
        )
    if not Path(live.url).exists():
        others = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        raise VideoError(live.name, "missing", f"there is no such camera; there are: {others}")
    return open_input(
        live.url,
        format="v4l2",
        container_options={"protocol_whitelist": _PROTOCOLS["camera"]},
        timeout=limits.timeout,
    )


def _open_network(live: LiveSource, limits: Limits) -> InputContainer:
    options = {"protocol_whitelist": _PROTOCOLS[live.kind]} | _OPTIONS[live.kind]
    if live.url.lower().startswith(_ENCRYPTED):
        options |= _tls_options()
    try:
        return _open_stream(live.url, options, limits)
    except av.InvalidDataError:
        if live.kind != "http":
            raise
        url, headers = _find_on_page(live)
        return _open_stream(url, options | _tls_options() | headers, limits)


def _open_stream(url: str, options: dict[str, str], limits: Limits) -> InputContainer:
    container = open_input(url, container_options=options, timeout=limits.timeout)
    if container.format.name not in _TIMELESS or states_size(container):
        return container
    container.close()
    name, options = container.format.name, options | {"use_wallclock_as_timestamps": "1"}
    return open_input(url, format=name, container_options=options, timeout=limits.timeout)


def _tls_options() -> dict[str, str]:
    """Return options with which FFmpeg checks certificates as Python does."""
    file = ssl.get_default_verify_paths().cafile
    return {"tls_verify": "1"} | ({"ca_file": file} if file else {})


def _find_on_page(live: LiveSource) -> tuple[str, dict[str, str]]:
    """Return the URL of the video on a web page, and the FFmpeg options for requesting it."""
    if importlib.util.find_spec("yt_dlp") is None:
        raise VideoError(
            live.name,
            "not_video",
            f"its start is that of no known video format; if it is a page with a video: {install_command('live')}",
        )
    downloader: Any = importlib.import_module("yt_dlp")
    silent = logging.getLogger("marey.yt_dlp")  # otherwise yt-dlp writes to the terminal
    silent.disabled = True
    options = {
        "cachedir": False,
        "color": "never",
        "format": f"bv*[height<=720]{_STREAMED}/bv*{_STREAMED}",
        "noplaylist": True,
        "quiet": True,
        "no_warnings": True,
        "logger": silent,
    }
    try:
        with downloader.YoutubeDL(options) as page:
            found = page.extract_info(live.url, download=False)
    except downloader.utils.YoutubeDLError as error:
        message = str(error).removeprefix("ERROR: ").replace(live.url, live.name)
        raise VideoError(live.name, "not_video", f"no video was found on this page: {message}") from error
    found = next(iter(found.get("entries") or [found]))
    url = str(found.get("url"))
    if urlsplit(url).scheme not in ("http", "https"):
        raise VideoError(live.name, "not_video", "the video of this page cannot be fetched by HTTP")
    headers = "".join(f"{name}: {value}\r\n" for name, value in (found.get("http_headers") or {}).items())
    return url, {"headers": headers}


class _Pipe(io.RawIOBase):
    """Standard input that FFmpeg reads through Python, until the deadline or cancellation."""

    def __init__(self, descriptor: int, deadline: Deadline, is_cancelled: Callable[[], bool]) -> None:
        self._descriptor = descriptor
        self._deadline = deadline
        self._is_cancelled = is_cancelled
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN | select.POLLHUP)

    def read(self, size: int = -1) -> bytes:
        while not self._poll.poll(1000 * _POLL):
            if self._is_cancelled():
                return b""
            self._deadline.check()
        return os.read(self._descriptor, size)

    def readable(self) -> bool:
        return True


def _opening_error(live: LiveSource, error: Exception, limits: Limits) -> VideoError:
    """Return the error of a source that could not be opened."""
    if isinstance(error, av.error.ExitError | TimeoutError):
        return VideoError(live.name, "timeout", f"it did not answer with video within {limits.timeout:g} s")
    if isinstance(error, av.InvalidDataError | EOFError):
        return VideoError(live.name, "not_video", "its start is that of no known video format")
    if getattr(error, "errno", None) == errno.EINVAL:
        return VideoError(live.name, "not_video", "it leads to something that a URL may not open, or to no video")
    host = urlsplit(live.url).hostname if live.kind in _NETWORK else None
    if host and not _resolves(host, live.url):
        return VideoError(
            live.name, "missing", f"the name {host} does not resolve: no network here, or no such host is known"
        )
    hint = ""
    if live.url.lower().startswith(_ENCRYPTED) and getattr(error, "errno", None) == errno.EIO:
        hint = "; perhaps its certificate is not trusted: the variable SSL_CERT_FILE names those that are"
    return VideoError(live.name, "missing", f"it cannot be opened: {_message(error)}{hint}")


def _resolves(host: str, url: str) -> bool:
    """Return whether an address is known of a host; a proxy would know it in our place."""
    if urlsplit(url).scheme.lower() in getproxies():
        return True
    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False


def _reading_error(live: LiveSource, detail: str, cause: Exception | None, limits: Limits) -> VideoError:
    """Return the error of an open source that cannot be read any further."""
    if cause is None or isinstance(cause, av.InvalidDataError):
        return VideoError(live.name, "corrupt", detail)
    if isinstance(cause, av.error.ExitError | TimeoutError):
        return VideoError(live.name, "timeout", f"{detail}: nothing came for {limits.timeout:g} s")
    return VideoError(live.name, "truncated", f"{detail}: {_message(cause)}")


def _message(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
