"""A clip without some of its timestamps: what the model answers then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.encoders import Encoder, encode_parts
from marey.models import ActionModel
from marey.models.attribution import Outcomes, Pair, outcomes

Kept = npt.NDArray[np.bool_]
"""Parts of a clip that are kept, (N, P): a row a version of the clip."""

Floats = npt.NDArray[np.float64]

ORDERS: Final = 64
"""Orders in which parts are put together."""

_NUMBERS: Final = 2**24  # of the versions of a clip that are in memory at once


@dataclass(frozen=True)
class Answers:
    """The answers of a model for several versions of a clip, calibrated.

    Attributes:
        probabilities: (N, classes).
        margins: (N, heads), the contribution of each head to the logarithm of the ratio of two probabilities.
    """

    probabilities: Floats
    margins: Floats

    @classmethod
    def of(cls, model: ActionModel, found: list[Outcomes]) -> Answers:
        """Return the calibrated answers of outcomes."""
        temperature = model.config.temperature
        logits = torch.cat([each.logits for each in found]).double() / temperature
        margins = torch.cat([each.margins for each in found]).double() / temperature
        return cls(logits.softmax(-1).numpy(), margins.numpy())


class Versions(Protocol):
    """A clip whose parts can be left out."""

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """Number of the part that each of the T timestamps belongs to, (T,)."""

    def answers(self, kept: Kept) -> Answers:
        """Return the answers where only the parts of each row are kept, (N, P)."""


@dataclass(frozen=True)
class MaskedFeatures:
    """Features of a clip, of which the head is not shown some: exact, and without a pass of the encoder.

    A timestamp is left out as training leaves out frames and as clips of other lengths have fewer of them: by the mask
    of the head. Nothing is put in its place, which would be another clip that the model has an opinion on.

    Attributes:
        model: the model.
        features: stream name to (T', D).
        pair: the classes that are compared.
        owner: part of each timestamp, (T,).
        token: part of each of the T' features.
    """

    model: ActionModel
    features: Mapping[str, Tensor]
    pair: Pair
    owner: npt.NDArray[np.int64]
    token: npt.NDArray[np.int64]

    def answers(self, kept: Kept) -> Answers:
        """Return the answers where only the parts of each row are kept."""
        found = []
        size = sum(values.numel() for values in self.features.values())
        for rows in torch.from_numpy(kept[:, self.token]).split(max(1, _NUMBERS // size)):
            batch = {name: values.expand(len(rows), *values.shape) for name, values in self.features.items()}
            found.append(outcomes(self.model.classifier, batch, rows, self.pair))
        return Answers.of(self.model, found)


@dataclass(frozen=True)
class StillFrames:
    """Images of a clip, of which some are replaced by the mean image of the clip: still, and without a movement.

    For networks on frames and encoders of whole clips, which take a fixed number of images. The mean has the place, the
    light and the colours of the clip, so that the network meets nothing that it has never seen, such as black frames.

    Attributes:
        model: the model.
        encoder: its encoder.
        images: stream name to uint8 (T, 3, H, W), or observations of a stream that makes its own features.
        pair: the classes that are compared.
        owner: part of each timestamp, (T,).
    """

    model: ActionModel
    encoder: Encoder
    images: Mapping[str, Tensor]
    pair: Pair
    owner: npt.NDArray[np.int64]

    def answers(self, kept: Kept) -> Answers:
        """Return the answers where only the parts of each row are kept, and the others are still."""
        means = {name: mean_image(values) for name, values in self.images.items()}
        found = []
        for row in torch.from_numpy(kept[:, self.owner]):
            images = {name: blend(values, means[name], row) for name, values in self.images.items()}
            found.append(self.outcome(images))
        return Answers.of(self.model, found)

    def outcome(self, images: Mapping[str, Tensor]) -> Outcomes:
        """Return the answer to images in the place of the clip's, (T, 3, H, W) a stream."""
        batch = {name: values[None] for name, values in self.encode(images).items()}
        first = next(iter(batch.values()))
        return outcomes(self.model.classifier, batch, torch.ones(first.shape[:2], dtype=torch.bool), self.pair)

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the input of the heads, stream name to (T', D) or (T, C, H, W)."""
        streams = self.model.config.contract.streams
        return dict(zip(images, encode_parts(self.encoder, streams, list(images.items())), strict=True))


def mean_image(images: Tensor) -> Tensor:
    """Return the mean image of a clip, (T, ...) to (...), in its own type."""
    mean = images.double().mean(0)
    return mean.round().to(images.dtype) if not images.is_floating_point() else mean.to(images.dtype)


def blend(images: Tensor, others: Tensor, kept: Tensor) -> Tensor:
    """Return images where a mask is true, and others elsewhere; shapes are broadcast from the first axis on."""
    return torch.where(kept.reshape(*kept.shape, *(1,) * (images.ndim - kept.ndim)), images, others)


def parts_of(timestamps: int, most: int) -> npt.NDArray[np.int64]:
    """Return the part of each timestamp where they are divided evenly into at most so many parts, (T,)."""
    parts = min(timestamps, most)
    found: npt.NDArray[np.int64] = np.arange(timestamps, dtype=np.int64) * parts // timestamps
    return found


def leave_one_out(versions: Versions) -> Floats:
    """Return what the margin loses without each part, by head: (heads, P)."""
    count = int(versions.owner.max()) + 1
    margins = versions.answers(~np.eye(count + 1, count, dtype=bool)).margins
    losses: Floats = (margins[-1] - margins[:-1]).T
    return losses


def shapley_values(versions: Versions, *, orders: int = ORDERS, seed: int = 0) -> Floats:
    """Return the Shapley value of each part, by head: (heads, P).

    It is what a part adds to the margin, on average over the orders in which the parts of a clip can be put together
    (Shapley 1953; sampled as by Strumbelj and Kononenko 2010, each order also backwards). Neighbouring parts often show
    the same, so that none is missed when it alone is left out; here they share what they tell. The sum over the parts
    is exactly the margin less that of a clip of which nothing is known.

    Args:
        versions: the clip.
        orders: number of orders, even.
        seed: of their generator.
    """
    count = int(versions.owner.max()) + 1
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(count) for _ in range(orders // 2)]
    found = None
    for order in (each for forwards in drawn for each in (forwards, forwards[::-1])):
        kept = np.argsort(order) < np.arange(count + 1)[:, None]
        gains = np.diff(versions.answers(kept).margins, axis=0)
        values = gains[np.argsort(order)].T
        found = values if found is None else found + values
    assert found is not None  # noqa: S101 - there is an order
    return found / (2 * len(drawn))
