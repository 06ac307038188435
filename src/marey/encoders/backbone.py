"""A frozen network with its normalisation and pooling in one module: uint8 images to float32 features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from marey.encoders.contract import EncoderSpec
from marey.video import Interpolation

Colour = tuple[float, float, float]
Read = Callable[[Any, Tensor], Tensor]
"""From a network and normalised pixels to features, float (N, ...)."""


class FrozenBackbone(nn.Module):
    """The module that engines run: uint8 (N, *shape) to float32 (N, ...), normalised inside.

    Args:
        network: the frozen network, float32.
        read: from it and normalised pixels to features.
        spec: of the encoder.
        hash: of its weights, as they were loaded.
        shape: of one input: (3, H, W) of an image, (T, 3, H, W) of a clip.
        mean: of RGB in [0, 1], when the weights were trained.
        std: likewise.
        interpolation: how images were resized then.
        exportable: False if it cannot be written as ONNX in reasonable time: PyTorch alone runs it.
    """

    def __init__(
        self,
        network: nn.Module,
        read: Read,
        *,
        spec: EncoderSpec,
        hash: str,
        shape: tuple[int, ...],
        mean: Colour,
        std: Colour,
        interpolation: Interpolation,
        exportable: bool = True,
    ) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.spec = spec
        self.hash = hash
        self.shape = shape
        self.mean = mean
        self.std = std
        self.interpolation: Interpolation = interpolation
        self.exportable = exportable
        self._read = read
        self.eval()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the input, in pixels."""
        height, width = self.shape[-2:]
        return height, width

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images or clips, computed in the precision of the weights."""
        mean, std = (torch.tensor(each, device=images.device).view(3, 1, 1) * 255 for each in (self.mean, self.std))
        pixels = ((images.float() - mean) * (1 / std)).to(next(self.network.parameters()).dtype)
        if pixels.ndim == 4:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return self._read(self.network, pixels).float()


def average_over(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average feature maps over the cells of a grid: (N, C, H, W) to (N, C x rows x columns).

    In an ONNX export it is a product with a fixed matrix: the format has no average over cells that overlap.
    """
    if not torch.onnx.is_in_onnx_export():
        return nn.functional.adaptive_avg_pool2d(maps, grid).flatten(1)
    height, width = int(maps.shape[-2]), int(maps.shape[-1])
    places = torch.eye(height * width).view(-1, height, width)
    share = nn.functional.adaptive_avg_pool2d(places, grid).flatten(1)
    return (maps.flatten(2) @ share).flatten(1)
