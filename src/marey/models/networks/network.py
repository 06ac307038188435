"""Base of networks that are trained end to end: from the frames of a clip to logits."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from marey.models.head import Head, StepState

Shape = tuple[int, int, int, int]
"""(T, C, H, W) of the clips that a network is built for."""


class EndToEndModel(Head):
    """A head on raw frames: uint8 (B, T, C, H, W) to logits (B, classes).

    Attributes:
        mean: subtracted from pixels in [0, 1], one a channel.
        std: pixels are divided by it after that.
    """

    takes = "frames"
    pixel_mean: Tensor
    pixel_scale: Tensor
    mean: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)
    std: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(classes)
        self.shape = shape
        mean, std = ([values[colour % 3] for colour in range(shape[1])] for values in (self.mean, self.std))
        self.register_buffer("pixel_mean", torch.tensor(mean).view(-1, 1, 1) * 255)
        self.register_buffer("pixel_scale", 1 / (torch.tensor(std).view(-1, 1, 1) * 255))

    def pool(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return the frames as they are, (B, T, C, H, W)."""
        return features

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits of frames in 0 to 255: (B, T, C, H, W) to (B, classes)."""
        return self.forward_clip(self._normalised(summary))

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """Return logits after one more frame in 0 to 255: (B, C, H, W) to (B, classes)."""
        if not self.causal:
            return super().step(frame, state)
        return self.forward_frame(self._normalised(frame), state)

    def _normalised(self, images: Tensor) -> Tensor:
        return (images.float() - self.pixel_mean) * self.pixel_scale

    def forward_frame(self, pixels: Tensor, state: StepState) -> Tensor:
        """Return logits after one more normalised frame, float32 (B, C, H, W); of causal networks only."""
        raise NotImplementedError  # pragma: no cover

    def forward_clip(self, pixels: Tensor) -> Tensor:
        """Return logits of normalised frames, float32 (B, T, C, H, W)."""
        raise NotImplementedError  # pragma: no cover


class PerFrame(nn.Module):
    """A network for images, run on every frame of a clip: (B, T, C, H, W) to (B, T, ...)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Tensor:
        """Run it: (B, T, C, H, W) to (B, T, ...)."""
        values: Tensor = self.network(clips.flatten(0, 1))
        return values.view(*clips.shape[:2], *values.shape[1:])
