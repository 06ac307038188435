"""Open one local video file, and nothing else."""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, Protocol, TypeAlias, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from marey.errors import Reason, VideoError
from marey.video.faults import damaged, is_video_header
from marey.video.limits import Deadline, Limits
from marey.video.versions import fraction_of, open_input

# Demuxers that read one file: no playlists, scripts or pictures (hls, concat, tty, png_pipe, ...).
FORMATS = (
    "3gp,aac,ac3,aiff,asf,avi,dv,flac,flv,gif,h264,hevc,ivf,m4v,matroska,mov,mp3,mp4,mpeg,mpegts,mpegvideo,"
    "mxf,nut,obu,ogg,rm,vc1,wav,webm,wtv,yuv4mpegpipe"
)
_NO_FRAMES: Final = {"skip_frame": "all"}  # without it FFmpeg decodes the first frame, to look at it
_READ_AT_ONCE: Final = 1 << 17  # bytes: FFmpeg asks Python for more each time that it has read so many
_WORTH_THREADS: Final = 640 * 480  # pixels: below it, threads wait for each other (two at 320 x 240: twice the work)
GENERATE_PTS = 1  # AVFMT_FLAG_GENPTS, which PyAV sets: it invents wrong times for B-frames in AVI

FALLBACK_FRAME_RATE = Fraction(25)
FASTEST = 10_000
"""Frames per second of the fastest cameras; what states more means the tick of its clock."""
STARTS_ANYWHERE = ("mpegts", "mpeg")
"""Formats of recorded broadcasts, which begin between two keyframes and state no duration."""
COUNTS_FROM_ZERO = "matroska,"
"""The format whose duration counts from the time 0, wherever the video starts."""


_Stream = TypeVar("_Stream", VideoStream, AudioStream)
VideoPacket: TypeAlias = "Packet[VideoStream]"


class Fault(Protocol):
    """Makes the error of a source that breaks."""

    def __call__(self, detail: str, cause: Exception | None = None) -> VideoError:
        """An error that says what was seen, from what FFmpeg or the system says of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open file or address with the stream that is looked at; errors call it by its name."""

    name: str
    damaged: Fault
    container: InputContainer
    stream: VideoStream
    time_base: Fraction
    frame_rate: Fraction
    stated_duration: float | None
    limits: Limits
    deadline: Deadline

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.name)

    def error(self, reason: Reason, detail: str) -> VideoError:
        """The error of a source that cannot be used."""
        return VideoError(self.name, reason, detail)

    @property
    def frame_period(self) -> float:
        """Seconds that a frame lasts, where it does not say so itself."""
        return float(1 / self.frame_rate)


class _LocalFile(io.RawIOBase):
    """A file as FFmpeg may read it: until the time is up."""

    def __init__(self, path: Path, deadline: Deadline) -> None:
        self._file = path.open("rb", buffering=0)
        self._deadline = deadline

    def read(self, size: int = -1) -> bytes:
        self._deadline.check()
        return self._file.read(size) or b""

    def seek(self, offset: int, whence: int = 0) -> int:
        self._deadline.check()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


Depth = Literal["frames", "headers"]
"""How far opening looks into a file: FFmpeg decodes the first frames to see how they are ordered, or none."""


@contextmanager
def open_video(path: str | Path, limits: Limits, *, threads: int = 1, depth: Depth = "frames") -> Iterator[Source]:
    """Open the first real video stream of a local file.

    Nothing but that file is read: not what a playlist, a script or a reference inside it names.

    Args:
        path: the file.
        limits: what reading it may cost.
        threads: the most that the decoder may have, each with a frame of its own; small pictures take one.
        depth: "headers" for reading key frames alone, whose order does not matter.

    Raises:
        VideoError: whatever keeps the file, or what is read of it inside the `with`, from being used.
    """
    path = Path(path)
    deadline = Deadline(path, limits.timeout)
    _check_file(path, limits)

    def fault(detail: str, cause: Exception | None = None) -> VideoError:
        return damaged(path, detail)

    with reading(path, deadline), _LocalFile(path, deadline) as file, _open_container(path, file, depth) as container:
        source = choose_stream(str(path), container, limits, deadline, fault)
        codec = source.stream.codec_context
        # Of MPEG-4 the order of packets tells the time of frames (`Need`), which threads would hold back.
        if threads > 1 and codec.width * codec.height >= _WORTH_THREADS and codec.name != "mpeg4":
            codec.thread_type, codec.thread_count = "FRAME", threads
        yield source


@contextmanager
def reading(path: Path, deadline: Deadline) -> Iterator[None]:
    """Say in marey's words why a file cannot be read any further.

    Raises:
        VideoError: in place of what FFmpeg or the system raises.
    """
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        deadline.check()
        raise damaged(path, f"it cannot be read any further: {error.strerror}") from error


def demux(source: Source, stream: _Stream) -> Iterator[Packet[_Stream]]:
    """The packets of a stream, and the empty ones that flush its decoder."""
    with suppress(IndexError):  # PyAV's, at the end, over a stream that appeared on the way: ours is through by then
        yield from source.container.demux(stream)


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
    if status.st_size == 0:
        raise VideoError(path, "empty", "the file has 0 bytes")
    if status.st_size > limits.max_bytes:
        raise VideoError(
            path, "too_large", f"the file has {status.st_size:,} bytes, and {limits.max_bytes:,} are allowed"
        )


def _open_container(path: Path, file: _LocalFile, depth: Depth) -> InputContainer:
    try:
        container = open_input(
            file,
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": "none"},
            options=_NO_FRAMES if depth == "headers" else {},
            buffer_size=_READ_AT_ONCE,
            io_open=refuse,
        )
    except av.FFmpegError as error:
        if is_video_header(path):
            raise damaged(path, "its header is a video's, and what follows cannot be read") from error
        raise VideoError(path, "not_video", "no video format that is known starts like this file") from error
    container.flags &= ~GENERATE_PTS
    return container


def refuse(url: str, *_: Any) -> NoReturn:
    """Keep FFmpeg from opening what a video names."""
    raise PermissionError(f"a video may not open another file: {url}")


def choose_stream(name: str, container: InputContainer, limits: Limits, deadline: Deadline, fault: Fault) -> Source:
    """The first real video stream of what was opened.

    Raises:
        VideoError: there is none that can be used.
    """
    covers = av.stream.Disposition.attached_pic  # the cover of a song is a picture, not a video
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        others = sorted({stream.type for stream in container.streams} - {"video"})
        raise VideoError(name, "no_video_stream", f"it holds {' and '.join(others) or 'nothing'}, and no video")
    stream = streams[0]
    if stream.codec_context is None:
        raise VideoError(name, "no_frames", "there is no decoder for its video stream")
    stream.thread_type = "NONE"  # files are decoded side by side: threads within one cost more than they win
    pixels = stream.codec_context.width * stream.codec_context.height
    if pixels > limits.max_pixels:
        raise VideoError(
            name,
            "too_large",
            f"a picture has {stream.codec_context.width} x {stream.codec_context.height} pixels, "
            f"and {limits.max_pixels:,} are allowed",
        )
    stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}
    time_base = fraction_of(stream.time_base) or Fraction(1, 1000)
    return Source(
        name=name,
        damaged=fault,
        container=container,
        stream=stream,
        time_base=time_base,
        frame_rate=_frame_rate(stream),
        stated_duration=_stated_duration(container, stream),
        limits=limits,
        deadline=deadline,
    )


def _frame_rate(stream: VideoStream) -> Fraction:
    """Frames per second, where what is stated can be one."""
    stated = (fraction_of(stream.average_rate), fraction_of(stream.guessed_rate))
    return next((rate for rate in stated if rate is not None and 0 < rate <= FASTEST), FALLBACK_FRAME_RATE)


def _stated_duration(container: InputContainer, stream: VideoStream) -> float | None:
    """What the file says of the video's duration; of the container's only where nothing else is in it."""
    if container.format.name.startswith(STARTS_ANYWHERE):
        return None  # FFmpeg's own guess, from the first timestamp to the last
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # Matroska
    if tag:
        hours, minutes, seconds = tag.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    # FFmpeg may give every stream of a Matroska file the duration of the longest
    if stream.duration and stream.time_base and not container.format.name.startswith(COUNTS_FROM_ZERO):
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return None
