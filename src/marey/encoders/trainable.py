"""Encoders that are trained with a head: their network, its blocks, and what has to be stored to build it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from marey.encoders.backbone import Colour, Read
from marey.encoders.contract import EncoderSpec
from marey.encoders.registry import family_of
from marey.errors import UsageError

Stages = tuple[tuple[nn.Module, ...], ...]
"""Each block of a network with the layers between it and the next one, first to last."""

_LARGEST: Final = 16_384
_MOST_LAYERS: Final = 256
"""Limits of a configuration: an untrusted model folder may name any number."""

Cells = Annotated[int, Field(ge=1, le=16)]


class BackboneSpec(BaseModel):
    """The choice of a network that is trained with a head, on raw frames.

    Attributes:
        name: of an encoder, as in `encoder.name`.
        grid: rows and columns that its last feature map is averaged over, as in `encoder.grid`.
        configuration: what beside its name decides the network, where its weights bring that with them: the keys of a
            configuration of `transformers` that differ from their defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    grid: tuple[Cells, Cells] | None = None
    configuration: dict[str, Any] = {}

    @model_validator(mode="after")
    def _configuration_is_plain(self) -> Self:
        for key, value in _leaves(self.configuration):
            if not isinstance(value, bool | int | float | str | None):
                raise ValueError(f"configuration: {key} has to be a number, text, true or false, not {value!r}")
            limit = _MOST_LAYERS if "layers" in key else _LARGEST
            if isinstance(value, int | float) and not abs(value) <= limit:
                raise ValueError(f"configuration: {key} is {value:g}, and at most {limit} is possible")
            if isinstance(value, str) and len(value) > 64:
                raise ValueError(f"configuration: {key} is longer than 64 characters")
        return self

    def encoder(self, weights: str, size: tuple[int, int] | None) -> EncoderSpec:
        """Return the encoder with these weights, for frames of a size, (H, W)."""
        return EncoderSpec(name=self.name, weights=weights, size=size, grid=self.grid)


@dataclass(frozen=True)
class TrainableNetwork:
    """A network in float32 that can be trained.

    Attributes:
        network: with the weights of its spec.
        read: from it and normalised images, or clips, to features: (N, D), or (N, T', D).
        per_image: True if it takes images, (N, 3, H, W); False for clips, (N, T, 3, H, W).
        stages: its blocks.
        mean: of RGB in [0, 1], when its weights were trained.
        std: likewise.
        size: (H, W) of its input, in pixels.
        dim: D.
    """

    network: nn.Module
    read: Read
    per_image: bool
    stages: Stages
    mean: Colour
    std: Colour
    size: tuple[int, int]
    dim: int

    def __post_init__(self) -> None:
        self.network.float()
        for module in self.network.modules():
            # Tables such as rotary positions are saved too: a model is loaded without computing them anew.
            module._non_persistent_buffers_set.clear()


def trainable(
    backbone: BackboneSpec, *, frames: int, size: tuple[int, int] | None, weights: str = "random"
) -> TrainableNetwork:
    """Return a network that can be trained.

    Args:
        backbone: the choice.
        frames: T of its clips.
        size: (H, W) of the frames; None for that of its pretraining.
        weights: "random", "pretrained", or the path of a file or folder.

    Raises:
        UnknownNameError: there is no encoder of that name.
        UsageError: it cannot be trained, or not with such clips.
        WeightsError: its weights cannot be loaded.
    """
    spec = backbone.encoder(weights, size)
    try:
        return family_of(spec).trainable(spec, backbone.configuration, frames=frames)
    except UsageError:
        raise
    except (AttributeError, AssertionError, TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"the encoder {spec.name} cannot be trained on frames of {size}: {error}") from error


def backbone_of(spec: EncoderSpec, *, frames: int) -> tuple[BackboneSpec, tuple[int, int]]:
    """Return the network of an encoder as one to be trained, and (H, W) of its input in pixels.

    Of its weights at most the configuration beside them is read.

    Raises:
        UsageError: it cannot be trained.
        WeightsError: there is no configuration beside its weights.
    """
    family = family_of(spec)
    backbone = BackboneSpec(name=spec.name, grid=spec.grid, configuration=family.configuration(spec))
    if spec.size is not None:
        return backbone, (spec.size, spec.size) if isinstance(spec.size, int) else spec.size
    with torch.device("meta"):
        return backbone, trainable(backbone, frames=frames, size=None).size


def stages_of(blocks: list[nn.Module], after: list[nn.Module | None]) -> Stages:
    """Return the blocks of a network, the last one with the layers after it."""
    if not blocks:
        return ()
    rest = tuple(each for each in after if each is not None)
    return (*((each,) for each in blocks[:-1]), (blocks[-1], *rest))


def stages_by_name(network: nn.Module, *holders: str) -> Stages:
    """Return the blocks of a network, of timm or torchvision, by the names of its children; none where unknown.

    Args:
        network: layers of a transformer, or stages of a convolutional network.
        holders: names of children that hold the blocks; else they are called layer1, layer2, ...
    """
    children = list(network.named_children())
    names = [each for each, _ in children]
    holder = next((each for each in holders if each in names), None)
    if holder is not None:
        blocks = list(getattr(network, holder).children())
        last = names.index(holder)
    else:
        numbered = [each for each in names if each.startswith("layer") and each[5:].isdigit()]
        blocks = [getattr(network, each) for each in numbered]
        last = names.index(numbered[-1]) if numbered else -1
    return stages_of(blocks, [module for _, module in children[last + 1 :]])


def _leaves(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        elif isinstance(value, list | tuple) and len(value) <= 16:
            yield from ((key, each) for each in value)
        else:
            yield key, value
