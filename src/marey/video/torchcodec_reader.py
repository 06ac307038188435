"""Decode with TorchCodec the frames that the timestamps of the file select."""

from __future__ import annotations

import importlib
import importlib.util
import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Any, Final

import av
import numpy as np
from av.video.frame import VideoFrame

from marey.errors import UsageError, first_line
from marey.extras import install_command
from marey.remote_path import RemotePath
from marey.video.frames import TIME_TOLERANCE, TimedFrame
from marey.video.orientation import Orientation, orientation
from marey.video.reader import check_end
from marey.video.source import Source, demux

_ERRORS: Final = (RuntimeError, ValueError, IndexError, OSError)


class TorchCodecReader:
    """Reads the frames shown at given timestamps with TorchCodec, by the packets' timestamps.

    The frames are chosen as by `Reader`; a frame with another timestamp is an error.

    Args:
        source: an open file.
        threads: number of decoder threads.

    Raises:
        UsageError: TorchCodec cannot be used here.
        VideoError: the file has no timestamps, or TorchCodec cannot open it.
    """

    def __init__(self, source: Source, *, threads: int) -> None:
        decoders = _import()
        if isinstance(source.path, RemotePath):
            raise UsageError(f"TorchCodec reads local files only: for {source.name}, set sampling.decoder=pyav")
        self._source = source
        slots, self._origin = _read_slots(source)
        self._before = bisect_left(slots, self._origin)  # frames that refer to ones before the start of the file
        self._slots = slots[self._before :]
        try:
            self._decoder: Any = decoders.VideoDecoder(
                str(source.path),
                stream_index=source.stream.index,
                dimension_order="NHWC",
                num_ffmpeg_threads=threads,
            )
        except _ERRORS as error:
            raise source.damage_error(f"TorchCodec cannot read it: {first_line(error)}") from error
        metadata = self._decoder.metadata
        self.first = VideoFrame(metadata.width, metadata.height, "rgb24")  # turned: TorchCodec rotates frames
        aspect = float(source.stream.sample_aspect_ratio or 1)
        self.pixel_aspect = aspect if round(metadata.rotation or 0) % 180 == 0 else 1 / aspect

        # TorchCodec turns a mirrored frame and leaves it mirrored: along one of its edges.
        found = Orientation() if metadata.rotation is None else _orientation(source)
        self._flipped = (slice(None), slice(None, None, -1)) if found.sideways else (slice(None, None, -1),)
        self._mirrored = found.mirrored

    def frames_at(self, timestamps: Sequence[float]) -> Iterator[TimedFrame]:
        """Yield the frame shown at each timestamp: the last one that starts at or before it.

        Args:
            timestamps: seconds from the first frame, ascending.

        Raises:
            VideoError: TorchCodec lacks a frame of the file, or a timestamp is beyond the end.
        """
        tick = float(self._source.time_base)
        ends = [after for _, after in pairwise(self._slots)]
        ends.append(self._slots[-1] + round(self._source.frame_period / tick))
        for timestamp in timestamps:
            self._source.deadline.check()
            latest = self._origin + (timestamp + TIME_TOLERANCE) / tick
            place = max(0, bisect_right(self._slots, latest) - 1)
            slot, end = self._slots[place], ends[place]
            if place == len(self._slots) - 1:
                check_end(self._source, (end - self._origin) * tick, self._source.stated_duration, timestamp)
            time = (slot - self._origin) * tick
            try:
                frame = self._decoder.get_frame_at(self._before + place)
            except _ERRORS as error:
                raise self._source.damage_error(f"decoding failed at {time:.3f} s: {first_line(error)}") from error
            if abs(frame.pts_seconds - slot * tick) > TIME_TOLERANCE:
                raise self._source.damage_error(
                    f"TorchCodec shows another frame than that of {time:.3f} s; decoder 'pyav' may read it"
                )
            pixels = frame.data.numpy()[self._flipped] if self._mirrored else frame.data.numpy()
            image = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            yield TimedFrame(time, (end - self._origin) * tick, image, intact=True)


def require_decoder(decoder: str) -> None:
    """Raise a `UsageError` if a decoder cannot be used on this machine, before any file is read."""
    if decoder == "torchcodec":
        _import()


def _read_slots(source: Source) -> tuple[list[int], int]:
    """Return the timestamps of all frames, ascending, and that of the first key frame."""
    slots: list[int] = []
    origin: int | None = None
    for packet in demux(source, source.stream):
        source.deadline.check()
        if packet.is_discard or not packet.size:
            continue
        if source.is_damaged(packet):
            raise source.damage_error("a packet of its video stream is damaged")
        if packet.pts is None:
            raise source.error(
                "corrupt", "its frames have no timestamps, by which TorchCodec finds them; decoder 'pyav' does without"
            )
        if origin is None and packet.is_keyframe:
            origin = packet.pts
        slots.append(packet.pts)
    if origin is None:
        raise source.error("no_frames", "its video stream holds no frame that can be decoded")
    return sorted(slots), origin


def _orientation(source: Source) -> Orientation:
    """Return how the frames become upright, by decoding the first one."""
    with suppress(av.FFmpegError):
        source.container.seek(0, stream=source.stream)
        for image in source.container.decode(source.stream):
            return orientation(image)
    return Orientation()


def _import() -> Any:
    if importlib.util.find_spec("torchcodec") is None:
        raise UsageError(
            f"decoder='torchcodec' needs FFmpeg's shared libraries, and TorchCodec: {install_command('torchcodec')}"
        )
    return _load()


@cache
def _load() -> Any:
    """Import TorchCodec and read a small video, because some versions load FFmpeg only then."""
    import torch

    try:
        decoders = importlib.import_module("torchcodec.decoders")
        decoders.VideoDecoder(_small_video()).get_frame_at(0)
    except Exception as error:  # errors differ between versions
        why = first_line(error).partition(". ")[0]
        raise UsageError(
            f"TorchCodec is installed and cannot read video here ({why}): install FFmpeg's shared libraries ('apt "
            f"install ffmpeg'), and a TorchCodec that fits PyTorch {torch.__version__}; or leave decoder at 'pyav'"
        ) from error
    return decoders


def _small_video() -> bytes:
    """Return the bytes of a video of one frame: MPEG-4 in Matroska."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()
