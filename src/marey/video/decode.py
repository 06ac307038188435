"""Decode the asked instants of a video, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from av.video.frame import VideoFrame

from marey.errors import UnknownNameError, UsageError
from marey.video.frames import Frames, TimedFrame
from marey.video.keyframes import Keyframes
from marey.video.limits import Limits
from marey.video.picture import Anchor, Converter, Fit, Interpolation
from marey.video.reader import Reader
from marey.video.sampling import Decoder, FrameChoice, check_decoder
from marey.video.source import Source, open_video
from marey.video.torchcodec_reader import TorchCodecReader


def decode(
    path: str | Path,
    instants: Sequence[float] | npt.NDArray[np.float64],
    *,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    anchor: Anchor = "middle",
    interpolation: Interpolation = "bicubic",
    frames: FrameChoice = "exact",
    decoder: Decoder = "pyav",
    threads: int = 1,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Frames:
    """The frames on screen at the given instants.

        frame     |0    |1    |2          |3    |      each from its timestamp to the next
        instant   ^  ^     ^       ^            ^  ^
        shows     0  0     1       2            3  3   (the last frame stays)

    Args:
        path: a local file.
        instants: seconds from the first frame of the video, in any order, repeated or not. Before 0 the first
            frame is on screen; after the end the last one, for half a second or a tenth of the time asked.
        size: (H, W) of the result in pixels; None keeps the upright picture's own.
        fit: "stretch" the picture to the size, or "crop" its largest part of that shape.
        anchor: which part "crop" takes: the middle, the first (left or upper), or the last (right or lower).
        interpolation: how pixels are resized; all but "nearest" average over what a pixel stands for.
        frames: "exact", or "keyframes" for the key frame nearest to each instant, many times faster where those are
            far apart.
        decoder: "pyav", or "torchcodec" where that is installed; the same frames, in slightly different pixels.
        threads: the most that the decoder may have. One is best where files are decoded side by side; more are for a
            file alone, and are used where its pictures are large.
        limits: what reading the file may cost.

    Returns:
        Frames, (T, 3, H, W), in the order of the instants. Memory holds those and a few pictures more.

    Raises:
        VideoError: a frame that is asked for cannot be had; nothing stands in for it.
        UsageError: a value that cannot be meant.
    """
    asked = _check_instants(instants)
    check_options(size, fit, anchor, interpolation)
    check_decoder(frames, decoder)
    if threads < 1:
        raise UsageError(f"threads has to be at least 1, not {threads}")
    order = np.argsort(asked, kind="stable")
    with open_video(path, limits, threads=threads, depth="headers" if frames == "keyframes" else "frames") as source:
        first, pixel_aspect, on_screen = _open(source, frames, decoder, threads)
        convert = Converter(
            first,
            pixel_aspect=pixel_aspect,
            size=size,
            fit=fit,
            anchor=anchor,
            interpolation=interpolation,
        )
        data = torch.empty((len(asked), 3, *convert.size), dtype=torch.uint8)
        pixels = data.numpy()
        timestamps = np.empty(len(asked))
        previous: tuple[object, int] | None = None
        for place, frame in zip(order, on_screen(asked[order].tolist()), strict=True):
            timestamps[place] = frame.time
            if previous is not None and previous[0] is frame:
                pixels[place] = pixels[previous[1]]
            else:
                convert(frame.image, pixels[place])
            previous = frame, place
    return Frames(data, timestamps)


def _open(
    source: Source, frames: FrameChoice, decoder: Decoder, threads: int
) -> tuple[VideoFrame, float, Callable[[list[float]], Iterator[TimedFrame]]]:
    """A picture as the others will be, the width of its pixels over their height, and what gives the frames."""
    if decoder == "torchcodec":
        other = TorchCodecReader(source, threads=threads)
        return other.first, other.pixel_aspect, other.on_screen
    pixel_aspect = float(source.stream.sample_aspect_ratio or 1)
    if frames == "keyframes":
        keyframes = Keyframes(source)
        return keyframes.first.image, pixel_aspect, keyframes.nearest
    reader = Reader(source)
    return reader.first.image, pixel_aspect, reader.on_screen


def _check_instants(instants: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    asked = np.asarray(instants, dtype=np.float64)
    if asked.ndim != 1:
        raise UsageError(f"instants have to be a list of seconds, not an array of shape {asked.shape}")
    if not np.isfinite(asked).all():
        raise UsageError(f"instants have to be finite, not {asked[~np.isfinite(asked)][0]}")
    return asked


def check_options(size: tuple[int, int] | None, fit: str, anchor: str, interpolation: str) -> None:
    """Raise a `UsageError` where a picture cannot be had so."""
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise UsageError(f"size has to be (height, width) in pixels, not {size}")
    if fit not in get_args(Fit):
        raise UnknownNameError("fit", fit, get_args(Fit))
    if anchor not in get_args(Anchor):
        raise UnknownNameError("anchor", anchor, get_args(Anchor))
    if interpolation not in get_args(Interpolation):
        raise UnknownNameError("interpolation", interpolation, get_args(Interpolation))
