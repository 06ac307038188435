"""Input channels of the encoder: RGB, frame difference, or three gray frames as RGB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

StreamKind = Literal["appearance", "difference", "triplet"]


class Stream(BaseModel):
    """An input channel: a few frames around each timestamp, combined into one image.

    Attributes:
        kind: "appearance" is the frame itself. "difference" is the change over `span`, gray where nothing moved: a
            network that was trained on photographs sees the outline of the motion. "triplet" is three gray frames
            over `span` as the colours of one image: still parts are gray, moving parts are coloured, and the order
            of the colours is the order in time.
        span: seconds between the first and the last frame that are combined; appearance takes one.
        gain: factor of the difference before it is clipped to 0-255; difference only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: StreamKind
    span: Annotated[float, Field(gt=0, le=10)] = 0.2
    gain: Annotated[float, Field(gt=0, le=16)] = 1.0

    @property
    def offsets(self) -> tuple[float, ...]:
        """Seconds from a timestamp to the K frames that are combined for it."""
        half = self.span / 2
        return {
            "appearance": (0.0,),
            "difference": (-half, half),
            "triplet": (-half, 0.0, half),
        }[self.kind]

    def combine(self, frames: Tensor) -> Tensor:
        """Combine frames into one image a timestamp.

        Args:
            frames: uint8 (T, K, 3, H, W), K as many as `offsets`, in the order of time.

        Returns:
            uint8 (T, 3, H, W).
        """
        if self.kind == "difference":
            return difference(frames, self.gain)
        return _COMBINE[self.kind](frames)


def appearance(frames: Tensor) -> Tensor:
    """Return the frame itself: (T, 1, 3, H, W) to (T, 3, H, W)."""
    return frames[:, 0]


def difference(frames: Tensor, gain: float) -> Tensor:
    """Return the later frame less the earlier one, around middle gray: (T, 2, 3, H, W) to (T, 3, H, W)."""
    change = frames[:, 1].to(torch.int16) - frames[:, 0].to(torch.int16)
    if gain != 1.0:
        change = (change * gain).round_().to(torch.int16)
    return change.add_(127).clamp_(0, 255).to(torch.uint8)


def triplet(frames: Tensor) -> Tensor:
    """Return the luma of three frames as red, green and blue: (T, 3, 3, H, W) to (T, 3, H, W)."""
    return luma(frames)


def luma(images: Tensor) -> Tensor:
    """Return gray images (ITU-R BT.601): uint8 (..., 3, H, W) to (..., H, W)."""
    red, green, blue = images.to(torch.int32).unbind(-3)
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).to(torch.uint8)


_COMBINE: dict[StreamKind, Callable[[Tensor], Tensor]] = {"appearance": appearance, "triplet": triplet}
STREAM_KINDS: tuple[StreamKind, ...] = get_args(StreamKind)
