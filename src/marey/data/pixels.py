"""From arrays of numbers to pictures: the order of the axes, and the range of the values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from marey.data.arrays import ArrayPart
from marey.data.clip import counted
from marey.data.stored_arrays import Array
from marey.errors import DatasetError, VideoError

Picture = npt.NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) RGB."""

Layout = Literal["THWC", "TCHW", "CTHW", "THW"]
Channels = Literal["rgb", "bgr"]

_OVERSHOOT: Final = 0.01  # of the range: resizing with cubic curves leaves it by a little
_LEAST_BRIGHT: Final = 32.0  # of 255; fractions that stay below were standardised, and are not pictures


@dataclass(frozen=True)
class PixelFormat:
    """How arrays are to be read as pictures.

    Attributes:
        layout: what the axes of a clip are.
        gain: what values are multiplied by to lie in 0 to 255.
        channels: the order of the colours.
    """

    layout: Layout
    gain: float
    channels: Channels = "rgb"

    def pictures(self, clip: Array) -> Iterator[Picture]:
        """The frames of a clip, in the order of time."""
        frames = np.moveaxis(clip, self.layout.index("T"), 0)
        for frame in frames:
            picture = frame
            if self.layout != "THW":
                picture = np.moveaxis(frame, 0, -1) if self.layout != "THWC" else frame
                picture = picture[..., 0] if picture.shape[-1] == 1 else picture
            if picture.ndim == 3 and self.channels == "bgr":
                picture = picture[..., ::-1]
            if picture.dtype != np.uint8 or self.gain != 1:
                picture = np.rint(picture.astype(np.float64) * self.gain).clip(0, 255).astype(np.uint8)
            yield np.ascontiguousarray(picture)


@dataclass(frozen=True)
class PixelSurvey:
    """What was found in looking at every clip once.

    Attributes:
        format: how they are read.
        faults: part and number of each clip that cannot be used, and why.
        notes: what was taken for granted, a sentence each.
    """

    format: PixelFormat
    faults: dict[tuple[str, int], VideoError]
    notes: tuple[str, ...]


def survey_pixels(
    parts: Sequence[ArrayPart],
    source: Path,
    *,
    channels: Channels = "rgb",
    on_progress: Callable[[int], None] = lambda done: None,
) -> PixelSurvey:
    """Look at every clip, one in memory at a time: axes, range, and values that are no numbers.

    Values are taken as 0 to 1 where none is above 1, else as 0 to 255, for all clips alike.

    Args:
        parts: the clips.
        source: what to name in messages.
        channels: the order of the colours, where there are three.
        on_progress: called with the number of clips done.

    Raises:
        DatasetError: no order of the axes, or no range, fits all clips.
    """
    faults: dict[tuple[str, int], VideoError] = {}
    shapes: dict[tuple[int, ...], tuple[str, int]] = {}
    low, high, kinds, done = np.inf, -np.inf, set(), 0
    for part in parts:
        for index in range(len(part.items)):
            clip: Any = part.items[index]
            shapes.setdefault(clip.shape, (part.name, index))
            place = source / part.name / str(index)
            if not clip.size:
                faults[part.name, index] = VideoError(place, "empty", f"it has no pixels: its shape is {clip.shape}")
            elif clip.dtype.kind == "f" and not np.isfinite(clip).all():
                bad = counted(int(clip.size - np.isfinite(clip).sum()), "value")
                faults[part.name, index] = VideoError(place, "corrupt", f"{bad} in it are NaN or infinite")
            else:
                kinds.add(clip.dtype.kind)
                low, high = min(low, float(clip.min())), max(high, float(clip.max()))
            done += 1
            on_progress(done)
    if not kinds:
        raise DatasetError(f"{source}: none of its {done} clips can be used; {next(iter(faults.values())).detail}")
    layout, layout_notes = _layout(shapes, source)
    gain, range_note = _gain(low, high, kinds, source)
    notes = [*layout_notes, range_note]
    if any(3 in shape for shape in shapes) and layout != "THW":
        notes.append(
            f"colours are taken as {channels.upper()}" + (" (--channels bgr for OpenCV's)" * (channels == "rgb"))
        )
    return PixelSurvey(PixelFormat(layout, gain, channels), faults, tuple(notes))


def _layout(shapes: dict[tuple[int, ...], tuple[str, int]], source: Path) -> tuple[Layout, tuple[str, ...]]:
    """The order of the axes that fits every clip; channels are one or three."""
    fits: list[Layout] = ["THWC", "TCHW", "CTHW"]
    axes = {len(shape) for shape in shapes}
    if axes == {3}:
        stills = all(shape[-1] in (1, 3) for shape in shapes)
        if stills:
            shape = next(iter(shapes))
            raise DatasetError(
                f"{source}: clips of the shape {shape} are single pictures; a clip needs an axis of time before them"
            )
        return "THW", ()
    if axes == {4}:
        fits = [name for name in fits if all(shape[name.index("C")] in (1, 3) for shape in shapes)]
        if fits:
            taken = {"THWC": "(T, H, W, C)", "TCHW": "(T, C, H, W)", "CTHW": "(C, T, H, W)"}[fits[0]]
            return fits[0], () if fits == ["THWC"] else (f"the axes of a clip are taken as {taken}",)
    found = ", ".join(f"{shape} in {name} {index}" for shape, (name, index) in list(shapes.items())[:3])
    raise DatasetError(f"{source}: clips have the shapes {found}; write all as (T, H, W, C) with 1 or 3 colours")


def _gain(low: float, high: float, kinds: set[str], source: Path) -> tuple[float, str]:
    """What brings values to 0 to 255; of fractions, only a range that nothing else could be meant by."""
    span = f"values from {low:g} to {high:g}"
    slack, least = (_OVERSHOOT, _LEAST_BRIGHT) if "f" in kinds else (0.0, 0.0)
    if low >= -slack and high <= 1 + slack:
        return 255.0, f"{span} are taken as 0 to 1"
    if low >= -255 * slack and least <= high <= 255 * (1 + slack):
        return 1.0, f"{span} are taken as 0 to 255"
    raise DatasetError(
        f"{source} has {span}, which are neither 0 to 1 nor 0 to 255: undo what was subtracted and divided "
        "(for -1 to 1: (x + 1) / 2), and save it again"
    )
