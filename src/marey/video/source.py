"""Open one video file, here or on another machine, and no other file or device."""

from __future__ import annotations

import io
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from marey.errors import Reason, VideoError
from marey.remote_path import RemotePath, as_path
from marey.video.container_checks import damage_error, has_video_header, starts_like_pointer
from marey.video.declared_counts import check_counts
from marey.video.limits import Deadline, Limits, memory_error
from marey.video.ogg_pages import damaged_pages
from marey.video.reading_process import is_short_of_memory
from marey.video.remote_file import RemoteFile, remote_state
from marey.video.versions import fraction_of, open_input

# Demuxers that read a single file: no playlists, scripts or images (hls, concat, tty, png_pipe, ...).
FORMATS = (
    "3gp,aac,ac3,aiff,asf,avi,dv,flac,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mp3,mp4,mpeg,mpegts,mpegvideo,"
    "mxf,nut,obu,ogg,rm,vc1,wav,webm,wtv,yuv4mpegpipe"
)
_NO_FRAMES: Final = {"skip_frame": "all"}  # otherwise FFmpeg decodes the first frame when it opens a file
_NOWHERE: Final = -1
_BUFFER_SIZE: Final = 1 << 17  # bytes that FFmpeg requests from Python at a time
_WORTH_THREADS: Final = 640 * 480  # pixels: below, threads wait for each other (two at 320 x 240: twice the work)
GENERATE_PTS = 1  # AVFMT_FLAG_GENPTS, which PyAV sets: it invents wrong timestamps for B-frames in AVI

FALLBACK_FRAME_RATE = Fraction(25)
MAX_FRAME_RATE = 10_000
"""Frames per second of the fastest cameras; a higher stated rate is the tick of a clock."""
MAX_DURATION: Final = 366 * 86_400.0
"""Seconds in a year: a file that states more has a wrong clock."""
BROADCAST_FORMATS = ("mpegts", "mpeg")
"""Formats of recorded broadcasts, which may start between two key frames and state no duration."""
RAW_FORMATS: Final = ("h264", "hevc", "mjpeg")
"""Formats without a container, for which FFmpeg fills in 25 frames a second; the stream itself may state a rate."""
ZERO_BASED_FORMAT = "matroska,"
"""The format whose duration counts from the time 0, not from the first frame."""


_Stream = TypeVar("_Stream", VideoStream, AudioStream)
VideoPacket: TypeAlias = "Packet[VideoStream]"
MakeError: TypeAlias = Callable[..., VideoError]
"""Returns the error of a damaged source, from a description and, optionally, its cause."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open file or URL and its video stream; errors use its name.

    Attributes:
        damaged: where parts of the container begin that fail their checksum, in bytes from its start.
    """

    name: str
    damage_error: MakeError
    container: InputContainer
    stream: VideoStream
    time_base: Fraction
    frame_rate: Fraction
    stated_duration: float | None
    limits: Limits
    deadline: Deadline
    damaged: frozenset[int] = frozenset()

    @property
    def path(self) -> Path:
        """The file."""
        return as_path(self.name)

    def error(self, reason: Reason, detail: str) -> VideoError:
        """Return the error of a source that cannot be used."""
        return VideoError(self.name, reason, detail)

    def is_damaged(self, packet: VideoPacket) -> bool:
        """Return whether the container shows that a packet is damaged, or that one before it is missing."""
        return packet.is_corrupt or packet.pos in self.damaged

    @property
    def frame_period(self) -> float:
        """Seconds from one frame to the next, for frames that state no duration."""
        return float(1 / self.frame_rate)


class _LocalFile(io.RawIOBase):
    """A file that FFmpeg reads through Python, so that the deadline is checked.

    Of the errors that are raised while FFmpeg works, PyAV keeps one and prints the others: so the deadline is raised
    once, then reading ends; and a place that no file has is refused with a number, as FFmpeg does it.
    """

    def __init__(self, path: Path, deadline: Deadline) -> None:
        self._file = path.open("rb", buffering=0)
        self._deadline = deadline
        self._late = False

    def read(self, size: int = -1) -> bytes:
        return b"" if self._is_late() else self._file.read(size) or b""

    def seek(self, offset: int, whence: int = 0) -> int:
        if self._is_late():
            return _NOWHERE
        try:
            return self._file.seek(offset, whence)
        except (OSError, OverflowError):  # negative, or beyond what the system counts to
            return _NOWHERE

    def _is_late(self) -> bool:
        """Raise that the deadline is over; return true if that was raised before."""
        if self._late:
            return self._deadline.left < 0
        try:
            self._deadline.check()
        except VideoError:
            self._late = True
            raise
        return False

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    seekable = readable

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def open_video(path: str | Path, limits: Limits, *, threads: int = 1, headers_only: bool = False) -> Iterator[Source]:
    """Open the video stream of a file; of several, the one that FFmpeg takes for the best.

    Only that file is read, and no other that a playlist, a script or a reference inside it names.

    Args:
        path: the file, or its URL on another machine (s3, gs, az, hf, http, https), of which only those bytes are
            read that are needed.
        limits: limits of reading.
        threads: maximum number of decoder threads, one frame each; small frames use one thread.
        headers_only: decode no frames when opening. FFmpeg then does not know their order, which
            does not matter where only key frames are read.

    Raises:
        VideoError: the file, or a part that is read inside the `with`, cannot be used.
    """
    path = as_path(path)
    deadline = Deadline(path, limits.timeout)
    if not isinstance(path, RemotePath):
        _check_file(path, limits)

    def make_error(detail: str, _cause: Exception | None = None) -> VideoError:
        return memory_error(path) if is_short_of_memory() else damage_error(path, detail)

    with (
        translate_errors(path, deadline),
        _open_file(path, deadline, limits) as file,
        _checked(path, file) as damaged,
        _open_container(path, file, headers_only) as container,
    ):
        source = replace(choose_stream(str(path), container, limits, deadline, make_error), damaged=damaged)
        codec = source.stream.codec_context
        # For MPEG-4, times follow from the order of packets (`PacketFilter`); threads would delay it.
        if threads > 1 and codec.width * codec.height >= _WORTH_THREADS and codec.name != "mpeg4":
            codec.thread_type, codec.thread_count = "FRAME", threads
        yield source
        if isinstance(file, RemoteFile):
            file.check_unchanged()


@contextmanager
def translate_errors(path: Path, deadline: Deadline) -> Iterator[None]:
    """Raise errors of FFmpeg or the system while a file is read as `VideoError`.

    Raises:
        VideoError: the file cannot be read any further.
    """
    try:
        yield
    except MemoryError as error:  # also FFmpeg's
        raise memory_error(path) from error
    except (av.FFmpegError, OSError) as error:
        deadline.check()
        raise damage_error(path, f"it cannot be read any further: {error.strerror}") from error


def demux(source: Source, stream: _Stream) -> Iterator[Packet[_Stream]]:
    """Yield the packets of a stream, and at the end the empty ones that flush its decoder."""
    with suppress(IndexError):  # raised by PyAV at the end, where a stream appeared later on
        yield from source.container.demux(stream)


def _open_file(path: Path, deadline: Deadline, limits: Limits) -> io.RawIOBase:
    if not isinstance(path, RemotePath):
        return _LocalFile(path, deadline)
    file = RemoteFile(path, deadline)
    _check_size(path, file.state.size, limits)
    return file


def _check_file(path: Path, limits: Limits) -> None:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise VideoError(path, "missing", f"it cannot be opened: {why}") from error
    if stat.S_ISDIR(status.st_mode):
        raise VideoError(path, "not_video", "it is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(path, "not_video", "it is a device or a pipe, not a file")
    _check_size(path, status.st_size, limits)


def _check_size(path: Path, size: int, limits: Limits) -> None:
    if size == 0:
        raise VideoError(path, "empty", "the file has 0 bytes")
    if size > limits.max_bytes:
        raise VideoError(path, "too_large", f"the file has {size:,} bytes, and {limits.max_bytes:,} are allowed")


@contextmanager
def _checked(path: Path, file: io.RawIOBase) -> Iterator[frozenset[int]]:
    """Check the counts in the header of an open file, and yield where it is damaged by its own checksums.

    Of a file on another machine only the counts are checked, up to its first fragment.
    """
    if isinstance(file, RemoteFile):
        check_counts(path, file, file.state.size, file.state.version or None, whole=False)
        damaged: frozenset[int] = frozenset()
    else:
        check_counts(path, file, path.stat().st_size, file_state(path))
        damaged = damaged_pages(path, file, file_state(path))
    file.seek(0)
    yield damaged


def _open_container(path: Path, file: io.RawIOBase, headers_only: bool) -> InputContainer:
    try:
        container = open_input(
            file,
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": "none"},
            options=_NO_FRAMES if headers_only else {},
            buffer_size=_BUFFER_SIZE,
            io_open=refuse_other_files,
        )
    except av.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        if has_video_header(path):
            raise damage_error(path, "its header is that of a video, but the rest cannot be read") from error
        if starts_like_pointer(path):
            raise VideoError(
                path, "not_video", "it is a pointer of Git LFS, not the video: run `git lfs pull` in its repository"
            ) from error
        raise VideoError(path, "not_video", "its start is that of no known video format") from error
    container.flags &= ~GENERATE_PTS
    return container


def refuse_other_files(url: str, *_: Any) -> NoReturn:
    """Prevent FFmpeg from opening a file that a video refers to."""
    raise PermissionError(f"a video may not open another file: {url}")


def choose_stream(
    name: str, container: InputContainer, limits: Limits, deadline: Deadline, make_error: MakeError
) -> Source:
    """Return the video stream of a container that FFmpeg takes for the best, as a source.

    Raises:
        VideoError: there is no video stream that can be used.
    """
    streams = video_streams(container)
    if not streams:
        others = sorted({stream.type for stream in container.streams} - {"video"})
        raise VideoError(name, "no_video_stream", f"it holds {' and '.join(others) or 'nothing'}, and no video")
    best = container.streams.best("video")
    stream = next((each for each in streams if best is not None and each.index == best.index), streams[0])
    stated = _stated_duration(container, stream)
    check_duration(name, stated or 0.0)
    codec = stream.codec_context
    if codec is None:
        raise VideoError(name, "no_frames", "there is no decoder for its video stream")
    stream.thread_type = "NONE"  # files are decoded in parallel: threads within one file cost more than they gain
    check_frame_size(name, codec.width, codec.height, limits)
    codec.options = {"max_pixels": str(limits.max_pixels)}
    return Source(
        name=name,
        damage_error=make_error,
        container=container,
        stream=stream,
        time_base=fraction_of(stream.time_base) or Fraction(1, 1000),
        frame_rate=_frame_rate(container, stream),
        stated_duration=stated,
        limits=limits,
        deadline=deadline,
    )


def file_state(path: Path) -> tuple[int | str, ...] | None:
    """Return values that change when a file does, for a cache; None where it cannot be looked at.

    Raises:
        VideoError: a file on another machine cannot be looked up.
    """
    if isinstance(path, RemotePath):
        found = remote_state(path)
        return found.size, found.version or time.monotonic_ns()
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video streams of a container, without the cover image of an audio file."""
    covers = av.stream.Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & covers]


def check_duration(name: str, seconds: float) -> None:
    """Raise `VideoError` (`corrupt`) if a video would last longer than a year, or a frame be that late."""
    if not seconds <= MAX_DURATION:
        raise VideoError(name, "corrupt", f"its clock is wrong: by it, the video lasts {seconds:.4g} s, over a year")


def check_frame_size(name: str, width: int, height: int, limits: Limits) -> None:
    """Raise `VideoError` (`too_large`) if a frame has more pixels than the limits allow."""
    if width * height > limits.max_pixels:
        raise VideoError(
            name, "too_large", f"a frame has {width} x {height} pixels, and {limits.max_pixels:,} are allowed"
        )


def states_frame_rate(container: InputContainer, stream: VideoStream) -> bool:
    """Return whether a file states how many frames a second it has."""
    if container.format.name in RAW_FORMATS:
        return bool(stream.codec_context.framerate)
    return bool(stream.average_rate or stream.guessed_rate)


def _frame_rate(container: InputContainer, stream: VideoStream) -> Fraction:
    """Return frames per second: the stated rate if it is plausible, else a default."""
    if not states_frame_rate(container, stream):
        return FALLBACK_FRAME_RATE
    mean = None if container.format.name in RAW_FORMATS else fraction_of(stream.average_rate)
    stated = (mean, fraction_of(stream.guessed_rate))
    return next((rate for rate in stated if rate is not None and 0 < rate <= MAX_FRAME_RATE), FALLBACK_FRAME_RATE)


def _stated_duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the stated seconds of video; those of the container if it has no other stream."""
    if container.format.name.startswith(BROADCAST_FORMATS):
        return None  # FFmpeg's own estimate, from the first timestamp to the last
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # Matroska
    if tag:
        hours, minutes, seconds = map(float, tag.groups())  # not int: of some hundred digits they have no float
        return 3600 * hours + 60 * minutes + seconds
    # FFmpeg may give every stream of a Matroska file the duration of the longest
    if stream.duration and stream.time_base and not container.format.name.startswith(ZERO_BASED_FORMAT):
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return None
