"""Base of all encoders: frozen, from the frames of a clip to features."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import ValidationError
from torch import Tensor

from marey.encoders.backbone import Colour, FrozenBackbone
from marey.encoders.contract import Contract, EncoderSpec, MultiView
from marey.encoders.engine import Engine, fit_threads, one_core
from marey.encoders.engine_benchmark import Benchmarks
from marey.encoders.engines import start_engine
from marey.encoders.motion_region import ClipFit
from marey.encoders.photometric import Photometric
from marey.encoders.streams import Stream
from marey.errors import UsageError, inner_sentence
from marey.video import Conversion, Interpolation, Sampling


class Encoder:
    """A frozen network: from the frames of a clip, uint8 (T, 3, H, W), to features.

    Attributes:
        per_image: True if each image is encoded by itself, so that clips which share images share their features.
        spec: name, weights, precision, size, grid.
        hash: BLAKE2b-128 of the weights.
        size: (H, W) of the input in pixels.
        interpolation: how images were resized when the weights were trained.
        mean: of RGB in [0, 1], when the weights were trained.
        std: likewise.
        dim: D, numbers a feature vector.
        device: where it runs.
        images: number of images that it has encoded so far.
        engine: name of the engine; empty where there is no network.
        cache_tag: part of the cache key of its features beside the contract: empty where they agree with PyTorch's
            in float32 to `TOLERANCE`, else the engine's name.
        trial: benchmark of the engines for it on this machine.
    """

    per_image: ClassVar[bool] = False
    spec: EncoderSpec
    hash: str
    size: tuple[int, int]
    interpolation: Interpolation
    mean: Colour
    std: Colour
    dim: int
    device: torch.device
    images: int = 0
    engine: str = ""
    cache_tag: str = ""
    trial: Benchmarks

    def __init__(self) -> None:
        fit_threads()
        self.trial = {}
        self._counting = threading.Lock()

    def load_from_contract(self, contract: Contract) -> None:
        """Set the attributes from a contract, on the CPU."""
        self.spec, self.hash, self.size, self.dim = (
            contract.encoder,
            contract.encoder_hash,
            contract.size,
            contract.dim,
        )
        self.interpolation, self.mean, self.std = contract.interpolation, contract.mean, contract.std
        self.device = torch.device("cpu")

    def setup(
        self, network: FrozenBackbone, *, device: str | torch.device, engine: str | None, dim: int | None = None
    ) -> None:
        """Set the attributes from a network, and start its engine.

        Args:
            network: taken over.
            device: where it runs.
            engine: runtime, see `ENGINES`.
            dim: D; None to find it with one run.

        Raises:
            UsageError: the engine is missing, or cannot run the network.
        """
        self.spec, self.hash, self.size = network.spec, network.hash, network.size
        self.interpolation, self.mean, self.std = network.interpolation, network.mean, network.std
        self.device = torch.device(device)
        running = start_engine(network, device=self.device, engine=engine)
        self._engine: Engine = running.engine
        if dim is None:
            with one_core():
                dim = self._engine.run(torch.zeros(1, *network.shape, dtype=torch.uint8)).shape[-1]
        self.dim = dim
        self.engine, self.cache_tag, self.trial = running.engine.name, running.cache_tag, running.trial

    def contract(
        self,
        *,
        sampling: Sampling,
        streams: Mapping[str, Stream],
        fit: ClipFit,
        photometric: Photometric = "none",
        conversion: Conversion = "standard",
        testing: MultiView = MultiView(),  # noqa: B008 - frozen
    ) -> Contract:
        """Return the contract of this encoder with a sampling, streams and a resize mode; see `Contract.from_recipe`.

        Raises:
            UsageError: the choices exclude each other.
        """
        try:
            return Contract(
                sampling=sampling,
                testing=testing,
                streams=dict(streams),
                fit=fit,
                photometric=photometric,
                conversion=conversion,
                encoder=self.spec,
                encoder_hash=self.hash,
                size=self.size,
                interpolation=self.interpolation,
                mean=self.mean,
                std=self.std,
                dim=self.dim,
            )
        except ValidationError as error:
            raise UsageError(inner_sentence(error)) from error

    def encode_clips(self, clips: Tensor) -> Tensor:
        """Return the features of clips; several threads may call it at once, see `Engine`.

        Args:
            clips: uint8 (N, T, 3, H, W), of this encoder's `size`.

        Returns:
            On the CPU, (N, T', D): T' is T where each image is encoded by itself.

        Raises:
            UsageError: clips of another type or size.
        """
        self.check(clips, axes="N, T")
        self.count(len(clips) * clips.shape[1])
        if not self.per_image:
            return self._engine.run(clips).view(len(clips), -1, self.dim)
        images = clips.flatten(0, 1)
        features = self._engine.run(images) if len(images) else torch.empty(0, self.dim)
        return features.view(*clips.shape[:2], self.dim)

    def count(self, images: int) -> None:
        """Add to the number of encoded images."""
        with self._counting:
            self.images += images

    def check(self, images: Tensor, *, axes: str) -> None:
        """Refuse images that are not uint8, or of another size.

        Args:
            images: the input.
            axes: its first axes, as in "N, T".

        Raises:
            UsageError: it has another type or shape.
        """
        shape = (3, *self.size)
        first = axes.count(",") + 1
        if images.dtype != torch.uint8 or images.ndim != first + 3 or images.shape[first:] != shape:
            expected = ", ".join((axes, *map(str, shape)))
            raise UsageError(f"{self.spec.name} takes uint8 ({expected}), not {images.dtype} {tuple(images.shape)}")


def hw(size: int | tuple[int, int] | None, default: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of a spec."""
    if size is None:
        return default
    return (size, size) if isinstance(size, int) else size
