"""Video transformers of Hugging Face, frozen: a clip becomes tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from marey.encoders.backbone import FrozenBackbone, average_over
from marey.encoders.contract import EncoderSpec
from marey.encoders.encoder import Encoder, hw
from marey.encoders.hub_networks import VIDEO_TRANSFORMERS
from marey.encoders.hugging_face import (
    HubFamily,
    load_video_transformer,
    new_video_transformer,
    normalisation,
)
from marey.encoders.registry import Architecture, register_encoder
from marey.encoders.trainable import Stages, TrainableNetwork, stages_of
from marey.encoders.weights import weights_hash
from marey.errors import UsageError


@dataclass(frozen=True)
class TokenGrid:
    """The places of the tokens of a clip.

    Attributes:
        size: (H, W) of the input, in pixels.
        timestamps: T' of the tokens.
        patches: rows and columns of each.
        dim: D, numbers a token.
        trained: True for clips of the length and size that the weights were trained with.
    """

    size: tuple[int, int]
    timestamps: int
    patches: tuple[int, int]
    dim: int
    trained: bool


class TokenEncoder(Encoder):
    """A video transformer, frozen: each clip becomes tokens, timestamp by timestamp, patch by patch.

    Args:
        spec: `weights` is "pretrained", "random", a folder that `transformers` has written, or a repository of the
            hub; `grid` averages the patches of each timestamp over rows and columns, None keeps every token.
        frames: T of the clips.
        device: where it runs.
        engine: runtime, see `ENGINES`.

    Raises:
        WeightsError: its weights cannot be fetched, or are those of another network.
        UsageError: it cannot do what the spec asks for, or `transformers` is not installed.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        *,
        frames: int,
        device: str | torch.device = "cpu",
        engine: str | None = "pytorch",
    ) -> None:
        super().__init__()
        network = load_video_transformer(spec)
        tokens = token_grid(spec, network.config, frames)
        colours, interpolation = normalisation(spec)
        frozen = FrozenBackbone(
            network,
            partial(_pooled_tokens, tokens=tokens, grid=spec.grid),
            spec=spec,
            hash=weights_hash(network),
            shape=(frames, 3, *tokens.size),
            mean=colours[0],
            std=colours[1],
            interpolation=interpolation,
            # Positions between the trained ones are interpolated, with an operation that ONNX does not have.
            exportable=tokens.trained or spec.name != "videoprism",
        )
        self.timestamps = tokens.timestamps
        self.setup(frozen, device=device, engine=engine, dim=tokens.dim)


@register_encoder(*VIDEO_TRANSFORMERS)
class VideoTransformerFamily(HubFamily):
    """Video transformers of Hugging Face."""

    networks = VIDEO_TRANSFORMERS

    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> TokenEncoder:
        """Return the encoder with its weights."""
        return TokenEncoder(spec, frames=frames, device=device, engine=engine)

    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        """Return the network without weights, of a clip."""
        network: Any = new_video_transformer(spec).eval()
        tokens = token_grid(spec, network.config, frames)
        rows, columns = spec.grid or tokens.patches
        example = torch.empty(1, frames, 3, *tokens.size)

        def run(clips: Tensor) -> Tensor:
            return tokens_of(network, clips)

        length = tokens.timestamps * rows * columns
        return Architecture(network, run, example, tokens.size, True, (tokens.dim,), length)

    def trainable(self, spec: EncoderSpec, configuration: Mapping[str, Any], *, frames: int) -> TrainableNetwork:
        """Return the network, of clips; its blocks are its layers."""
        random = spec.weights == "random"
        network = new_video_transformer(spec, configuration) if random else load_video_transformer(spec)
        tokens = token_grid(spec, network.config, frames)
        (mean, std), _ = normalisation(spec)
        return TrainableNetwork(
            network,
            partial(_pooled_tokens, tokens=tokens, grid=spec.grid),
            per_image=False,
            stages=_stages(network),
            mean=mean,
            std=std,
            size=tokens.size,
            dim=tokens.dim,
        )


def _stages(network: Any) -> Stages:
    """Return the layers of a network; those of VideoPrism see the space first, then the time."""
    if hasattr(network, "temporal_layers"):
        space = stages_of(list(network.spatial_layers), [network.layernorm1])
        return space + stages_of(list(network.temporal_layers), [network.layernorm2])
    norms = [getattr(network.encoder, "layernorm", None), getattr(network, "layernorm", None)]
    return stages_of(list(network.encoder.layer), norms)


def _pooled_tokens(network: Any, pixels: Tensor, *, tokens: TokenGrid, grid: tuple[int, int] | None) -> Tensor:
    found = tokens_of(network, pixels)
    return found if grid is None else pool_patches(found, tokens.timestamps, tokens.patches, grid)


def tokens_of(network: Any, pixels: Tensor) -> Tensor:
    """Return the tokens of normalised clips, timestamp by timestamp: (N, T, 3, H, W) to (N, tokens, D)."""
    kind, config = network.config.model_type, network.config
    if kind == "vjepa2":
        return cast(Tensor, network(pixels, skip_predictor=True).last_hidden_state)
    if kind == "videoprism_vision_model":
        side = config.image_size
        trained = (config.num_frames, *((side, side) if isinstance(side, int) else side))
        other = (pixels.shape[1], *pixels.shape[-2:]) != trained
        return cast(Tensor, network(pixels, interpolate_pos_encoding=other).last_hidden_state)
    found: Tensor = network(pixels).last_hidden_state
    if kind != "timesformer":
        return found
    tokens: Tensor = found[:, 1:]  # the first one stands for the clip
    if config.attention_type == "space_only":  # each frame by itself
        return tokens.reshape(len(pixels), -1, tokens.shape[-1])
    by_place: Tensor = tokens.unflatten(1, (-1, pixels.shape[1]))
    return by_place.transpose(1, 2).flatten(1, 2)


def pool_patches(tokens: Tensor, timestamps: int, patches: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Average tokens over the cells of a grid: (N, timestamps x patches, D) to (N, timestamps x cells, D)."""
    maps = tokens.unflatten(1, (timestamps, *patches)).flatten(0, 1).permute(0, 3, 1, 2)
    cells: Tensor = average_over(maps, grid).unflatten(1, (tokens.shape[-1], -1)).transpose(1, 2)
    return cells.reshape(len(tokens), -1, tokens.shape[-1])


def token_grid(spec: EncoderSpec, config: Any, frames: int) -> TokenGrid:
    """Return the places of the tokens of a clip.

    Args:
        spec: its `size` is taken.
        config: of the network.
        frames: T of the clip.

    Raises:
        UsageError: the network cannot take clips of that length or size.
    """
    about = VIDEO_TRANSFORMERS[spec.name]
    side = getattr(config, about.side)
    trained = hw(tuple(side) if isinstance(side, list) else side, (0, 0))
    size = hw(spec.size, trained)
    if about.frames is not None and (frames != getattr(config, about.frames) or size != trained):
        fixed = getattr(config, about.frames)
        raise UsageError(
            f"{spec.name} is built for {fixed} frames of {trained[0]} x {trained[1]} pixels, not {frames} of "
            f"{size[0]} x {size[1]}: --set sampling.count={fixed} --set encoder.size={trained[0]}"
        )
    tubelet = getattr(config, "tubelet_size", 1)
    length, *patch = (tubelet, config.patch_size, config.patch_size) if isinstance(tubelet, int) else tubelet
    if frames % length or size[0] % patch[0] or size[1] % patch[1]:
        raise UsageError(
            f"{spec.name} takes frames {length} by {length}, in squares of {patch[0]} pixels, and {frames} frames of "
            f"{size[0]} x {size[1]} cannot be divided so: --set sampling.count=16 --set encoder.size={trained[0]}"
        )
    places = size[0] // patch[0], size[1] // patch[1]
    usual = (frames, size) == (getattr(config, "num_frames", frames), trained)
    return TokenGrid(size, frames // length, places, int(config.hidden_size), usual)
