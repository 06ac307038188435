"""The stream "chronophotograph": all that moved over a span on one image, with the time in its colours."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from marey.encoders.streams import Stream, register_stream

_Image: TypeAlias = npt.NDArray[np.uint8]

_RATE: Final = 32  # comparisons a second: every frame of a video of at most 32 frames a second is seen
_OLDEST: Final = 0.2  # weight of a change at the far end of the span; at the near end it is 1
_SHARE: Final = 0.997  # of the pixels, that `gain: auto` leaves below white
_GAINS: Final = (1.0, 16.0)  # of `auto`: more would show the noise of a scene where nothing moves
_TIE: Final = 1e-6  # grid steps: a timestamp midway between two grid points goes to the later one, rounded or not


@register_stream(
    "chronophotograph",
    meaning="all that moved within the span, as one image: what moved last is red, what moved first is blue",
)
class Chronophotograph(Stream):
    """A motion history image (Bobick and Davis 2001): the largest change of each pixel over `span`.

    Gray frames are compared on a grid of 1/32 s that all spans share, so that frame rates from 1 to 120 give the same
    image of the same movement: a frame that is shown for several grid points changes nothing, and of more than 32
    frames a second the ones between are left out.

        grid            |   |   |   |   |   |   |   |   |      with d = min(255, gain x absolute difference)
        frames          a     b     c     d     e     f
        changes         0   d   d   0   d   d   0   d   ...    red is the maximum of d with weights from 0.2 to 1,
                                                               blue with weights from 1 to 0.2, green without

    Attributes:
        span: seconds, around the timestamp.
        gain: factor of the difference before it is clipped to 255. "auto" takes the one that leaves 0.3 % of the
            pixels of each image white, between 1 and 16.
        thirds: the colours are the largest changes in the first (blue), second (green) and last third (red).
    """

    gray: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    span: Annotated[float, Field(gt=0, le=10)] = 0.5
    gain: Annotated[float, Field(gt=0, le=64)] | Literal["auto"] = 6.0
    thirds: bool = False

    def times(self, timestamps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the grid points around each timestamp: (T,) to (T, K), seconds."""
        steps = max(3, round(self.span * _RATE))
        middle = np.floor(timestamps * _RATE + 0.5 + _TIE)
        points: npt.NDArray[np.float64] = np.add.outer(middle, np.arange(steps + 1) - steps // 2) / _RATE
        return points

    def combine(self, frames: Tensor) -> Tensor:
        """Return the changes as red, green and blue: (T, K, 1, H, W) to (T, 3, H, W)."""
        return torch.from_numpy(np.stack([self._image(grays[:, 0]) for grays in frames.numpy()]))

    def _image(self, grays: _Image) -> _Image:
        """Return one image, uint8 (3, H, W), of gray frames, uint8 (K, H, W)."""
        steps = len(grays) - 1
        largest = np.zeros((3, *grays.shape[1:]), np.uint8)
        if self.thirds:
            # Gain, limit and rounding keep the order of changes, so the largest one is found first, in whole numbers.
            for step, change in enumerate(_changes(grays)):
                colour = largest[2 - 3 * step // steps]
                np.maximum(colour, change, out=colour)
            table: _Image = np.rint(self._levels(grays)).astype(np.uint8)
            return table.take(largest)
        levels = self._levels(grays)
        weighted = np.zeros(largest.shape, np.float32)
        made = np.empty(grays.shape[1:], np.float32)
        # Step by step in buffers that stay in the CPU's cache: several times faster than all steps at once.
        for change, weights in zip(_changes(grays), _weights(steps), strict=True):
            amplified = levels.take(change)
            for colour, weight in enumerate(weights):
                np.multiply(amplified, weight, out=made)
                np.maximum(weighted[colour], made, out=weighted[colour])
        return np.rint(weighted).astype(np.uint8)

    def _levels(self, grays: _Image) -> npt.NDArray[np.float32]:
        """Return the level that each change from 0 to 255 gets, (256,)."""
        gain = _auto_gain(grays) if self.gain == "auto" else self.gain
        levels: npt.NDArray[np.float32] = np.arange(256, dtype=np.float32) * np.float32(gain)
        return levels.clip(max=255)


def _changes(grays: _Image) -> Iterator[_Image]:
    """Yield the absolute difference of each frame and the one before, uint8 (H, W); valid until the next one."""
    change, lower = np.empty_like(grays[0]), np.empty_like(grays[0])
    for before, now in pairwise(grays):
        np.maximum(before, now, out=change)
        change -= np.minimum(before, now, out=lower)
        yield change


def _weights(steps: int) -> list[tuple[float, float, float]]:
    """Return the weights of red, green and blue at each step."""
    rising = np.linspace(_OLDEST, 1.0, steps).tolist()
    return list(zip(rising, [1.0] * steps, rising[::-1], strict=True))


def _auto_gain(grays: _Image) -> float:
    """Return the gain that takes the largest changes of all but 0.3 % of the pixels to at most 255."""
    largest = np.zeros_like(grays[0])
    for change in _changes(grays):
        np.maximum(largest, change, out=largest)
    counts = np.bincount(largest.ravel(), minlength=256).cumsum()
    bright = int((counts < _SHARE * largest.size).sum())
    low, high = _GAINS
    return min(high, max(low, 255 / max(1, bright)))
