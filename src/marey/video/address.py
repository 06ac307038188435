"""Cameras, addresses and pipes: what a source string means, and how it is opened."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import io
import os
import re
import select
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from marey.errors import UnknownNameError, UsageError, VideoError
from marey.extras import install_command
from marey.video.limits import Deadline, Limits
from marey.video.source import FORMATS, GENERATE_PTS, Source, choose_stream, refuse
from marey.video.versions import open_input, states_size

Kind = Literal["camera", "pipe", "rtsp", "rtmp", "http"]

_SCHEMES: dict[str, Kind] = {
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "rtmp": "rtmp",
    "rtmps": "rtmp",
    "http": "http",
    "https": "http",
}
# What FFmpeg may speak and read: an address never leads to a file of this machine, nor to another device.
_PROTOCOLS: dict[Kind, str] = {
    "camera": "none",
    "rtsp": "rtsp,rtsps,rtp,srtp,udp,tcp,tls",
    "rtmp": "rtmp,rtmps,tcp,tls",
    "http": "http,https,httpproxy,tcp,tls,crypto",
}
_CAMERA = re.compile(r"\d{1,3}|/dev/video\d{1,3}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_TIMELESS = ("h264", "hevc", "mjpeg", "mpjpeg")  # pictures and no times: those of their arrival are better than a guess
_STREAMED = "[protocol~='^(https?$|m3u8)']"  # yt-dlp's words for one file, and for a playlist of pieces
_ENCRYPTED = ("https:", "rtsps:", "rtmps:")
_POLL = 0.1  # s: how soon a pipe that stays silent notices that nobody reads any more


@dataclass(frozen=True, slots=True)
class Address:
    """What a source string means.

    Attributes:
        kind: what is opened.
        url: as FFmpeg is told it.
        name: as people are told it: without a password.
    """

    kind: Kind
    url: str
    name: str


def is_live(source: str) -> bool:
    """Whether a source is a camera (`0`, `/dev/video0`), an address (`rtsp://...`) or a pipe (`-`), and not a file."""
    return source == "-" or bool(_CAMERA.fullmatch(source) or _SCHEME.match(source))


def parse_address(source: str) -> Address:
    """What a source string means.

    Raises:
        UsageError: it names no camera, pipe or address, or one of a kind that is not known.
    """
    if source == "-":
        return Address("pipe", source, "standard input")
    if _CAMERA.fullmatch(source):
        path = source if source.startswith("/") else f"/dev/video{int(source)}"
        return Address("camera", path, path)
    scheme = _SCHEME.match(source)
    if scheme is None:
        raise UsageError(f"'{source}' is neither a camera, an address nor '-' for a pipe; a file is opened with play")
    if scheme[1].lower() not in _SCHEMES:
        raise UnknownNameError("kind of address", scheme[1], _SCHEMES)
    return Address(_SCHEMES[scheme[1].lower()], source, re.sub(r"(://[^/@:]*):[^/]*@", r"\1:***@", source))


@contextmanager
def connect(address: Address, limits: Limits, is_over: Callable[[], bool]) -> Iterator[Source]:
    """Open the first video stream of an address.

    Args:
        address: of any kind.
        limits: its time is for opening, and then for each wait.
        is_over: asked while a pipe is silent: whether to stop waiting.

    Raises:
        VideoError: it cannot be opened, or what is read inside the `with` breaks.
    """
    deadline = Deadline(address.name, limits.timeout)

    def fault(detail: str, cause: Exception | None = None) -> VideoError:
        return _broken(address, detail, cause, limits)

    with _open(address, limits, deadline, is_over) as container:
        container.flags &= ~GENERATE_PTS
        yield choose_stream(address.name, container, limits, deadline, fault)


def _open(address: Address, limits: Limits, deadline: Deadline, is_over: Callable[[], bool]) -> InputContainer:
    try:
        if address.kind == "pipe":
            return _open_pipe(deadline, is_over)
        if address.kind == "camera":
            return _open_camera(address, limits)
        return _open_address(address, limits)
    except (av.FFmpegError, OSError) as error:
        deadline.check()
        raise _unopened(address, error, limits) from error


def _open_pipe(deadline: Deadline, is_over: Callable[[], bool]) -> InputContainer:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("nothing is piped into this program; '-' reads video from standard input")
    if os.name != "posix":
        raise UsageError("video can be piped in on Linux and macOS only")
    return open_input(
        _Pipe(sys.stdin.fileno(), deadline, is_over),
        container_options={"format_whitelist": f"{FORMATS},mjpeg,mpjpeg", "protocol_whitelist": "none"},
        io_open=refuse,
    )


def _open_camera(address: Address, limits: Limits) -> InputContainer:
    if not sys.platform.startswith("linux"):
        raise UsageError(
            "cameras are opened on Linux only; elsewhere let ffmpeg pipe it in: "
            "ffmpeg -f avfoundation -i 0 -f matroska - | marey predict MODEL -"
        )
    if not Path(address.url).exists():
        others = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        raise VideoError(address.name, "missing", f"there is no such camera; there are: {others}")
    return open_input(
        address.url,
        format="v4l2",
        container_options={"protocol_whitelist": _PROTOCOLS["camera"]},
        timeout=limits.timeout,
    )


def _open_address(address: Address, limits: Limits) -> InputContainer:
    options = {"protocol_whitelist": _PROTOCOLS[address.kind]}
    if address.kind == "rtsp":
        options |= {"format_whitelist": "rtsp", "rtsp_flags": "prefer_tcp"}  # by udp, packets are lost
    elif address.kind == "rtmp":
        options |= {"format_whitelist": "flv,live_flv"}
    else:
        options |= {"format_whitelist": f"{FORMATS},hls,mjpeg,mpjpeg,webvtt"}
    if address.url.lower().startswith(_ENCRYPTED):
        options |= _trusted()
    try:
        return _open_url(address.url, options, limits)
    except av.InvalidDataError:
        if address.kind != "http":
            raise
        url, headers = _find_on_page(address)
        return _open_url(url, options | _trusted() | headers, limits)


def _open_url(url: str, options: dict[str, str], limits: Limits) -> InputContainer:
    container = open_input(url, container_options=options, timeout=limits.timeout)
    if container.format.name not in _TIMELESS or states_size(container):
        return container
    container.close()
    name, options = container.format.name, options | {"use_wallclock_as_timestamps": "1"}
    return open_input(url, format=name, container_options=options, timeout=limits.timeout)


def _trusted() -> dict[str, str]:
    """Options by which FFmpeg checks certificates as Python does."""
    file = ssl.get_default_verify_paths().cafile
    return {"tls_verify": "1"} | ({"ca_file": file} if file else {})


def _find_on_page(address: Address) -> tuple[str, dict[str, str]]:
    """The address of the video on a page, and the options with which it is asked for."""
    if importlib.util.find_spec("yt_dlp") is None:
        raise VideoError(
            address.name,
            "not_video",
            f"no video format that is known starts like this; if it is a page with a video: {install_command('live')}",
        )
    downloader: Any = importlib.import_module("yt_dlp")
    choice = {
        "cachedir": False,
        "color": "never",
        "format": f"bv*[height<=720]{_STREAMED}/bv*{_STREAMED}",
        "noplaylist": True,
        "quiet": True,
        "no_warnings": True,
        "logger": _Mute(),
    }
    try:
        with downloader.YoutubeDL(choice) as page:
            found = page.extract_info(address.url, download=False)
    except downloader.utils.YoutubeDLError as error:
        words = str(error).removeprefix("ERROR: ").replace(address.url, address.name)
        raise VideoError(address.name, "not_video", f"no video was found on this page: {words}") from error
    found = next(iter(found.get("entries") or [found]))
    url = str(found.get("url"))
    if urlsplit(url).scheme not in ("http", "https"):
        raise VideoError(address.name, "not_video", "the page names no video that is fetched by http")
    headers = "".join(f"{name}: {value}\r\n" for name, value in (found.get("http_headers") or {}).items())
    return url, {"headers": headers}


class _Mute:
    """Takes what yt-dlp would write to the terminal."""

    def debug(self, _: str) -> None:
        pass

    warning = error = debug


class _Pipe(io.RawIOBase):
    """Standard input as FFmpeg may read it: until the time is up, or nobody reads any more."""

    def __init__(self, descriptor: int, deadline: Deadline, is_over: Callable[[], bool]) -> None:
        self._descriptor = descriptor
        self._deadline = deadline
        self._is_over = is_over
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLIN | select.POLLHUP)

    def read(self, size: int = -1) -> bytes:
        while not self._ready.poll(1000 * _POLL):
            if self._is_over():
                return b""
            self._deadline.check()
        return os.read(self._descriptor, size)

    def readable(self) -> bool:
        return True


def _unopened(address: Address, error: Exception, limits: Limits) -> VideoError:
    """The error of an address that could not be opened."""
    if isinstance(error, av.error.ExitError | TimeoutError):
        return VideoError(address.name, "timeout", f"it did not answer with video within {limits.timeout:g} s")
    if isinstance(error, av.InvalidDataError | EOFError):
        return VideoError(address.name, "not_video", "no video format that is known starts like this")
    if getattr(error, "errno", None) == errno.EINVAL:
        return VideoError(
            address.name, "not_video", "it leads to something that an address may not open, or to no video"
        )
    doubt = ""
    if address.url.lower().startswith(_ENCRYPTED) and getattr(error, "errno", None) == errno.EIO:
        doubt = "; perhaps its certificate is not trusted: the variable SSL_CERT_FILE names those that are"
    return VideoError(address.name, "missing", f"it cannot be opened: {_words(error)}{doubt}")


def _broken(address: Address, detail: str, cause: Exception | None, limits: Limits) -> VideoError:
    """The error of an address that was open and cannot be read any further."""
    if cause is None or isinstance(cause, av.InvalidDataError):
        return VideoError(address.name, "corrupt", detail)
    if isinstance(cause, av.error.ExitError | TimeoutError):
        return VideoError(address.name, "timeout", f"{detail}: nothing came for {limits.timeout:g} s")
    return VideoError(address.name, "truncated", f"{detail}: {_words(cause)}")


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
