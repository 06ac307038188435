"""Frame encoders: any network of timm, frozen; each image becomes one vector."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from marey.encoders.backbone import Colour, FrozenBackbone, average_over
from marey.encoders.contract import EncoderSpec
from marey.encoders.encoder import Encoder, hw
from marey.encoders.registry import Architecture, EncoderFamily, WeightsOrigin, encoder_names, register_encoder
from marey.encoders.trainable import TrainableNetwork, stages_by_name
from marey.encoders.weights import (
    EMBEDDED,
    NO_NETWORK,
    load_embedded,
    load_local,
    offline_if_unreachable,
    weights_hash,
)
from marey.errors import UnknownNameError, WeightsError, first_line
from marey.extensions import unknown_name
from marey.video import Interpolation

_TIMM_NAME: Final = {EMBEDDED: "tf_efficientnet_lite0"}
_INTERPOLATION: Final[dict[str, Interpolation]] = {"bilinear": "bilinear", "nearest": "nearest"}


class FrameEncoder(Encoder):
    """A network of timm, frozen: each image becomes one vector.

    Args:
        network: as `load_timm_backbone` gives it; taken over.
        device: where it runs.
        engine: runtime, see `ENGINES`.

    Raises:
        UsageError: the engine is missing, or cannot run the network.
    """

    per_image = True

    def __init__(
        self, network: FrozenBackbone, *, device: str | torch.device = "cpu", engine: str | None = "pytorch"
    ) -> None:
        super().__init__()
        self.setup(network, device=device, engine=engine)

    def encode(self, images: Tensor) -> Tensor:
        """Return the features of images.

        Args:
            images: uint8 (N, 3, H, W), of this encoder's `size`.

        Returns:
            float32 (N, D), on the CPU.

        Raises:
            UsageError: images of another type or size.
        """
        self.check(images, axes="N")
        self.count(len(images))
        return self._engine.run(images) if len(images) else torch.empty(0, self.dim)


@register_encoder(default=True)
class TimmFamily(EncoderFamily):
    """Any model name of timm, with or without the tag of its training ("resnet18", "resnet18.a1_in1k")."""

    per_image = True
    quantizable = True

    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> FrameEncoder:
        """Return the encoder with its weights."""
        return load_frame_encoder(spec, device=device, engine=engine)

    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        """Return the network without weights, of one image."""
        network: Any = _create(_timm_name(spec.name), spec).eval()
        drop_unused(network, spec)
        size = hw(spec.size, _config(network)["input_size"][1:])
        example = torch.empty(1, 3, *size)

        def run(images: Tensor) -> Tensor:
            return features_of(network, images, spec.grid)

        return Architecture(network, run, example, size, False, (run(example).shape[1],), frames)

    def pretrained(self, name: str) -> WeightsOrigin:
        """Return the hub, and the size of all numbers of the network."""
        return WeightsOrigin("download", name, pretrained_size(name))

    def backbone(self, spec: EncoderSpec) -> FrozenBackbone:
        """Return the network with its weights."""
        return load_timm_backbone(spec)

    def trainable(self, spec: EncoderSpec, configuration: Mapping[str, Any], *, frames: int) -> TrainableNetwork:
        """Return the network, of images; its blocks are layers of a transformer, or stages of a convolutional one."""
        name = _timm_name(spec.name)
        network: Any = _create(name, spec) if spec.weights == "random" else _build(name, spec)
        drop_unused(network, spec)
        config = _config(network)
        with torch.device("meta"):
            found = self.meta(spec, frames=frames)
        return TrainableNetwork(
            network,
            partial(features_of, grid=spec.grid),
            per_image=True,
            stages=stages_by_name(network, "blocks", "stages"),
            mean=cast(Colour, tuple(config["mean"])),
            std=cast(Colour, tuple(config["std"])),
            size=found.size,
            dim=found.shape[0],
        )


@register_encoder(EMBEDDED)
class EmbeddedFamily(TimmFamily):
    """EfficientNet-Lite0, whose weights are installed with marey."""

    def pretrained(self, name: str) -> WeightsOrigin:
        """Return marey."""
        return WeightsOrigin("marey")


def features_of(network: Any, pixels: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """Return the features of normalised images, (N, D): the network's own vector, or its last map over a grid."""
    if grid is None:
        return cast(Tensor, network(pixels).flatten(1))
    (found,) = network.forward_intermediates(pixels, indices=1, intermediates_only=True)
    return average_over(found, grid)


def drop_unused(network: Any, spec: EncoderSpec) -> None:
    """Remove the layers after the last feature map, where a grid is asked for: in VGG they are most of it."""
    if spec.grid is not None:
        with suppress(AttributeError):
            network.prune_intermediate_layers(1, prune_head=True)


def pretrained_size(name: str) -> int:
    """Return the bytes of a network's pretrained weights, about: those of all its numbers."""
    import timm

    with torch.device("meta"):
        network = timm.create_model(_timm_name(name))
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def load_frame_encoder(
    spec: EncoderSpec, *, device: str | torch.device = "cpu", engine: str | None = "pytorch"
) -> FrameEncoder:
    """Return the frame encoder of a spec, with its weights.

    Raises:
        UnknownNameError: there is no network of that name, or no such training of it.
        WeightsError: the weights are missing and cannot be fetched, or are those of another network.
        UsageError: the engine is missing, or cannot run the network.
    """
    return FrameEncoder(load_timm_backbone(spec), device=device, engine=engine)


def load_timm_backbone(spec: EncoderSpec) -> FrozenBackbone:
    """Return the network of a spec, with its weights, as engines run it: an image an input.

    Raises:
        UnknownNameError: there is no network of that name, or no such training of it.
        WeightsError: the weights are missing and cannot be fetched, or are those of another network.
    """
    network = _build(_timm_name(spec.name), spec)
    config = _config(network)
    weights = weights_hash(network)
    drop_unused(network, spec)
    return FrozenBackbone(
        network,
        partial(features_of, grid=spec.grid),
        spec=spec,
        hash=weights,
        shape=(3, *hw(spec.size, config["input_size"][1:])),
        mean=cast(Colour, tuple(config["mean"])),
        std=cast(Colour, tuple(config["std"])),
        interpolation=_INTERPOLATION.get(config["interpolation"], "bicubic"),
    )


def _timm_name(name: str) -> str:
    """Return timm's name of an encoder.

    Raises:
        UnknownNameError: there is no network of that name, or no such training of it.
    """
    import timm

    inner = _TIMM_NAME.get(name, name)
    if not timm.is_model(inner):
        raise unknown_name("encoder", name, [*encoder_names(warn=False), *timm.list_models()])
    architecture, dot, _ = inner.partition(".")
    trainings = timm.list_models(f"{architecture}.*", include_tags=True) if dot else []
    if dot and inner not in trainings:
        raise UnknownNameError("encoder", name, [architecture, *trainings])
    return inner


def _config(network: nn.Module) -> dict[str, Any]:
    from timm.data.config import resolve_model_data_config

    return cast(dict[str, Any], resolve_model_data_config(network))


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
    import timm

    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0}
    if spec.size is not None:
        # A transformer has position embeddings for one size: another one has to be given when it is built.
        with suppress(TypeError):
            return timm.create_model(name, img_size=spec.size, **options)
    return timm.create_model(name, **options)


def _embedded(name: str) -> nn.Module:
    import timm

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
