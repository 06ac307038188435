"""Convert decoded frames into upright RGB of a given size."""

from __future__ import annotations

from threading import Lock
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from marey.errors import UnknownNameError, UsageError
from marey.video.conversion import Conversion, StandardConverter
from marey.video.orientation import orientation, upright_size
from marey.video.region import Region, RegionCutter

Fit = Literal["stretch", "crop"]
Anchor = Literal["first", "middle", "last"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "area"]

_SWS_NAMES = {"nearest": "POINT", "bilinear": "BILINEAR", "bicubic": "BICUBIC", "area": "AREA"}


class ResizeCrop:
    """Converts and resizes a frame, then turns, mirrors and crops it; a `Region` is cut out before.

    FFmpeg resizes into the planes of `gbrp`, which are the channels of the result, with full chroma
    resolution and accurate rounding, in half the time of packed `rgb24`. A frame that keeps its
    size is converted by way of `rgb24`: FFmpeg's shortcut to `gbrp` leaves columns beyond a
    multiple of 16 unwritten. It may be called from several threads.
    """

    def __init__(
        self,
        first: VideoFrame,
        pixel_aspect: float,
        size: tuple[int, int] | None,
        fit: Fit | Region,
        anchor: Anchor,
        interpolation: Interpolation,
        conversion: Conversion = "standard",
    ) -> None:
        self._orientation = orientation(first)
        upright = not self._orientation.sideways
        self._cutter: RegionCutter | None = None
        height, width = upright_size(first)
        if isinstance(fit, Region):
            self._cutter = RegionCutter(fit, size, pixel_aspect, self._orientation)
            height, width = self._cutter.size(first)
        self.size = size or (height, width)
        aspect = first.width * pixel_aspect / first.height
        resized = _cover(self.size, aspect if upright else 1 / aspect) if fit == "crop" and size else self.size
        spare = (resized[0] - self.size[0], resized[1] - self.size[1])
        self._top, self._left = ({"first": 0, "middle": free // 2, "last": free}[anchor] for free in spare)
        self._stored = resized if upright else (resized[1], resized[0])
        self._interpolation = _SWS_NAMES[interpolation]
        self._reformatter = VideoReformatter()
        self._standard = StandardConverter() if conversion == "standard" else None
        self._lock = Lock()

    def __call__(self, image: VideoFrame, out: npt.NDArray[np.uint8]) -> None:
        """Write a frame into `out` (3, H, W)."""
        rows, columns = self.size
        for channel, stored in enumerate(self._channels(image)):
            upright = self._orientation.upright(stored)
            out[channel] = upright[self._top : self._top + rows, self._left : self._left + columns]

    def _channels(self, image: VideoFrame) -> list[npt.NDArray[np.uint8]]:
        """Return red, green and blue (H, W) of the stored frame, resized."""
        height, width = self._stored
        with self._lock:
            if self._cutter is not None:
                image = self._cutter(image)
            if self._standard is not None:
                image = self._standard(image, self._stored, self._interpolation)
            packed = (image.height, image.width) == self._stored
            resized = self._reformatter.reformat(
                image, width, height, "rgb24" if packed else "gbrp", interpolation=self._interpolation, threads=1
            )
        planes = [np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size) for plane in resized.planes]
        if packed:
            return [planes[0][:height, channel : 3 * width : 3] for channel in range(3)]
        green, blue, red = (plane[:height, :width] for plane in planes)
        return [red, green, blue]


def check_transform(
    size: tuple[int, int] | None, fit: str | Region, anchor: str, interpolation: str, conversion: str = "standard"
) -> None:
    """Raise a `UsageError` if one of the options of `ResizeCrop` is not valid."""
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise UsageError(f"size has to be (height, width) in pixels, not {size}")
    for kind, name, known in (
        ("fit", fit, get_args(Fit)),
        ("anchor", anchor, get_args(Anchor)),
        ("interpolation", interpolation, get_args(Interpolation)),
        ("conversion", conversion, get_args(Conversion)),
    ):
        if not isinstance(name, Region) and name not in known:
            raise UnknownNameError(kind, name, known)


def _cover(size: tuple[int, int], aspect: float) -> tuple[int, int]:
    """Return the smallest (H, W) with this width / height that covers `size`."""
    height, width = size
    if width > height * aspect:
        return max(height, round(width / aspect)), width
    return height, max(width, round(height * aspect))
