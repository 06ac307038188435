"""Write video that every player and browser supports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from marey.atomic import atomic_file
from marey.errors import UsageError
from marey.video.source import MAX_FRAME_RATE

if TYPE_CHECKING:
    import torch

MAX_RATE_DENOMINATOR: Final = 1001
"""Of frame rates that are written: NTSC's 30000/1001, for one."""

X264_PARAMS: Final = "cpu-independent=1"
"""libx264 writes the same bytes on every CPU. Otherwise, its macroblock-tree rate control adds floats
with whichever instructions are available; with AVX-512, two encodes of the same frames differ."""

_BIT_EXACT: Final = 0x0400
"""AVFMT_FLAG_BITEXACT: the file names no versions of libraries, which differ with PyAV."""


def write_video(
    path: str | Path, frames: torch.Tensor | Iterable[torch.Tensor], *, frame_rate: float, crf: int = 23
) -> None:
    """Write frames as an mp4 file: H.264, yuv420p, index at the start (faststart).

    The file appears when it is complete; after an error, the previous file is unchanged. One frame
    is held in memory.

    Args:
        path: the file, which ends in .mp4.
        frames: uint8 (T, 3, H, W), or any iterable of (3, H, W), RGB. If H or W is odd, the last
            row or column is left out, because yuv420p cannot hold it.
        frame_rate: frames per second.
        crf: quality from 0 (lossless) to 51 (worst).

    Raises:
        UsageError: no frames, frames of another type or of different sizes, or a value out of
            range.
    """
    rate = check_encoding(Path(path), frame_rate, crf)
    with mp4_file(Path(path)) as container:
        _encode(container, _video_frames(frames), rate, crf)


def check_encoding(path: Path, frame_rate: float, crf: int) -> Fraction:
    """Check the arguments for writing a video, and return the frame rate as a fraction.

    Raises:
        UsageError: a value out of range, or a path that is not valid.
    """
    if path.suffix.lower() != ".mp4":
        raise UsageError(f"a video is written as .mp4, not as '{path.name}'")
    if not 0 < frame_rate <= MAX_FRAME_RATE:
        raise UsageError(
            f"frame_rate has to be more than 0 and at most {MAX_FRAME_RATE} frames per second, not {frame_rate}"
        )
    if not 0 <= crf <= 51:
        raise UsageError(f"crf has to be from 0 to 51, not {crf}")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} to write {path.name} into")
    return max(Fraction(1, MAX_RATE_DENOMINATOR), Fraction(frame_rate).limit_denominator(MAX_RATE_DENOMINATOR))


@contextmanager
def mp4_file(path: Path) -> Iterator[OutputContainer]:
    """Open an mp4 file for writing; it appears at the end, and after an error nothing is left.

    Raises:
        OSError: the disk is full or the folder may not be written to; it names `path`.
    """
    options = {"movflags": "+faststart"}
    try:
        with atomic_file(path) as part, av.open(str(part), "w", format="mp4", container_options=options) as container:
            container.flags |= _BIT_EXACT
            yield container
    except OSError as error:
        if error.filename == str(path):
            raise OSError(error.errno, f"{error.strerror}; the video could not be written", str(path)) from error
        raise


def add_h264(
    container: OutputContainer,
    *,
    size: tuple[int, int],
    rate: Fraction,
    crf: int,
    threads: int,
    pixels: Literal["yuv420p", "gray", "rgb24"] = "yuv420p",
) -> VideoStream:
    """Add a stream of frames of `size` (H, W); every browser supports the default, with even sides.

    The bytes depend on the number of threads, which is therefore a constant, not the number of
    cores. There are no B-frames: for a file that ends in one, or has a variable frame rate, FFmpeg
    up to 8.0 states a duration that is too long by one frame.
    """
    codec: Literal["libx264", "libx264rgb"] = "libx264rgb" if pixels == "rgb24" else "libx264"
    options = {"crf": str(crf), "preset": "veryfast", "x264-params": X264_PARAMS}
    stream = container.add_stream(codec, rate=rate, options=options)
    stream.height, stream.width, stream.pix_fmt = *size, pixels
    stream.codec_context.thread_count = threads
    stream.codec_context.max_b_frames = 0
    return stream


def _encode(container: OutputContainer, frames: Iterator[VideoFrame], rate: Fraction, crf: int) -> None:
    first = next(frames, None)
    if first is None:
        raise UsageError("there are no frames to write")
    stream = add_h264(container, size=(first.height, first.width), rate=rate, crf=crf, threads=1)
    for index, frame in enumerate(chain([first], frames)):
        if (frame.width, frame.height) != (first.width, first.height):
            raise UsageError(
                f"frame {index} has {frame.height} x {frame.width} pixels, "
                f"and the first has {first.height} x {first.width}"
            )
        frame.pts, frame.time_base = index, 1 / rate
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _video_frames(frames: torch.Tensor | Iterable[torch.Tensor]) -> Iterator[VideoFrame]:
    import torch

    if isinstance(frames, torch.Tensor) and frames.ndim != 4:
        raise UsageError(f"frames have to be (T, 3, H, W), not {tuple(frames.shape)}")
    for index, frame in enumerate(frames):
        if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[0] != 3:
            raise UsageError(f"a frame has to be uint8 (3, H, W); frame {index} is {frame.dtype} {tuple(frame.shape)}")
        height, width = frame.shape[1] // 2 * 2, frame.shape[2] // 2 * 2
        if not height or not width:
            raise UsageError(f"a frame needs at least 2 x 2 pixels; frame {index} has {tuple(frame.shape[1:])}")
        pixels = frame[:, :height, :width].permute(1, 2, 0).contiguous().cpu().numpy()
        yield VideoFrame.from_ndarray(pixels, format="rgb24")
