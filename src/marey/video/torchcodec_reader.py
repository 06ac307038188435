"""TorchCodec as the decoder: the frames that the file's own timestamps promise, in its pixels."""

from __future__ import annotations

import importlib
import importlib.util
import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final

import av
import numpy as np
import torch
from av.video.frame import VideoFrame

from marey.errors import UsageError, first_line
from marey.extras import install_command
from marey.video.frames import TimedFrame
from marey.video.reader import TOLERANCE, check_end
from marey.video.source import Source, demux

_EXACT: Final = 1e-6  # s: how far TorchCodec's time of a frame may lie from the file's


class TorchCodecReader:
    """Asks TorchCodec for the frames on screen, by timestamps that are read from the packets here.

    Which frame is on screen is worked out as `Reader` does; a frame with another timestamp is refused.

    Args:
        source: the file, which has been opened and checked.
        threads: within the decoder.

    Raises:
        UsageError: TorchCodec cannot be used here.
        VideoError: the file has no timestamps, or TorchCodec cannot open it.
    """

    def __init__(self, source: Source, *, threads: int) -> None:
        decoders = _import()
        self._source = source
        slots, self._origin = _read_slots(source)
        self._before = bisect_left(slots, self._origin)  # frames that refer to what came before the file was cut
        self._slots = slots[self._before :]
        try:
            self._decoder: Any = decoders.VideoDecoder(
                str(source.path),
                stream_index=source.stream.index,
                dimension_order="NHWC",
                num_ffmpeg_threads=threads,
            )
        except _FAULTS as error:
            raise source.damaged(f"TorchCodec cannot read it: {first_line(error)}") from error
        shown = self._decoder.metadata
        self.first = VideoFrame(shown.width, shown.height, "rgb24")  # upright, as TorchCodec turns it
        aspect = float(source.stream.sample_aspect_ratio or 1)
        self.pixel_aspect = aspect if round(shown.rotation or 0) % 180 == 0 else 1 / aspect

    def on_screen(self, instants: Sequence[float]) -> Iterator[TimedFrame]:
        """The frame on screen at each instant, the last one that began by then.

        Args:
            instants: seconds from the first frame, ascending.

        Raises:
            VideoError: TorchCodec has not got a frame that the packets promise, or an instant lies beyond the end.
        """
        tick = float(self._source.time_base)
        ends = [after for _, after in pairwise(self._slots)]
        ends.append(self._slots[-1] + round(self._source.frame_period / tick))
        for instant in instants:
            self._source.deadline.check()
            limit = self._origin + (instant + TOLERANCE) / tick
            place = max(0, bisect_right(self._slots, limit) - 1)
            slot, end = self._slots[place], ends[place]
            if place == len(self._slots) - 1:
                check_end(self._source, (end - self._origin) * tick, self._source.stated_duration, instant)
            time = (slot - self._origin) * tick
            try:
                frame = self._decoder.get_frame_at(self._before + place)
            except _FAULTS as error:
                raise self._source.damaged(f"decoding failed at {time:.3f} s: {first_line(error)}") from error
            if abs(frame.pts_seconds - slot * tick) > _EXACT:
                raise self._source.damaged(
                    f"TorchCodec shows another frame than that of {time:.3f} s; decoder 'pyav' may read it"
                )
            image = VideoFrame.from_ndarray(np.ascontiguousarray(frame.data.numpy()), format="rgb24")
            yield TimedFrame(time, (end - self._origin) * tick, image, intact=True)


def require_decoder(decoder: str) -> None:
    """Raise a `UsageError` where a decoder cannot be used on this machine, before any file is read."""
    if decoder == "torchcodec":
        _import()


_FAULTS: Final = (RuntimeError, ValueError, IndexError, OSError)


def _read_slots(source: Source) -> tuple[list[int], int]:
    """The timestamps of all frames, ascending, and that of the first key frame."""
    slots: list[int] = []
    origin: int | None = None
    for packet in demux(source, source.stream):
        source.deadline.check()
        if packet.is_discard or not packet.size:
            continue
        if packet.is_corrupt:
            raise source.damaged("a packet of its video stream is damaged")
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


def _import() -> Any:
    if importlib.util.find_spec("torchcodec") is None:
        raise UsageError(
            f"decoder='torchcodec' needs FFmpeg's shared libraries, and TorchCodec: {install_command('torchcodec')}"
        )
    return _load()


@cache
def _load() -> Any:
    """Import TorchCodec's decoders, and read a small video with them: some versions load FFmpeg only then."""
    try:
        decoders = importlib.import_module("torchcodec.decoders")
        decoders.VideoDecoder(_small_video()).get_frame_at(0)
    except Exception as error:  # it fails in other ways from version to version
        why = first_line(error).partition(". ")[0]
        raise UsageError(
            f"TorchCodec is installed and cannot read video here ({why}): install FFmpeg's shared libraries ('apt "
            f"install ffmpeg'), and a TorchCodec that fits PyTorch {torch.__version__}; or leave decoder at 'pyav'"
        ) from error
    return decoders


def _small_video() -> bytes:
    """Return a video of one frame: MPEG-4 in Matroska."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()
