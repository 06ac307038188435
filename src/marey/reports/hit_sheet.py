"""The hits of a search on one sheet of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from marey.errors import UsageError
from marey.prediction import Hit
from marey.reports import style
from marey.reports.chronophotograph import image_grid
from marey.reports.image_io import IMAGE_SUFFIXES, reduced_size, save_image
from marey.video import Limits, decode

_TILE: Final = (240, 180)  # width and height in pixels
_COLUMNS: Final = 4


def check_sheet(path: Path) -> None:
    """Refuse a sheet that is no image file.

    Raises:
        UsageError: another suffix.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UsageError(f"a sheet is written as {' or '.join(IMAGE_SUFFIXES)}, not as '{path.name}'")


def write_hit_sheet(
    hits: Sequence[Hit],
    path: str | Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> None:
    """Write the middle frame of each hit in a grid, with its rank, similarity and time.

    Args:
        hits: in their order, at least one.
        path: the file, .png or .jpg.
        limits: of decoding, each frame.

    Raises:
        VideoError: a frame cannot be decoded.
        UsageError: another suffix, or no hits.
    """
    tiles = []
    for rank, hit in enumerate(hits, start=1):
        caption = f"{rank}  {hit.similarity:.2f}  {style.clock_text(hit.start)}"
        tiles.append((caption, _tile(hit, limits)))
    save_image(image_grid(tiles, columns=_COLUMNS), path)


def _tile(hit: Hit, limits: Limits) -> npt.NDArray[np.uint8]:
    size = reduced_size(hit.path, max(_TILE), limits=limits)
    frame = decode(hit.path, [(hit.start + hit.end) / 2], size=size, interpolation="area", limits=limits).data[0]
    image = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
    return np.asarray(ImageOps.pad(image, _TILE, Image.Resampling.LANCZOS, color=(236, 236, 236)))
