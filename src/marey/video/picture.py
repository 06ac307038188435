"""From the decoder's picture to upright RGB of the size that was asked for."""

from __future__ import annotations

from threading import Lock
from typing import Literal

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

Fit = Literal["stretch", "crop"]
Anchor = Literal["first", "middle", "last"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "area"]

_SWS_NAMES = {"nearest": "POINT", "bilinear": "BILINEAR", "bicubic": "BICUBIC", "area": "AREA"}


class Converter:
    """Scales while converting, then turns and cuts.

    The planes of `gbrp` are the channels of the result, and FFmpeg scales into them with full chroma
    resolution and accurate rounding, in half the time that its packed `rgb24` takes. A picture that keeps its
    size goes by `rgb24`: FFmpeg's shortcut to `gbrp` leaves columns beyond a multiple of 16 unwritten.
    Several threads may call it, in turns.
    """

    def __init__(
        self,
        first: VideoFrame,
        *,
        pixel_aspect: float,
        size: tuple[int, int] | None,
        fit: Fit,
        anchor: Anchor,
        interpolation: Interpolation,
    ) -> None:
        turn = rotation(first)
        height, width = (first.height, first.width) if turn % 180 == 0 else (first.width, first.height)
        self.size = size or (height, width)
        shape = first.width * pixel_aspect / first.height
        aspect = shape if turn % 180 == 0 else 1 / shape
        scaled = _cover(self.size, aspect) if fit == "crop" and size else self.size
        spare = (scaled[0] - self.size[0], scaled[1] - self.size[1])
        self._top, self._left = ({"first": 0, "middle": free // 2, "last": free}[anchor] for free in spare)
        self._quarter_turns = -turn // 90
        self._stored = scaled if turn % 180 == 0 else (scaled[1], scaled[0])
        self._interpolation = _SWS_NAMES[interpolation]
        self._reformatter = VideoReformatter()
        self._turn = Lock()

    def __call__(self, image: VideoFrame, out: npt.NDArray[np.uint8]) -> None:
        """Write a picture into `out` (3, H, W)."""
        rows, columns = self.size
        for channel, stored in enumerate(self._channels(image)):
            upright = np.rot90(stored, self._quarter_turns) if self._quarter_turns else stored
            out[channel] = upright[self._top : self._top + rows, self._left : self._left + columns]

    def _channels(self, image: VideoFrame) -> list[npt.NDArray[np.uint8]]:
        """Red, green and blue (H, W) of the stored picture, scaled."""
        height, width = self._stored
        packed = (image.height, image.width) == self._stored
        with self._turn:
            scaled = self._reformatter.reformat(
                image,
                width,
                height,
                "rgb24" if packed else "gbrp",
                interpolation=self._interpolation,
                threads=1,
            )
        planes = [np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size) for plane in scaled.planes]
        if packed:
            return [planes[0][:height, channel : 3 * width : 3] for channel in range(3)]
        green, blue, red = (plane[:height, :width] for plane in planes)
        return [red, green, blue]


def rotation(image: VideoFrame) -> int:
    """The clockwise turn, 0, 90, 180 or 270 degrees, that shows a picture upright."""
    return round(-image.rotation / 90) * 90 % 360


def _cover(size: tuple[int, int], aspect: float) -> tuple[int, int]:
    """The smallest (H, W) of that width over height which leaves no part of `size` empty."""
    height, width = size
    if width > height * aspect:
        return max(height, round(width / aspect)), width
    return height, max(width, round(height * aspect))
