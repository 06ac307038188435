"""A part of the frame, and the filter that cuts it out of decoded frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from av.video.frame import VideoFrame

from marey.errors import UsageError
from marey.video.frame_filter import FrameFilter
from marey.video.orientation import Orientation

_STEP: Final = 4  # px: edges lie where the chroma of all formats has a pixel of its own, too
_TIE: Final = 1e-6  # steps: 1 - 0.4 and 0.6 are the same edge

_Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the upright frame, as shares of its height and width.

    Attributes:
        top: of the height, from 0, the upper edge of the frame.
        left: of the width, likewise.
        bottom: of the height, to 1, the lower edge of the frame.
        right: of the width, likewise.
    """

    top: float
    left: float
    bottom: float
    right: float

    def __post_init__(self) -> None:
        if not (0 <= self.top < self.bottom <= 1 and 0 <= self.left < self.right <= 1):
            raise UsageError(f"a region has to lie in the frame: 0 <= top < bottom <= 1, and left < right, not {self}")

    @property
    def area(self) -> float:
        """Share of the frame."""
        return (self.bottom - self.top) * (self.right - self.left)

    def contains(self, other: Region) -> bool:
        """Return whether another region lies within this one."""
        return (
            self.top <= other.top
            and self.left <= other.left
            and self.bottom >= other.bottom
            and self.right >= other.right
        )

    def turned(self, quarter_turns: int) -> Region:
        """Return the region that becomes this one where a frame is turned to the left so many times."""
        region = self
        for _ in range(quarter_turns % 4):
            region = Region(region.left, 1 - region.bottom, region.right, 1 - region.top)
        return region

    def widened(self, ratio: float) -> Region:
        """Return the region that is read for this one: widened to a shape around its middle, as far as the frame goes.

        Args:
            ratio: width / height that it should have, where 1 is the shape of the frame.
        """
        left, right = _at_least(self.left, self.right, (self.bottom - self.top) * ratio, 1.0)
        top, bottom = _at_least(self.top, self.bottom, (right - left) / ratio, 1.0)
        return Region(max(0.0, top), max(0.0, left), min(1.0, bottom), min(1.0, right))

    def stored(self, orientation: Orientation) -> Region:
        """Return where this region lies in the stored frame."""
        region = self.turned(-orientation.rotation // 90)
        if orientation.mirrored:
            region = Region(region.top, 1 - region.right, region.bottom, 1 - region.left)
        return region


class RegionCutter:
    """Cuts a region out of decoded frames, without copying or converting them: FFmpeg's filter `crop`.

    The region is widened to the shape of the size that it is resized to, so that nothing is stretched. Where the frame
    is too small for that, the region ends at its edge, and is stretched.

    Args:
        region: of the upright frame.
        size: (H, W) that the region is resized to; None keeps its pixels and its shape.
        pixel_aspect: width / height of a stored pixel.
        orientation: how the stored frame becomes upright.
    """

    def __init__(
        self, region: Region, size: tuple[int, int] | None, pixel_aspect: float, orientation: Orientation
    ) -> None:
        self._region = region.stored(orientation)
        self._sideways = orientation.sideways
        self._ratio: float | None = None
        if size is not None:
            height, width = size[::-1] if self._sideways else size
            self._ratio = width / height / pixel_aspect
        self._crop = FrameFilter("crop", self._arguments)

    def size(self, image: VideoFrame) -> tuple[int, int]:
        """Return (H, W) in pixels of the region of a frame after rotation."""
        _, _, width, height = self._box(image)
        return (width, height) if self._sideways else (height, width)

    def __call__(self, image: VideoFrame) -> VideoFrame:
        """Return the region of a frame as it is stored; not from several threads."""
        return self._crop(image)

    def _arguments(self, image: VideoFrame) -> str:
        left, top, width, height = self._box(image)
        return f"{width}:{height}:{left}:{top}:exact=1"

    def _box(self, image: VideoFrame) -> _Box:
        region = self._region
        top, bottom = region.top * image.height, region.bottom * image.height
        left, right = region.left * image.width, region.right * image.width
        if self._ratio is not None:
            left, right = _at_least(left, right, (bottom - top) * self._ratio, image.width)
            top, bottom = _at_least(top, bottom, (right - left) / self._ratio, image.height)
        left, width = _whole(left, right, image.width)
        top, height = _whole(top, bottom, image.height)
        return left, top, width, height


def _at_least(first: float, last: float, length: float, limit: float) -> tuple[float, float]:
    """Widen a span to a length around its middle, and move it between 0 and the limit."""
    length = min(limit, max(last - first, length))
    first = min(max(0.0, (first + last - length) / 2), limit - length)
    return first, first + length


def _whole(first: float, last: float, limit: int) -> tuple[int, int]:
    """Return the start and the length in whole steps of pixels of a span, up to the limit."""
    start = math.floor(first / _STEP + _TIE) * _STEP
    return start, min(limit, math.ceil(last / _STEP - _TIE) * _STEP) - start
