"""Cached features as batches, with what may be done to features that are already made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from marey.encoders import Features
from marey.models import Classifier
from marey.training.recipe import Training


class Batch(NamedTuple):
    """Clips that are learnt from together.

    Attributes:
        features: stream name to (B, T, D), or head name to what its trained layers see, (B, ...).
        mask: bool (B, T), true where there is a frame.
        targets: (B, classes), how much of each class a clip is; rows sum to 1.
    """

    features: dict[str, Tensor]
    mask: Tensor
    targets: Tensor


@dataclass(frozen=True)
class FeatureSet:
    """Labelled clips in memory, each read in one or several ways.

    Attributes:
        features: stream name to (V, N, T, D); views first, the plain one at 0. Summarised, head name to (V, N, ...).
        labels: int64 (N,).
        classes: number of labels there are, in this set or not.
        length: T.
    """

    features: dict[str, Tensor]
    labels: Tensor
    classes: int
    length: int

    @classmethod
    def stack(cls, views: Sequence[Sequence[Features]], labels: Sequence[int], classes: int) -> FeatureSet:
        """From lists of clips, one list a view."""
        streams = views[0][0].keys()
        features = {
            stream: torch.stack([torch.stack([clip[stream] for clip in clips]) for clips in views])
            for stream in streams
        }
        length = next(iter(features.values())).shape[2]
        return cls(features, torch.tensor(labels, dtype=torch.int64), classes, length)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int]) -> FeatureSet:
        """The clips with these numbers."""
        chosen = torch.tensor(indices, dtype=torch.int64)
        features = {stream: values[:, chosen] for stream, values in self.features.items()}
        return FeatureSet(features, self.labels[chosen], self.classes, self.length)

    @torch.no_grad()
    def summarised(self, classifier: Classifier) -> FeatureSet:
        """What the trained layers of a classifier see of these clips, worked out once for all epochs."""
        mask = torch.ones(len(self), self.length, dtype=torch.bool)
        views = next(iter(self.features.values())).shape[0]
        found = [
            classifier.summarise({stream: values[view] for stream, values in self.features.items()}, mask)
            for view in range(views)
        ]
        summaries = {name: torch.stack([summary[name] for summary in found]) for name in found[0]}
        return FeatureSet(summaries, self.labels, self.classes, self.length)

    def all_views(self) -> dict[str, Tensor]:
        """Stream name to (V N, T, D)."""
        return {stream: values.flatten(0, 1) for stream, values in self.features.items()}

    def plain(self) -> Batch:
        """All clips in one batch, as evaluation reads them."""
        features = {stream: values[0] for stream, values in self.features.items()}
        mask = torch.ones(len(self), self.length, dtype=torch.bool)
        return Batch(features, mask, _one_hot(self.labels, self.classes))


class TrainingBatches:
    """The clips of a set in a new order each epoch, augmented; epoch and seed alone decide what comes.

    Because an epoch does not depend on those before it, a training that is resumed goes on as if it had not stopped.
    """

    def __init__(self, clips: FeatureSet, training: Training, *, seed: int) -> None:
        self._clips = clips
        self._training = training
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self._clips) // self._training.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        chance = torch.Generator().manual_seed(self._seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self._clips), generator=chance)
        for chosen in order.split(self._training.batch_size):
            yield self._batch(chosen, chance)

    def _batch(self, chosen: Tensor, chance: torch.Generator) -> Batch:
        clips, training = self._clips, self._training
        views = next(iter(clips.features.values())).shape[0]
        view = torch.randint(views, (len(chosen),), generator=chance)
        features = {stream: values[view, chosen] for stream, values in clips.features.items()}
        targets = _one_hot(clips.labels[chosen], clips.classes)
        if training.time_jitter:
            features = jitter(features, training.time_jitter, chance)
        if training.mixup:
            features, targets = mix(features, targets, training.mixup, chance)
        mask = keep_frames((len(chosen), clips.length), training.frame_drop, chance)
        return Batch(features, mask, targets)


def jitter(features: Mapping[str, Tensor], reach: int, chance: torch.Generator) -> dict[str, Tensor]:
    """Each frame's features exchanged for those of one at most `reach` places away, alike in all streams."""
    count, length = next(iter(features.values())).shape[:2]
    moved = torch.arange(length) + torch.randint(-reach, reach + 1, (count, length), generator=chance)
    index = moved.clamp_(0, length - 1).sort(dim=1).values.unsqueeze(-1)
    return {stream: values.gather(1, index.expand(values.shape)) for stream, values in features.items()}


def mix(
    features: Mapping[str, Tensor], targets: Tensor, alpha: float, chance: torch.Generator
) -> tuple[dict[str, Tensor], Tensor]:
    """Each clip mixed with another of its batch, and their targets in the same proportion (Zhang et al. 2018)."""
    other = torch.randperm(len(targets), generator=chance)
    # Two Gamma numbers make a Beta one; torch draws Gamma with a generator, and Beta only without.
    gamma = torch._standard_gamma(torch.full((2, len(targets)), alpha), generator=chance).clamp_min_(1e-12)
    share = gamma[0] / gamma.sum(0)
    mixed = {stream: torch.lerp(values[other], values, share.view(-1, 1, 1)) for stream, values in features.items()}
    return mixed, torch.lerp(targets[other], targets, share.view(-1, 1))


def keep_frames(shape: tuple[int, int], drop: float, chance: torch.Generator) -> Tensor:
    """A mask (B, T) in which a frame is missing with probability `drop`; each clip keeps at least one."""
    if drop == 0:
        return torch.ones(shape, dtype=torch.bool)
    mask = torch.rand(shape, generator=chance) >= drop
    one = torch.randint(shape[1], (shape[0], 1), generator=chance)
    return mask.scatter_(1, one, value=True)


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, classes).float()
