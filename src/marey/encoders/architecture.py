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
from marey.encoders.video_transformers import VIDEO_TRANSFORMERS, check_clips, new_video_transformer, tokens_of


@dataclass(frozen=True)
class Architecture:
    """An encoder's network on the meta device, where tensors have shapes and no values.

    Attributes:
        network: of one picture, or of a whole clip; none for an encoder that hands out pictures.
        run: what it does with `example`.
        example: a normalised picture, or a clip, without values.
        size: (H, W) of its input.
        whole: whether it sees a clip at once, and not each picture by itself.
        shape: of what a head gets of a clip: (D,) each, or (T, C, H, W) of all pictures.
        length: T', vectors a clip.
    """

    network: nn.Module | None
    run: Callable[[Tensor], Tensor]
    example: Tensor
    size: tuple[int, int]
    whole: bool
    shape: tuple[int, ...]
    length: int


def architecture(spec: EncoderSpec, *, frames: int) -> Architecture:
    """What a spec names, without weights.

    Args:
        spec: the encoder; of its weights at most the configuration beside them is read.
        frames: T of the clips.

    Raises:
        UsageError: it cannot do what is asked, or a package that it needs is not installed.
    """
    with torch.device("meta"):
        if spec.name in PIXELS:
            return _pixels(spec, frames)
        if spec.name in VIDEO_NETWORKS:
            return _video_network(spec, frames)
        if spec.name in VIDEO_TRANSFORMERS:
            return _video_transformer(spec, frames)
        return _frame_network(spec, frames)


def _pixels(spec: EncoderSpec, frames: int) -> Architecture:
    pixels = PixelEncoder(spec)
    shape = (frames, pixels.colours, *pixels.size)
    return Architecture(None, nn.Identity(), torch.empty(1, *shape), pixels.size, True, shape, frames)


def _video_network(spec: EncoderSpec, frames: int) -> Architecture:
    size = sides(spec.size, VIDEO_NETWORKS[spec.name].size)
    network = build_video_network(spec.name, frames=frames, size=size, classes=0).eval()
    example = torch.empty(1, 3, frames, *size)
    dim = network(example).flatten(1).shape[1]
    return Architecture(network, network, example, size, True, (dim,), 1)


def _video_transformer(spec: EncoderSpec, frames: int) -> Architecture:
    network: Any = new_video_transformer(spec).eval()
    size, instants, dim = check_clips(spec, network.config, frames)
    patch = network.config.patch_size
    rows, columns = spec.grid or (size[0] // patch, size[1] // patch)
    example = torch.empty(1, frames, 3, *size)

    def run(clips: Tensor) -> Tensor:
        return tokens_of(network, clips)

    return Architecture(network, run, example, size, True, (dim,), instants * rows * columns)


def _frame_network(spec: EncoderSpec, frames: int) -> Architecture:
    network: Any = create_network(spec).eval()
    drop_unused(network, spec)
    size = sides(spec.size, resolve_model_data_config(network)["input_size"][1:])
    example = torch.empty(1, 3, *size)

    def run(pictures: Tensor) -> Tensor:
        return features_of(network, pictures, spec.grid)

    return Architecture(network, run, example, size, False, (run(example).shape[1],), frames)
