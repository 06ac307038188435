"""Frame encoders: any network of timm, frozen, from pictures to features."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants as hub
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from marey.encoders.contract import Contract, EncoderSpec
from marey.encoders.memory import keep_freed_memory
from marey.encoders.streams import Stream
from marey.encoders.weights import EMBEDDED, NO_NETWORK, load_embedded, load_local, weights_hash
from marey.errors import UnknownNameError, UsageError, WeightsError
from marey.video import Fit, Interpolation, Sampling

_TIMM_NAME: Final = {EMBEDDED: "tf_efficientnet_lite0"}
_BATCH: Final = 128
_BATCH_CPU: Final = 8  # more is no faster there, and takes more memory
_PATIENCE: Final = 5.0  # s to reach the hub
_INTERPOLATION: Final[dict[str, Interpolation]] = {"bilinear": "bilinear", "nearest": "nearest"}


class FrameEncoder:
    """A frozen network that turns pictures into features, one vector a picture.

    Attributes:
        spec: name, weights, precision, size, grid.
        hash: BLAKE2b-128 of the weights.
        size: (H, W) of the input in pixels.
        interpolation: how pictures were resized when the weights were trained.
        mean: of RGB in [0, 1], when the weights were trained.
        std: likewise.
        dim: D, numbers a picture.
        device: where it runs.
        pictures: how many it has encoded so far.
    """

    def __init__(self, network: nn.Module, spec: EncoderSpec, *, device: str | torch.device = "cpu") -> None:
        config = resolve_model_data_config(network)
        height, width = config["input_size"][1:]
        self.spec = spec
        self.hash = weights_hash(network)
        self.size: tuple[int, int] = (spec.size or height, spec.size or width)
        self.interpolation: Interpolation = _INTERPOLATION.get(config["interpolation"], "bicubic")
        self.mean = cast(tuple[float, float, float], tuple(config["mean"]))
        self.std = cast(tuple[float, float, float], tuple(config["std"]))
        self.device = torch.device(device)
        self.pictures = 0
        if self.device.type == "cpu":
            keep_freed_memory()
        self._dtype = torch.bfloat16 if spec.precision == "bfloat16" else torch.float32
        self._network: Any = network.eval().requires_grad_(False).to(self.device, self._dtype)
        self._network.to(memory_format=torch.channels_last)
        self._mean = torch.tensor(self.mean, device=self.device).view(1, 3, 1, 1) * 255
        self._scale = 1 / (torch.tensor(self.std, device=self.device).view(1, 3, 1, 1) * 255)
        self.dim = int(self._forward(torch.zeros(1, 3, *self.size, dtype=torch.uint8)).shape[1])

    def contract(self, *, sampling: Sampling, streams: Mapping[str, Stream], fit: Fit) -> Contract:
        """What this encoder, with the given sampling and streams, makes of a clip."""
        return Contract(
            sampling=sampling,
            streams=dict(streams),
            fit=fit,
            encoder=self.spec,
            encoder_hash=self.hash,
            size=self.size,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
            dim=self.dim,
        )

    def encode(self, pictures: Tensor) -> Tensor:
        """Features of pictures.

        Args:
            pictures: uint8 (N, 3, H, W), of this encoder's `size`.

        Returns:
            float32 (N, D), on the CPU.

        Raises:
            UsageError: pictures of another type or size.
        """
        if pictures.dtype != torch.uint8 or pictures.shape[1:] != (3, *self.size):
            raise UsageError(
                f"{self.spec.name} takes uint8 (N, 3, {self.size[0]}, {self.size[1]}), "
                f"not {pictures.dtype} {tuple(pictures.shape)}"
            )
        self.pictures += len(pictures)
        if len(pictures) == 0:
            return torch.empty(0, self.dim)
        size = _BATCH_CPU if self.device.type == "cpu" else _BATCH
        return torch.cat([self._forward(batch) for batch in pictures.split(size)])

    @torch.inference_mode()
    def _forward(self, batch: Tensor) -> Tensor:
        pixels = batch.to(self.device).float().sub_(self._mean).mul_(self._scale)
        pixels = pixels.to(self._dtype).contiguous(memory_format=torch.channels_last)
        if self.spec.grid is None:
            features = self._network(pixels)
        else:
            (features,) = self._network.forward_intermediates(pixels, indices=1, intermediates_only=True)
            features = nn.functional.adaptive_avg_pool2d(features, self.spec.grid)
        return cast(Tensor, features).flatten(1).float().cpu()


def load_encoder(spec: EncoderSpec, *, device: str | torch.device = "cpu") -> FrameEncoder:
    """The network that a spec names, with its weights.

    Raises:
        UnknownNameError: neither marey nor timm has a network of that name.
        UsageError: the network cannot do what the spec asks of it.
        WeightsError: the weights are not here and cannot be had, or are not those of this network.
    """
    name = _TIMM_NAME.get(spec.name, spec.name)
    if not timm.is_model(name):
        raise UnknownNameError("encoder", spec.name, [EMBEDDED, *timm.list_models()])
    architecture, dot, _ = name.partition(".")
    trainings = timm.list_models(f"{architecture}.*", include_tags=True) if dot else []
    if dot and name not in trainings:
        raise UnknownNameError("encoder", spec.name, [architecture, *trainings])
    network = _build(name, spec)
    try:
        return FrameEncoder(network, spec, device=device)
    except (AttributeError, AssertionError, ValueError, RuntimeError) as error:
        asked = f"size={spec.size}, grid={spec.grid}, precision={spec.precision}"
        raise UsageError(f"the encoder {spec.name} cannot run with {asked} on {device}: {error}") from error


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
        with _offline_if_unreachable():
            return _create(name, spec, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"the pretrained weights of '{name}' are not on this machine, and fetching them failed ({reason}). "
            f"{NO_NETWORK}; or name a file of weights: --set encoder.weights=FILE"
        ) from error


@contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """Without a way to the hub, look only at what is on disk: the hub's own client would retry for a minute."""
    offline = hub.HF_HUB_OFFLINE
    try:
        if not offline and not getproxies():
            url = urlsplit(hub.ENDPOINT)
            address = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
            try:
                socket.create_connection(address, timeout=_PATIENCE).close()
            except OSError:
                hub.HF_HUB_OFFLINE = True
        yield
    finally:
        hub.HF_HUB_OFFLINE = offline
