"""The stream "chronophotograph": all that moved over a span on one image, with the time in its colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from marey.encoders.streams import Stream, register_stream

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
        return torch.stack([self._image(grays[:, 0]) for grays in frames])

    def _image(self, grays: Tensor) -> Tensor:
        """Return one image, uint8 (3, H, W), of gray frames, uint8 (K, H, W)."""
        steps = len(grays) - 1
        gain = _auto_gain(grays) if self.gain == "auto" else self.gain
        colours = torch.zeros(3, *grays.shape[1:])
        weighted = torch.empty_like(colours[0])
        weights = [(1.0, 1.0, 1.0)] * steps if self.thirds else _weights(steps)
        # Image by image in buffers that stay in the CPU's cache: several times faster than all steps at once.
        for step, (change, each) in enumerate(zip(_changes(grays), weights, strict=True)):
            change.mul_(gain).clamp_(max=255)
            wanted = (2 - 3 * step // steps,) if self.thirds else (0, 1, 2)
            for colour in wanted:
                largest = colours[colour]
                torch.maximum(largest, torch.mul(change, each[colour], out=weighted), out=largest)
        return colours.round_().to(torch.uint8)


def _changes(grays: Tensor) -> Iterator[Tensor]:
    """Yield the absolute difference of each frame and the one before, float32 (H, W)."""
    before = grays[0].float()
    for gray in grays[1:]:
        now = gray.float()
        yield torch.sub(now, before).abs_()
        before = now


def _weights(steps: int) -> list[tuple[float, float, float]]:
    """Return the weights of red, green and blue at each step."""
    rising = np.linspace(_OLDEST, 1.0, steps).tolist()
    return list(zip(rising, [1.0] * steps, rising[::-1], strict=True))


def _auto_gain(grays: Tensor) -> float:
    """Return the gain that takes the largest changes of all but 0.3 % of the pixels to at most 255."""
    largest = torch.zeros(grays.shape[1:])
    for change in _changes(grays):
        torch.maximum(largest, change, out=largest)
    counts = torch.bincount(largest.flatten().int(), minlength=256).cumsum(0)
    bright = int((counts < _SHARE * largest.numel()).sum())
    low, high = _GAINS
    return min(high, max(low, 255 / max(1, bright)))
