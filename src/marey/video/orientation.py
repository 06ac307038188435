"""Turn and mirror stored frames as the display matrix of their file says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

_MATRIX: Final = 9  # 32-bit integers: a b u, c d v, x y w (ISO/IEC 14496-12, 8.3.2)


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to show a frame upright.

    Attributes:
        degrees: clockwise, as a display matrix states them; they are rounded to quarter turns.
        mirrored: whether left and right of the stored frame are exchanged before it is turned.
    """

    degrees: int = 0
    mirrored: bool = False

    @property
    def rotation(self) -> int:
        """Clockwise rotation in whole quarter turns: 0, 90, 180 or 270 degrees."""
        return round(self.degrees / 90) * 90 % 360

    @property
    def sideways(self) -> bool:
        """True where height and width change places."""
        return self.rotation % 180 != 0

    def upright(self, stored: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return a stored plane (H, W, ...) as it is shown; a view."""
        turns = -self.rotation // 90
        mirrored = stored[:, ::-1] if self.mirrored else stored
        return np.rot90(mirrored, turns) if turns else mirrored


def orientation(image: VideoFrame) -> Orientation:
    """Return how a decoded frame becomes upright."""
    matrix = _display_matrix(image)
    if matrix is None:
        return Orientation(-image.rotation)
    a, b, _, c, d = (float(value) for value in matrix[:5])
    mirrored = a * d - b * c < 0
    across, down = math.hypot(a, c), math.hypot(b, d)
    if not across or not down:
        return Orientation()  # it maps the frame to a line: FFmpeg does not turn it either
    sign = -1 if mirrored else 1
    return Orientation(int(math.degrees(math.atan2(sign * b / down, sign * a / across))), mirrored)


def rotation(image: VideoFrame) -> int:
    """Return the clockwise rotation, 0, 90, 180 or 270 degrees, that makes a frame upright; see `Orientation`."""
    return orientation(image).rotation


def upright_size(image: VideoFrame) -> tuple[int, int]:
    """Return (H, W) in pixels of a frame after rotation."""
    return (image.width, image.height) if orientation(image).sideways else (image.height, image.width)


def _display_matrix(image: VideoFrame) -> npt.NDArray[np.int32] | None:
    """Return the display matrix, (9,); None where there is none, or PyAV cannot list what the frame carries."""
    try:
        data = bytes(cast(Mapping[Type, Any], image.side_data)[Type.DISPLAYMATRIX])
    except (KeyError, ValueError):  # ValueError: PyAV does not know the type of another entry
        return None
    return np.frombuffer(data, np.int32) if len(data) == _MATRIX * 4 else None
