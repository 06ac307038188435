"""Write imported clips as video without loss, and the manifest that lists them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from marey.atomic import TEMP_SUFFIX, write_atomic
from marey.data.clip import Clip, Manifest, Part
from marey.data.groups import assign_groups
from marey.data.manifest import write_manifest
from marey.data.scan import ScanRow, write_quarantine
from marey.data.text import join_first, pluralize
from marey.errors import DatasetError, UsageError, VideoError
from marey.video.encode import MAX_RATE_DENOMINATOR, add_h264, mp4_file

Image = npt.NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) RGB."""

Unusable = Literal["stop", "leave-out"]
"""Treatment of clips that cannot be used: raise an error that names them, or leave them out and list them."""

LEFT_OUT: Final = "left_out.csv"
_UNFINISHED: Final = ".import.json"


@dataclass(frozen=True, slots=True)
class ClipSource:
    """A clip that is not a video file yet.

    Attributes:
        name: its path in the new data set, without suffix, with forward slashes.
        label: the action.
        group: the group that a split must not divide.
        split: the part of the split.
        frames: a function that returns the frames; it raises `VideoError` if they cannot be used.
        source: its origin, for messages.
        changed: modification time of the origin, in seconds since 1970.
    """

    name: str
    label: str | None
    group: str | None
    split: Part | None
    frames: Callable[[], Iterator[Image]]
    source: Path
    changed: float


def write_clips(
    clips: Sequence[ClipSource],
    out: str | Path,
    *,
    made_from: Mapping[str, str],
    frame_rate: float,
    unusable: Unusable = "stop",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Write clips as video without loss, and the manifest.csv that lists them.

    An interrupted call can be repeated and writes only the missing clips. The manifest is written last: a folder
    without it is not a data set.

    Args:
        clips: the clips.
        out: the folder; it has to be new, empty, or from an interrupted call with the same arguments.
        made_from: the source and the options, which distinguish one import from another.
        frame_rate: frames per second of all clips.
        unusable: see `Unusable`; the list is left_out.csv.
        on_progress: called with the number of finished clips and the number of clips.

    Returns:
        The manifest, with notes about the clips that were left out.

    Raises:
        UsageError: `out` contains something else, or the frame rate is out of range.
        DatasetError: clips cannot be used.
    """
    out = Path(out)
    if not 0 < frame_rate <= 1000:
        raise UsageError(f"frame_rate has to be more than 0 and at most 1000 frames a second, not {frame_rate}")
    _claim_folder(out, {**made_from, "frame_rate": f"{frame_rate:.12g}"})
    written: list[Clip] = []
    faults: list[VideoError] = []
    for number, clip in enumerate(clips, start=1):
        path = out / f"{clip.name}.mp4"
        try:
            if not (path.is_file() and path.stat().st_mtime >= clip.changed):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_lossless(path, clip.frames(), frame_rate=frame_rate)
            written.append(Clip(path, clip.label, clip.group, split=clip.split))
        except VideoError as error:
            faults.append(error)
        on_progress(number, len(clips))
    check_faults(faults, len(clips), unusable)
    source = f"{pluralize(len(written), 'clip')} from {made_from['source']}"
    manifest = assign_groups(Manifest(tuple(written), out, source, ""))
    notes: tuple[str, ...] = ()
    if faults:
        write_left_out(faults, out / LEFT_OUT)
        notes = (f"{pluralize(len(faults), 'clip')} left out that cannot be used: see {out / LEFT_OUT}",)
    write_manifest(manifest, out / "manifest.csv")
    (out / _UNFINISHED).unlink()
    return replace(manifest, notes=notes)


def check_faults(faults: Sequence[VideoError], clips: int, unusable: Unusable) -> None:
    """Raise `DatasetError` if there are faults and `unusable` is "stop", or if no clip is left."""
    if faults and (unusable == "stop" or len(faults) == clips):
        shown = join_first([str(fault) for fault in faults])
        way_out = "" if len(faults) == clips else ", or go on without them (--on-error skip)"
        raise DatasetError(f"{pluralize(len(faults), 'clip')} of {clips} cannot be used: {shown}; repair them{way_out}")


def write_left_out(faults: Sequence[VideoError], path: Path) -> None:
    """Write the clips that were left out, with the reasons, as a quarantine list."""
    write_quarantine([ScanRow(fault.path, False, fault.reason, fault.detail, None) for fault in faults], path)


def _claim_folder(out: Path, made_from: Mapping[str, str]) -> None:
    """Create a folder, or continue in the one of an interrupted call with the same arguments.

    Raises:
        UsageError: the folder contains something else.
    """
    mark = out / _UNFINISHED
    text = json.dumps(dict(made_from), sort_keys=True, indent=1) + "\n"
    if out.is_dir() and any(out.iterdir()):
        try:
            same = mark.read_text(encoding="utf-8") == text
        except OSError as error:
            raise UsageError(f"{out} is not empty, and is left as it is; choose another --out") from error
        if not same:
            raise UsageError(
                f"{out} holds an unfinished import of something else, or with other options; remove it, or choose "
                "another --out"
            )
        for left in out.rglob(f".*{TEMP_SUFFIX}"):
            left.unlink(missing_ok=True)
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose a folder for --out")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(mark, text)


def write_lossless(path: str | Path, frames: Iterable[Image], *, frame_rate: float) -> None:
    """Write frames as an .mp4 file that decodes to the same pixels: lossless H.264 of RGB, or of grey.

    Ordinary H.264 (yuv420p) halves the resolution of colours: even at `crf=0`, pixels of real clips (112 x 112 and
    320 x 240) differed by 1.4 to 2.3 of 255 in the mean and by up to 139; at the default of 23 by 2.6 to 4.6. The
    lossless file has about a sixth of the size of the array, and half of the size of FFV1. Odd sizes are allowed.

    The file appears when it is complete. One frame is in memory at a time.

    Args:
        path: the .mp4 file.
        frames: uint8, all (H, W) or all (H, W, 3) RGB, of one size.
        frame_rate: frames per second.

    Raises:
        UsageError: there are no frames, or frames of different sizes.
    """
    path = Path(path)
    waiting = iter(frames)
    first = next(waiting, None)
    if first is None:
        raise UsageError("there are no frames to write")
    rate = Fraction(frame_rate).limit_denominator(MAX_RATE_DENOMINATOR)
    height, width = first.shape[:2]
    pixels: Literal["gray", "rgb24"] = "gray" if first.ndim == 2 else "rgb24"
    with mp4_file(path) as container:
        stream = add_h264(container, size=(height, width), rate=rate, crf=0, threads=1, pixels=pixels)
        stream.codec_context.color_range = ColorRange.JPEG  # the full range 0 to 255; grey would be compressed else
        for index, image in enumerate(chain([first], waiting)):
            if image.shape != first.shape:
                raise UsageError(f"frame {index} has the shape {image.shape}, and the first {first.shape}")
            frame = VideoFrame.from_ndarray(image, format=pixels)
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
