"""Decoded frames with their timestamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from marey.errors import UsageError

if TYPE_CHECKING:
    import torch  # which takes 3 s to import, and processes that only read video do without

TIME_TOLERANCE: Final = 1e-6
"""Seconds of rounding error that are allowed where a timestamp is compared with that of a frame."""


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A decoded frame.

    Attributes:
        time: seconds from the first frame of the stream.
        end: seconds at which it is no longer shown, if no frame follows.
        image: the frame as the decoder returned it.
        intact: whether this frame and all frames it refers to were decoded without errors.
    """

    time: float
    end: float
    image: VideoFrame
    intact: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frames:
    """Frames of a video with their timestamps.

    Attributes:
        data: uint8 (T, 3, H, W), RGB, upright.
        timestamps: float64 (T,), seconds from the first frame of the video to the start of each of
            these frames: at or before the requested timestamp, or of the nearest key frame.
    """

    data: torch.Tensor
    timestamps: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        import torch

        if self.data.ndim != 4 or self.data.shape[1] != 3 or self.data.dtype != torch.uint8:
            raise UsageError(f"frames have to be uint8 (T, 3, H, W), not {self.data.dtype} {tuple(self.data.shape)}")
        if self.timestamps.shape != (len(self.data),):
            raise UsageError(f"{len(self.data)} frames with timestamps of shape {self.timestamps.shape}")

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        span = f"{self.timestamps[0]:.3f}..{self.timestamps[-1]:.3f} s" if len(self) else "none"
        return f"Frames(data=uint8 {tuple(self.data.shape)}, timestamps={span})"
