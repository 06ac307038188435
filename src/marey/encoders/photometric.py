"""Contrast stretch of dark and faint video: the recipe's `photometric: auto`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Photometric = Literal["none", "auto"]

Histogram = npt.NDArray[np.float64]
"""Pixels at each of the 256 levels of luma, (256,), of any total."""

_LEVELS: Final = 256
_DARK: Final = 0.01  # share of the pixels below the range that is stretched: stuck pixels and lamps do not count
_BRIGHT: Final = 0.99  # share up to its upper end
_GAIN: Final = 16.0  # at most: beyond it the noise of the sensor and the blocks of the codec are all there is
_TIE: Final = 1e-9  # of the pixels: averages of the same histogram differ by rounding
_MEMORY: Final = 3.0  # s, about the length of a window: older frames count e times less


class ContrastStretch:
    """One linear map of the levels of all frames, the same for the three colours.

    It takes the 1st and 99th percentile of luma to 0 and 255, with a gain of at most 16. Where that is too little, the
    range keeps its place between black and white, so that black stays black:

        level after   255 |        ______           percentiles 10 and 40:  gain 8.5, all of 0 to 255
                          |       /                 percentiles 0 and 4:    gain 16, 0 to 64
                          |      /                  percentiles 251, 255:   gain 16, 191 to 255
                        0 |_____/                   percentiles alike:      nothing changes
                          0   low  high   255

    Args:
        histogram: of the luma of the frames.
    """

    def __init__(self, histogram: Histogram) -> None:
        shares = np.cumsum(histogram) / np.sum(histogram)
        low, high = (int((shares < share - _TIE).sum()) for share in (_DARK, _BRIGHT))
        levels = np.arange(_LEVELS, dtype=np.float64)
        if (width := high - low) > 0:
            top = _LEVELS - 1
            gain = min(_GAIN, top / width)
            bottom = (top - gain * width) * low / max(1, top - width)
            levels = np.clip(np.rint((levels - low) * gain + bottom), 0, top)
        self.table: npt.NDArray[np.uint8] = levels.astype(np.uint8)

    def __call__(self, images: Tensor) -> Tensor:
        """Return images with other levels, uint8 of any shape, on the CPU."""
        return torch.from_numpy(self.table.take(images.numpy()))


def luma_histogram(gray: Tensor) -> Histogram:
    """Return the histogram of a gray image, uint8 of any shape."""
    return np.bincount(gray.numpy().ravel(), minlength=_LEVELS).astype(np.float64)


def stretch_of(histograms: Iterable[Histogram]) -> ContrastStretch:
    """Return the stretch of all frames of a clip.

    Args:
        histograms: of each frame; at least one.
    """
    return ContrastStretch(np.sum(list(histograms), axis=0))


class RunningStretch:
    """The stretch of a source that is played once, from the frames that have been seen.

    An exponential average of their histograms: a frame of 3 s ago counts e times less than the latest. So the estimate
    follows a lamp that is switched on within a few seconds, a short flash hardly moves it, and memory holds one
    histogram however long the source is.
    """

    def __init__(self) -> None:
        self._histogram: Histogram = np.zeros(_LEVELS)
        self._time = 0.0
        self._current: ContrastStretch | None = None

    def add(self, gray: Tensor, time: float) -> None:
        """Add a frame.

        Args:
            gray: its luma, uint8 of any shape.
            time: its presentation time in seconds.
        """
        self._histogram *= math.exp(-max(0.0, time - self._time) / _MEMORY)
        self._histogram += luma_histogram(gray)
        self._time = time
        self._current = None

    @property
    def stretch(self) -> ContrastStretch:
        """The stretch now; at least one frame has been added."""
        if self._current is None:
            self._current = ContrastStretch(self._histogram)
        return self._current
