"""Descriptions that a model keeps of its training clips, to say how unlike them a new clip is."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Annotated, Final, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from marey.models.classifier import Classifier, full_mask, fuse
from marey.models.head import Head, scale_of
from marey.models.members import Members

PREFIX: Final = "familiarity."
"""Of its tensors in `model.safetensors`."""

NEIGHBOURS: Final = 3
MOST_READINGS: Final = 256
"""Readings of training clips that are kept, where these are three or more a class."""

WIDEST: Final = 1024
"""Numbers that are kept of a reading, over all heads: 256 readings take 512 kB."""

_DOUBT: Final = 0.25  # chosen on the drawn set, of 0, 1/4, 1/2, 1 and 2, with each class left out in turn

_TENSORS: Final = ("clips", "labels", "groups", "mean", "scale")
_INPUTS = threading.local()  # of the last layers, while a thread describes clips


class FamiliarityConfig(BaseModel):
    """The part of a model's `config.json` on unfamiliar clips.

    Attributes:
        clips: number of training clips, of which about `MOST_READINGS` readings are kept.
        groups: number of their groups.
        views: readings that are kept of each.
        threshold: distance from which a clip is unknown.
        false_alarm: share of the clips of held-out training groups above the threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: Annotated[int, Field(ge=1)]
    groups: Annotated[int, Field(ge=1)]
    views: Annotated[int, Field(ge=1)]
    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    false_alarm: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Familiarity:
    """Descriptions of the training clips, and the distance from which a clip is unlike all of them.

    Attributes:
        config: counts and threshold.
        clips: float16 (N, M), standardised descriptions of training clips, all plain readings first.
        labels: int64 (N,), their classes.
        groups: int64 (N,), numbers of their groups.
        mean: (M,), of the descriptions of the training clips.
        scale: (M,), by which descriptions are multiplied after that.
    """

    config: FamiliarityConfig
    clips: Tensor
    labels: Tensor
    groups: Tensor
    mean: Tensor
    scale: Tensor

    def unfamiliarity(self, descriptions: Tensor, probabilities: Tensor) -> Tensor:
        """Return how unlike the training clips others are; above 1 they are unknown.

        It is the mean distance to the three nearest training clips of the predicted class (Sun et al. 2022, there to
        all classes), longer where the prediction is in doubt, divided by the threshold.

        Args:
            descriptions: (B, M), from `describe`.
            probabilities: (B, classes), calibrated.

        Returns:
            float64 (B,).
        """
        standard = (descriptions - self.mean) * self.scale
        confidence, predicted = probabilities.max(1)
        apart = distances(standard, self.clips.float())
        near = distances_to_class(apart, self.labels, predicted)
        return unlikeness(near, 1 - confidence.double()) / self.config.threshold

    @property
    def reason(self) -> str:
        """Return why a clip is called unknown, in words."""
        return f"unlike all {self.config.clips} clips it learned from"

    def state(self) -> dict[str, Tensor]:
        """Return its tensors, named as in `model.safetensors`."""
        return {f"{PREFIX}{name}": getattr(self, name).contiguous() for name in _TENSORS}

    @classmethod
    def of_state(cls, config: FamiliarityConfig, state: Mapping[str, Tensor]) -> Self:
        """Return it from its tensors.

        Raises:
            KeyError: one is missing.
            RuntimeError: their shapes do not fit each other.
        """
        clips, labels, groups, mean, scale = (state[f"{PREFIX}{name}"] for name in _TENSORS)
        wide = clips.shape[1:]
        tall = clips.shape[:1]
        if (
            clips.ndim != 2
            or {mean.shape, scale.shape} != {wide}
            or {labels.shape, groups.shape} != {tall}
            or tall == (0,)
        ):
            raise RuntimeError(f"the shapes of {PREFIX}clips, {tuple(clips.shape)}, and of its labels do not fit")
        return cls(config, clips.half(), labels, groups, mean, scale)


def standardisation(descriptions: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale, both (M,), that standardise descriptions (N, M)."""
    return descriptions.mean(0), scale_of(descriptions.std(0, correction=0))


def distances(some: Tensor, others: Tensor) -> Tensor:
    """Return the root mean square difference of each pair: (B, M), (N, M) to float64 (B, N)."""
    found: Tensor = torch.cdist(some.double(), others.double()) / some.shape[1] ** 0.5
    return found


def distances_to_class(apart: Tensor, labels: Tensor, predicted: Tensor) -> Tensor:
    """Return the mean distance to the three nearest clips of the predicted class.

    Args:
        apart: (B, N), distances; infinite ones are left out.
        labels: (N,), classes of the training clips.
        predicted: (B,), classes.

    Returns:
        (B,); where no clip of the class is left, the mean of the three nearest ones of any class.
    """
    own = apart.masked_fill(labels[None] != predicted[:, None], torch.inf)
    found = _mean_of_least(own)
    return found.where(found.isfinite(), _mean_of_least(apart))


def unlikeness(near: Tensor, doubt: Tensor) -> Tensor:
    """Return the score of clips before it is divided by the threshold, (B,).

    A clip of an action that was never learnt is far from the class that it is taken for, and divides the classifier;
    the product finds both (as NNGuide does, Park et al. 2023).

    Args:
        near: (B,), distance to the predicted class.
        doubt: (B,), 1 less the confidence.
    """
    return near * (1 + _DOUBT * doubt)


def _mean_of_least(apart: Tensor) -> Tensor:
    """Return the mean of the three least finite values of each row, (B, N) to (B,); infinite where there is none."""
    least = apart.topk(min(NEIGHBOURS, apart.shape[1]), largest=False).values
    there = least.isfinite()
    mean = least.where(there, 0.0).sum(1) / there.sum(1).clamp_min(1)
    return mean.masked_fill(~there.any(1), torch.inf)


def describable(classifier: Classifier) -> bool:
    """Return whether all heads end in a linear layer, whose input describes a clip."""
    return all(None not in _last_layers(head) for head in classifier.heads)


@torch.inference_mode()
def describe(classifier: Classifier, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return log-probabilities before calibration, (B, classes), and descriptions, (B, M), of one pass.

    A description is the input of the last layer of each head, averaged over time: standardised statistics of the
    features for linear heads, the penultimate layer for networks. Long ones are shortened by a count sketch (Charikar
    et al. 2002), which keeps distances up to a few per cent, whatever the data.

    Args:
        classifier: of which `describable` is true.
        features: stream name to (B, T, D), or uint8 (B, T, C, H, W).
    """
    mask = full_mask(features)
    return describe_summaries(classifier, classifier.forward_features(features, mask), mask)


@torch.inference_mode()
def describe_summaries(classifier: Classifier, summaries: Mapping[str, Tensor], mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same from the output of `Classifier.forward_features`."""
    by_head = [_last_layers(head) for head in classifier.heads]
    seen: dict[int, Tensor] = {}
    for layer in chain.from_iterable(by_head):
        assert layer is not None  # noqa: S101 - asked before
        if _remember not in layer._forward_pre_hooks.values():
            layer.register_forward_pre_hook(_remember)
    _INPUTS.seen = seen  # of this thread: a service classifies on several
    try:
        logits = fuse(classifier.head_logits(summaries, mask), classifier.stream_weights)
    finally:
        del _INPUTS.seen
    width = max(1, WIDEST // len(by_head))
    parts = [_sketch(_together([seen[id(layer)] for layer in layers], len(mask)), width) for layers in by_head]
    return logits, torch.cat(parts, 1)


def _remember(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Keep the input of a last layer, where this thread asks for it."""
    if hasattr(_INPUTS, "seen"):
        _INPUTS.seen[id(layer)] = inputs[0]


def _last_layers(head: nn.Module) -> list[nn.Linear | None]:
    """Return the last layer of a head, or of each of its members."""
    return [_last_layer(each) for each in (head.each if isinstance(head, Members) else (head,))]


def _together(inputs: Sequence[Tensor], clips: int) -> Tensor:
    """Return the inputs of the last layers of members beside each other, those that share one once: (B, M)."""
    different = {id(values): values for values in inputs}
    return torch.cat([_over_time(values, clips) for values in different.values()], 1)


def _last_layer(head: nn.Module) -> nn.Linear | None:
    classes = head.classes if isinstance(head, Head) else None
    found = [layer for layer in head.modules() if isinstance(layer, nn.Linear) and layer.out_features == classes]
    return found[-1] if found else None


def _over_time(values: Tensor, clips: int) -> Tensor:
    """Return one vector a clip: (B, D), (B, T, D) or (B T, D) to (B, D)."""
    return values.reshape(clips, -1, values.shape[-1]).float().mean(1)


def _sketch(values: Tensor, width: int) -> Tensor:
    """Shorten (B, D) to at most (B, width): each number is added, with a fixed sign, to a fixed place."""
    dim = values.shape[1]
    if dim <= width:
        return values
    place, sign = _places(dim, width)
    return torch.zeros(len(values), width).index_add_(1, place, values.cpu() * sign)


@cache
def _places(dim: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the place and the sign of each of so many numbers in a sketch, (dim,): the same on every machine."""
    drawn = np.random.RandomState(0)
    place = torch.from_numpy(drawn.randint(0, width, dim))
    return place, torch.from_numpy(drawn.randint(0, 2, dim) * 2.0 - 1.0).float()


def keep_some(labels: Sequence[int], groups: Sequence[int], most: int) -> list[int]:
    """Return the clips to keep: all, or at most `most`, spread over classes and groups."""
    if len(labels) <= most:
        return list(range(len(labels)))
    turn: dict[tuple[int, int], int] = {}
    place = []
    for index, (label, group) in enumerate(zip(labels, groups, strict=True)):
        turn[label, group] = turn.get((label, group), 0) + 1
        place.append((turn[label, group], group, label, index))
    return sorted(index for *_, index in sorted(place)[:most])
