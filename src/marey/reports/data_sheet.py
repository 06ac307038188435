"""A data set on one sheet: a frame and a chronophotograph of each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from marey.data import Clip, Manifest
from marey.encoders import clip_span
from marey.errors import DatasetError, VideoError
from marey.reports.chronophotograph import EXPOSURES, Pixels, chronophotograph, image_grid
from marey.reports.image_io import reduced_size, save_image
from marey.video import Limits, decode

_TILE: Final = (320, 240)  # width and height in pixels
_BETWEEN: Final = 6
_COLUMNS: Final = 3
_TRIES: Final = 5  # clips of a class that are looked at for one that can be read
_UNLABELLED: Final = 12  # clips that are shown where there are no classes
_SECONDS: Final = 4.0  # of a longer clip, around its middle
_FRAMES: Final = 48  # of which the background is the median
_EMPTY: Final = (236, 236, 236)


@dataclass(frozen=True)
class SheetTile:
    """A class on the sheet.

    Attributes:
        label: the class; the name of the file where there are no labels.
        clips: number of clips of it.
        clip: the one that is shown.
    """

    label: str
    clips: int
    clip: Clip


def write_data_sheet(
    manifest: Manifest,
    path: str | Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[tuple[SheetTile, ...], tuple[VideoError, ...]]:
    """Write a frame and a chronophotograph of the first readable clip of each class, side by side.

    A clip that is longer than four seconds is shown around its middle. Where there are no labels, the first dozen clips
    are shown.

    Args:
        manifest: the data set.
        path: the file, .png or .jpg.
        limits: of decoding, each clip.
        on_progress: called with the number of classes that are done, and their number.

    Returns:
        What is shown, and why clips were passed over.

    Raises:
        DatasetError: no clip can be read.
        UsageError: another suffix.
    """
    rows = _rows(manifest)
    tiles: list[SheetTile] = []
    images: list[tuple[str, Pixels]] = []
    faults: list[VideoError] = []
    for number, (label, clips) in enumerate(rows, start=1):
        for clip in islice(clips, _TRIES):
            try:
                images.append((_caption(label, len(clips), manifest), _pair(clip, limits)))
            except VideoError as error:
                faults.append(error)
                continue
            tiles.append(SheetTile(label, len(clips), clip))
            break
        on_progress(number, len(rows))
    if not images:
        raise DatasetError(f"no clip can be shown: {faults[0]}" if faults else f"{manifest.source} lists no clips")
    save_image(image_grid(images, columns=_COLUMNS), path)
    return tuple(tiles), tuple(faults)


def _rows(manifest: Manifest) -> list[tuple[str, list[Clip]]]:
    """Return each class with its clips; each of the first clips by itself where there are no labels."""
    if not manifest.labels:
        return [(clip.path.name, [clip]) for clip in manifest.clips[:_UNLABELLED]]
    return [(label, [clip for clip in manifest.clips if clip.label == label]) for label in manifest.labels]


def _caption(label: str, count: int, manifest: Manifest) -> str:
    return label if not manifest.labels else f"{label}  ({count} {'clip' if count == 1 else 'clips'})"


def _pair(clip: Clip, limits: Limits) -> Pixels:
    """Return a frame and the chronophotograph beside it, (240, 646, 3).

    Raises:
        VideoError: the clip cannot be used.
    """
    start, end = clip_span(clip, limits)
    middle, length = (start + end) / 2, min(end - start, _SECONDS)
    times = middle + length * ((np.arange(_FRAMES) + 0.5) / _FRAMES - 0.5)
    size = reduced_size(clip.path, max(_TILE), limits=limits)
    frames = decode(clip.path, times, size=size, interpolation="area", limits=limits).data
    moved = chronophotograph(frames, exposures=EXPOSURES)
    shown = frames[len(frames) // 2].permute(1, 2, 0).contiguous().numpy()
    return np.concatenate([_tile(shown), np.full((_TILE[1], _BETWEEN, 3), 255, np.uint8), _tile(moved)], axis=1)


def _tile(image: Pixels) -> Pixels:
    fitted = ImageOps.pad(Image.fromarray(image), _TILE, Image.Resampling.LANCZOS, color=_EMPTY)
    return np.asarray(fitted)
