"""What every encoder is: frozen, from the pictures of a clip to features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from marey.encoders.contract import Contract, EncoderSpec, MultiView
from marey.encoders.streams import Stream
from marey.errors import UsageError
from marey.video import Fit, Interpolation, Sampling

Colour = tuple[float, float, float]
BATCH_CPU: Final = 8  # pictures at a time; more is no faster there, and takes more memory
BATCH: Final = 128


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

    def contract(
        self,
        *,
        sampling: Sampling,
        streams: Mapping[str, Stream],
        fit: Fit,
        testing: MultiView = MultiView(),  # noqa: B008 - frozen
    ) -> Contract:
        """What this encoder, with the given sampling and streams, makes of a clip."""
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

    @abstractmethod
    def encode_clips(self, clips: Tensor) -> Tensor:
        """Features of clips.

        Args:
            clips: uint8 (N, T, 3, H, W), of this encoder's `size`.

        Returns:
            On the CPU, (N, T', D): T' is T where each picture is encoded by itself.

        Raises:
            UsageError: clips of another type or size.
        """

    def normalised(self, pictures: Tensor) -> Tensor:
        """Pictures, uint8 (..., 3, H, W), as the network was trained to see them: float32, where it runs."""
        mean, std = (torch.tensor(values, device=self.device).view(3, 1, 1) * 255 for values in (self.mean, self.std))
        return pictures.to(self.device).float().sub_(mean).mul_(1 / std)

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
