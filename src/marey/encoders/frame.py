"""Frame encoders: any network of timm, frozen, from pictures to features."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from marey.encoders.contract import EncoderSpec
from marey.encoders.encoder import Encoder, sides
from marey.encoders.frozen import Colour, FrozenNetwork, average_over
from marey.encoders.weights import (
    EMBEDDED,
    NO_NETWORK,
    load_embedded,
    load_local,
    offline_if_unreachable,
    weights_hash,
)
from marey.errors import UnknownNameError, WeightsError, first_line
from marey.video import Interpolation

_TIMM_NAME: Final = {EMBEDDED: "tf_efficientnet_lite0"}
_INTERPOLATION: Final[dict[str, Interpolation]] = {"bilinear": "bilinear", "nearest": "nearest"}


class FrameEncoder(Encoder):
    """A network of timm, frozen: each picture becomes one vector.

    Args:
        network: as `load_frame_network` gives it; taken over.
        device: where it runs.
        engine: what runs it, see `ENGINES`.

    Raises:
        UsageError: the engine is not there, or cannot run the network.
    """

    per_picture = True

    def __init__(
        self, network: FrozenNetwork, *, device: str | torch.device = "cpu", engine: str | None = "pytorch"
    ) -> None:
        super().__init__()
        self.start(network, device=device, engine=engine)

    def encode(self, pictures: Tensor) -> Tensor:
        """Features of pictures.

        Args:
            pictures: uint8 (N, 3, H, W), of this encoder's `size`.

        Returns:
            float32 (N, D), on the CPU.

        Raises:
            UsageError: pictures of another type or size.
        """
        self.check(pictures, many="N")
        self.count(len(pictures))
        return self._engine.run(pictures) if len(pictures) else torch.empty(0, self.dim)

    def encode_clips(self, clips: Tensor) -> Tensor:
        """uint8 (N, T, 3, H, W) to float32 (N, T, D)."""
        self.check(clips, many="N, T")
        return self.encode(clips.flatten(0, 1)).view(*clips.shape[:2], self.dim)


def features_of(network: Any, pixels: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """What a network of timm gives for normalised pictures, (N, D): its own vector, or its last map over a grid."""
    if grid is None:
        return cast(Tensor, network(pixels).flatten(1))
    (found,) = network.forward_intermediates(pixels, indices=1, intermediates_only=True)
    return average_over(found, grid)


def drop_unused(network: Any, spec: EncoderSpec) -> None:
    """Take away what comes after the last feature map, where that is what is asked for: in VGG it is most of it."""
    if spec.grid is not None:
        with suppress(AttributeError):
            network.prune_intermediate_layers(1, prune_head=True)


def create_network(spec: EncoderSpec) -> nn.Module:
    """The network of timm that a spec names, with no weights in particular."""
    return _create(_TIMM_NAME.get(spec.name, spec.name), spec)


def pretrained_size(name: str) -> int:
    """Return about how many bytes the pretrained weights of a network of timm have: those of all its numbers."""
    with torch.device("meta"):
        network = timm.create_model(_TIMM_NAME.get(name, name))
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def load_frame_encoder(
    spec: EncoderSpec, *, device: str | torch.device = "cpu", engine: str | None = "pytorch"
) -> FrameEncoder:
    """The network of timm that a spec names, with its weights, at work.

    Raises:
        UnknownNameError: timm knows the network, and no such training of it.
        WeightsError: the weights are not here and cannot be had, or are not those of this network.
        UsageError: the engine is not there, or cannot run the network.
    """
    return FrameEncoder(load_frame_network(spec), device=device, engine=engine)


def load_frame_network(spec: EncoderSpec) -> FrozenNetwork:
    """The network of timm that a spec names, with its weights, as engines run it: a picture an input.

    Raises:
        UnknownNameError: timm knows the network, and no such training of it.
        WeightsError: the weights are not here and cannot be had, or are not those of this network.
    """
    name = _TIMM_NAME.get(spec.name, spec.name)
    architecture, dot, _ = name.partition(".")
    trainings = timm.list_models(f"{architecture}.*", include_tags=True) if dot else []
    if dot and name not in trainings:
        raise UnknownNameError("encoder", spec.name, [architecture, *trainings])
    network = _build(name, spec)
    config = resolve_model_data_config(network)
    height, width = config["input_size"][1:]
    weights = weights_hash(network)
    drop_unused(network, spec)
    return FrozenNetwork(
        network,
        partial(features_of, grid=spec.grid),
        spec=spec,
        hash=weights,
        shape=(3, *sides(spec.size, (height, width))),
        mean=cast(Colour, tuple(config["mean"])),
        std=cast(Colour, tuple(config["std"])),
        interpolation=_INTERPOLATION.get(config["interpolation"], "bicubic"),
    )


def _build(name: str, spec: EncoderSpec) -> nn.Module:
    if spec.weights == "pretrained":
        return _embedded(name) if spec.name == EMBEDDED else _pretrained(name, spec)
    if spec.weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _create(name, spec)
    network = _create(name, spec)
    load_local(network, Path(spec.weights))
    return network


def _create(name: str, spec: EncoderSpec, *, pretrained: bool = False) -> nn.Module:
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0}
    if spec.size is not None:
        # A transformer's positions are laid out for one size: it has to know of another when it is built.
        with suppress(TypeError):
            return timm.create_model(name, img_size=spec.size, **options)
    return timm.create_model(name, **options)


def _embedded(name: str) -> nn.Module:
    network: Any = timm.create_model(name)
    load_embedded(network)
    network.reset_classifier(0)
    return cast(nn.Module, network)


def _pretrained(name: str, spec: EncoderSpec) -> nn.Module:
    try:
        with offline_if_unreachable():
            return _create(name, spec, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = first_line(error)
        raise WeightsError(
            f"the pretrained weights of '{name}' are not on this machine, and fetching them failed ({reason}). "
            f"{NO_NETWORK}; or name a file of weights: --set encoder.weights=FILE"
        ) from error
