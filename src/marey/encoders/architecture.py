"""The network of an encoder without its weights: to count and to show, with nothing fetched and nothing computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from marey.encoders.contract import PIXELS, EncoderSpec
from marey.encoders.encoder import sides
from marey.encoders.frame import create_network, drop_unused, features_of
from marey.encoders.pixels import PixelEncoder
from marey.encoders.video_networks import VIDEO_NETWORKS, build_video_network


@dataclass(frozen=True)
class Architecture:
    """An encoder's network on the meta device, where tensors have shapes and no values.

    Attributes:
        network: of one picture or of one clip; none for an encoder that hands out pictures.
        run: what it does with (1, 3, H, W) of a picture, or (1, 3, T, H, W) of a clip.
        size: (H, W) of its input.
        pictures: how many it sees at a time: 1, or T.
        shape: of what a head gets of a clip: (D,) a frame, or (T, C, H, W) of all pictures.
        length: T', vectors a clip.
    """

    network: nn.Module | None
    run: Callable[[Tensor], Tensor]
    size: tuple[int, int]
    pictures: int
    shape: tuple[int, ...]
    length: int

    def example(self) -> Tensor:
        """An input without values."""
        time = () if self.pictures == 1 else (self.pictures,)
        return torch.empty(1, 3, *time, *self.size, device="meta")


def architecture(spec: EncoderSpec, *, frames: int) -> Architecture:
    """What a spec names, without weights.

    Args:
        spec: the encoder; its weights are not looked at.
        frames: T of the clips.
    """
    if spec.name in PIXELS:
        pixels = PixelEncoder(spec)
        shape = (frames, pixels.colours, *pixels.size)
        return Architecture(None, nn.Identity(), pixels.size, 1, shape, frames)
    network: Any
    with torch.device("meta"):
        if spec.name in VIDEO_NETWORKS:
            size = sides(spec.size, VIDEO_NETWORKS[spec.name].size)
            network = build_video_network(spec.name, frames=frames, size=size, classes=0).eval()
            dim = network(torch.empty(1, 3, frames, *size)).flatten(1).shape[1]
            return Architecture(network, network, size, frames, (dim,), 1)
        network = create_network(spec).eval()
        drop_unused(network, spec)
        size = sides(spec.size, resolve_model_data_config(network)["input_size"][1:])

        def run(pictures: Tensor) -> Tensor:
            return features_of(network, pictures, spec.grid)

        dim = run(torch.empty(1, 3, *size)).shape[1]
    return Architecture(network, run, size, 1, (dim,), frames)
