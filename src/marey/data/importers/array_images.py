"""Images from arrays: the order of the axes, and the range of the values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from marey.data.importers.formats import Channels
from marey.data.importers.npz import Array
from marey.data.importers.write import Image
from marey.data.text import pluralize
from marey.errors import DatasetError, VideoError

if TYPE_CHECKING:
    from marey.data.importers.arrays import ArrayPart

Layout = Literal["THWC", "TCHW", "CTHW", "THW"]

_OVERSHOOT: Final = 0.01  # of the range: cubic interpolation overshoots it a little
_MIN_BRIGHTNESS: Final = 32.0  # of 255; floats whose maximum is below were standardised, and are not images


@dataclass(frozen=True)
class PixelFormat:
    """The conversion from arrays to images.

    Attributes:
        layout: the axes of a clip.
        gain: the factor that brings values to 0 to 255.
        channels: the order of the colours.
    """

    layout: Layout
    gain: float
    channels: Channels = "rgb"

    def frames(self, clip: Array) -> Iterator[Image]:
        """Yield the frames of a clip in temporal order."""
        frames = np.moveaxis(clip, self.layout.index("T"), 0)
        for frame in frames:
            image = frame
            if self.layout != "THW":
                image = np.moveaxis(frame, 0, -1) if self.layout != "THWC" else frame
                image = image[..., 0] if image.shape[-1] == 1 else image
            if image.ndim == 3 and self.channels == "bgr":
                image = image[..., ::-1]
            if image.dtype != np.uint8 or self.gain != 1:
                image = np.rint(image.astype(np.float64) * self.gain).clip(0, 255).astype(np.uint8)
            yield np.ascontiguousarray(image)


@dataclass(frozen=True)
class InferredFormat:
    """The result of checking every clip.

    Attributes:
        format: the conversion to images.
        faults: the error of each clip that cannot be used, by part and number.
        notes: assumptions, one sentence each.
    """

    format: PixelFormat
    faults: dict[tuple[str, int], VideoError]
    notes: tuple[str, ...]


def infer_pixel_format(
    parts: Sequence[ArrayPart],
    source: str | Path,
    *,
    channels: Channels = "rgb",
    on_progress: Callable[[int], None] = lambda done: None,
) -> InferredFormat:
    """Check the axes, the range and the validity of every clip, one in memory at a time.

    Values are taken as 0 to 1 if none in any clip is above 1, else as 0 to 255.

    Args:
        parts: the clips.
        source: the file, for messages.
        channels: the order of the colours, if there are three.
        on_progress: called with the number of finished clips.

    Raises:
        DatasetError: no order of the axes, or no range, fits all clips.
    """
    source = Path(source)
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
                bad = pluralize(int(clip.size - np.isfinite(clip).sum()), "value")
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
    return InferredFormat(PixelFormat(layout, gain, channels), faults, tuple(notes))


def _layout(shapes: dict[tuple[int, ...], tuple[str, int]], source: Path) -> tuple[Layout, tuple[str, ...]]:
    """Return the order of the axes that fits every clip, with one or three channels."""
    fits: list[Layout] = ["THWC", "TCHW", "CTHW"]
    axes = {len(shape) for shape in shapes}
    if axes == {3}:
        stills = all(shape[-1] in (1, 3) for shape in shapes)
        if stills:
            shape = next(iter(shapes))
            raise DatasetError(
                f"{source}: clips of the shape {shape} are single images; a clip needs an axis of time before them"
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
    """Return the factor that brings values to 0 to 255; refuse floats with an ambiguous range."""
    span = f"values from {low:g} to {high:g}"
    slack, least = (_OVERSHOOT, _MIN_BRIGHTNESS) if "f" in kinds else (0.0, 0.0)
    if low >= -slack and high <= 1 + slack:
        return 255.0, f"{span} are taken as 0 to 1"
    if low >= -255 * slack and least <= high <= 255 * (1 + slack):
        return 1.0, f"{span} are taken as 0 to 255"
    raise DatasetError(
        f"{source} has {span}, which are neither 0 to 1 nor 0 to 255: undo what was subtracted and divided "
        "(for -1 to 1: (x + 1) / 2), and save it again"
    )
