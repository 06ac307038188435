"""What every encoder is: frozen, from the pictures of a clip to features."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import ValidationError
from torch import Tensor

from marey.encoders.contract import Contract, EncoderSpec, MultiView
from marey.encoders.engine import Engine, fit_threads, one_core
from marey.encoders.engines import start_engine
from marey.encoders.frozen import Colour, FrozenNetwork
from marey.encoders.streams import Stream
from marey.encoders.trial import Trial
from marey.errors import UsageError, inner_sentence
from marey.video import Fit, Interpolation, Sampling


class Encoder(ABC):
    """A frozen network: the pictures of a clip, uint8 (T, 3, H, W), become features.

    Attributes:
        per_picture: whether each picture is encoded by itself, so that clips which share pictures share their features.
        spec: name, weights, precision, size, grid.
        hash: BLAKE2b-128 of the weights.
        size: (H, W) of the input in pixels.
        interpolation: how pictures were resized when the weights were trained.
        mean: of RGB in [0, 1], when the weights were trained.
        std: likewise.
        dim: D, numbers a feature vector.
        device: where it runs.
        pictures: how many it has encoded so far.
        engine: name of what runs it; empty where there is nothing to run.
        cache_tag: what its features are kept under beside the contract: empty where they agree with PyTorch's in
            float32 to `TOLERANCE`, else the engine's name.
        trial: what is known of the engines for it on this machine.
    """

    per_picture: ClassVar[bool] = False
    spec: EncoderSpec
    hash: str
    size: tuple[int, int]
    interpolation: Interpolation
    mean: Colour
    std: Colour
    dim: int
    device: torch.device
    pictures: int = 0
    engine: str = ""
    cache_tag: str = ""
    trial: Trial

    def __init__(self) -> None:
        fit_threads()
        self.trial = {}
        self._counting = threading.Lock()

    def take_over(self, contract: Contract) -> None:
        """Be what a contract says of its encoder."""
        self.spec, self.hash, self.size, self.dim = (
            contract.encoder,
            contract.encoder_hash,
            contract.size,
            contract.dim,
        )
        self.interpolation, self.mean, self.std = contract.interpolation, contract.mean, contract.std
        self.device = torch.device("cpu")

    def start(
        self, network: FrozenNetwork, *, device: str | torch.device, engine: str | None, dim: int | None = None
    ) -> None:
        """Take over what a network is, and put it to work.

        Args:
            network: taken over.
            device: where it runs.
            engine: what runs it, see `ENGINES`.
            dim: D, where it is known without a run.

        Raises:
            UsageError: the engine is not there, or cannot run the network.
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
        fit: Fit,
        testing: MultiView = MultiView(),  # noqa: B008 - frozen
    ) -> Contract:
        """What this encoder, with the given sampling and streams, makes of a clip.

        Raises:
            UsageError: the choices do not go together.
        """
        try:
            return Contract(
                sampling=sampling,
                testing=testing,
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
        except ValidationError as error:
            raise UsageError(inner_sentence(error)) from error

    @abstractmethod
    def encode_clips(self, clips: Tensor) -> Tensor:
        """Features of clips; several threads may ask at once, see `Engine`.

        Args:
            clips: uint8 (N, T, 3, H, W), of this encoder's `size`.

        Returns:
            On the CPU, (N, T', D): T' is T where each picture is encoded by itself.

        Raises:
            UsageError: clips of another type or size.
        """

    def count(self, pictures: int) -> None:
        """Note that so many more pictures were encoded."""
        with self._counting:
            self.pictures += pictures

    def check(self, pictures: Tensor, *, many: str) -> None:
        """Refuse what is not uint8 and of this encoder's size.

        Args:
            pictures: what is asked to be encoded.
            many: its first axes, as in "N, T".

        Raises:
            UsageError: it is something else.
        """
        shape = (3, *self.size)
        axes = many.count(",") + 1
        if pictures.dtype != torch.uint8 or pictures.ndim != axes + 3 or pictures.shape[axes:] != shape:
            wanted = ", ".join((many, *map(str, shape)))
            raise UsageError(f"{self.spec.name} takes uint8 ({wanted}), not {pictures.dtype} {tuple(pictures.shape)}")


def sides(size: int | tuple[int, int] | None, default: tuple[int, int]) -> tuple[int, int]:
    """Height and width that a spec asks for."""
    if size is None:
        return default
    return (size, size) if isinstance(size, int) else size
