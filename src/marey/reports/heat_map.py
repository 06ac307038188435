"""Heat maps over frames: where in the image speaks for a class."""

from __future__ import annotations

from typing import Any, Final

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from marey.errors import UsageError
from marey.prediction import Explanation
from marey.video import Region

Pixels = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float64]
"""From 0 to 1, (rows, columns)."""

COLOURS: Final = "inferno"
"""Dark to bright, the same order in gray print and for all kinds of colour vision."""

_LOWEST: Final = 0.3  # of the colours: below it they are too dark to be seen on a frame
_OPACITY: Final = 0.55
_DIMMED: Final = 0.72  # brightness of what says nothing


def draw_heat(image: Pixels, heat: Heat, region: Region) -> Pixels:
    """Draw a heat map on a frame: coloured where the heat is high, and a little darker where it is 0.

    Args:
        image: uint8 RGB `(H, W, 3)`; it is not changed.
        heat: from 0 to 1, (rows, columns), evenly over the region; it is made smooth.
        region: the part of the frame that the cells divide.

    Returns:
        A new image of the same size.

    Raises:
        UsageError: an array of another shape or type.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or heat.ndim != 2 or 0 in heat.shape:
        raise UsageError(f"a heat map goes on uint8 (H, W, 3), not {image.dtype} {image.shape}, {heat.shape}")
    height, width = image.shape[:2]
    top, bottom = round(region.top * height), max(1, round(region.bottom * height))
    left, right = round(region.left * width), max(1, round(region.right * width))
    smooth = np.zeros((height, width), np.float32)
    cells = Image.fromarray(np.clip(heat, 0, 1).astype(np.float32))
    smooth[top:bottom, left:right] = np.asarray(
        cells.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    ).clip(0, 1)
    colours: Any = matplotlib.colormaps[COLOURS](_LOWEST + (1 - _LOWEST) * smooth)[..., :3] * 255
    opacity = _OPACITY * smooth[..., None]
    brightness = _DIMMED + (1 - _DIMMED) * smooth[..., None]
    drawn = image * brightness * (1 - opacity) + colours * opacity
    return np.asarray(drawn.round().clip(0, 255), dtype=np.uint8)


def heat_at(explanation: Explanation, time: float) -> Heat | None:
    """Return the heat at a time in seconds, (rows, columns), between those of the nearest parts; None without places.

    Args:
        explanation: of a clip.
        time: from the first frame of its file; before and after the clip it is that of its ends.
    """
    heat = explanation.heat()
    if heat is None:
        return None
    middles = explanation.middles
    after = int(np.searchsorted(middles, time))
    if after in (0, len(middles)):
        end: Heat = heat[0 if after == 0 else -1]
        return end
    before = after - 1
    share = (time - middles[before]) / max(middles[after] - middles[before], 1e-9)
    between: Heat = heat[before] * (1 - share) + heat[after] * share
    return between
