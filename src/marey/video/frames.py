"""What decoding gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from av.video.frame import VideoFrame

from marey.errors import UsageError


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A decoded picture.

    Attributes:
        time: seconds from the first frame of the stream.
        end: seconds at which it leaves the screen, if nothing follows.
        image: the picture as the decoder left it.
        intact: whether the decoder could rebuild it, and all that it was rebuilt from.
    """

    time: float
    end: float
    image: VideoFrame
    intact: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frames:
    """Pictures of a video with the times at which they are shown.

    Attributes:
        data: uint8 (T, 3, H, W), RGB, upright.
        timestamps: float64 (T,), seconds from the first frame of the video at which these frames begin: each at or
            before the instant that was asked for, but for key frames, which are the nearest.
    """

    data: torch.Tensor
    timestamps: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or self.data.shape[1] != 3 or self.data.dtype != torch.uint8:
            raise UsageError(f"frames have to be uint8 (T, 3, H, W), not {self.data.dtype} {tuple(self.data.shape)}")
        if self.timestamps.shape != (len(self.data),):
            raise UsageError(f"{len(self.data)} frames with timestamps of shape {self.timestamps.shape}")

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        span = f"{self.timestamps[0]:.3f}..{self.timestamps[-1]:.3f} s" if len(self) else "none"
        return f"Frames(data=uint8 {tuple(self.data.shape)}, timestamps={span})"
