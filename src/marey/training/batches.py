"""What is learnt from, as batches: cached features or pictures, and what chance changes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor

from marey.encoders import Features
from marey.models import Classifier
from marey.training.augmentation import Augmentation, augment
from marey.training.recipe import Training

Stage = Literal["features", "condensed", "summaries"]


class Batch(NamedTuple):
    """Clips that are learnt from together.

    Attributes:
        features: stream name to (B, T, D) or (B, T, C, H, W), or head name to what its trained layers see, (B, ...).
        mask: bool (B, T), true where there is a frame.
        targets: (B, classes), how much of each class a clip is; rows sum to 1.
    """

    features: dict[str, Tensor]
    mask: Tensor
    targets: Tensor


class ClipSet(ABC):
    """Labelled clips to learn from, each read in one or several ways.

    Attributes:
        labels: int64 (N,).
        classes: number of labels there are, in this set or not.
        length: T.
        views: in how many ways each clip is read; the plain one is number 0.
    """

    labels: Tensor
    classes: int
    length: int

    @property
    @abstractmethod
    def views(self) -> int:
        """In how many ways each clip is read."""

    @abstractmethod
    def take(self, indices: Sequence[int]) -> Self:
        """The clips with these numbers."""

    @abstractmethod
    def read(self, view: Tensor, chosen: Tensor) -> dict[str, Tensor]:
        """Some clips, each in one of its views: numbers of both, (B,), to stream name to (B, T, ...)."""

    @abstractmethod
    def plain(self) -> Iterator[Batch]:
        """All clips in their order, as evaluation reads them."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FeatureSet(ClipSet):
    """Clips as features, in memory.

    Attributes:
        features: stream name to (V, N, T, D); condensed or summarised, head name to (V, N, ...).
        stage: how far they have come from features to what trained layers see.
    """

    features: dict[str, Tensor]
    labels: Tensor
    classes: int
    length: int
    stage: Stage = "features"

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

    @property
    def views(self) -> int:
        """In how many ways each clip is read."""
        return next(iter(self.features.values())).shape[0]

    def take(self, indices: Sequence[int]) -> FeatureSet:
        """The clips with these numbers."""
        chosen = torch.tensor(indices, dtype=torch.int64)
        features = {stream: values[:, chosen] for stream, values in self.features.items()}
        return replace(self, features=features, labels=self.labels[chosen])

    def read(self, view: Tensor, chosen: Tensor) -> dict[str, Tensor]:
        """Some clips, each in one of its views."""
        return {stream: values[view, chosen] for stream, values in self.features.items()}

    def plain(self) -> Iterator[Batch]:
        """All clips at once."""
        features = {stream: values[0] for stream, values in self.features.items()}
        mask = torch.ones(len(self), self.length, dtype=torch.bool)
        yield Batch(features, mask, one_hot(self.labels, self.classes))

    def plainly(self) -> FeatureSet:
        """The clips in their plain view alone, as evaluation reads them."""
        return replace(self, features={stream: values[:1] for stream, values in self.features.items()})

    def condensed(self, classifier: Classifier) -> FeatureSet:
        """What the heads of a classifier say of each of these clips by itself, worked out once for all trainings."""
        if self.stage != "features":
            return self
        return self._in_views("condensed", classifier.condense)

    def summarised(self, classifier: Classifier) -> FeatureSet:
        """What the trained layers of a classifier see of these clips, worked out once for all epochs."""
        if self.stage == "summaries":
            return self
        mask = torch.ones(len(self), self.length, dtype=torch.bool)
        return self.condensed(classifier)._in_views("summaries", lambda values: classifier.finish(values, mask))

    @torch.no_grad()
    def _in_views(self, stage: Stage, work: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> FeatureSet:
        found = [work({name: values[view] for name, values in self.features.items()}) for view in range(self.views)]
        together = {name: torch.stack([view[name] for view in found]) for name in found[0]}
        return replace(self, features=together, stage=stage)

    def all_views(self) -> dict[str, Tensor]:
        """The features of all views one after the other: (V N, ...)."""
        return {stream: values.flatten(0, 1) for stream, values in self.features.items()}


@dataclass(frozen=True)
class PictureSet(ClipSet):
    """Clips as pictures, mapped from the disk: memory holds a batch of them.

    Attributes:
        clips: for each view the clips, stream name to uint8 (T, C, H, W).
        batch_size: clips that `plain` gives at once.
    """

    clips: tuple[tuple[Features, ...], ...]
    labels: Tensor
    classes: int
    length: int
    batch_size: int

    @property
    def views(self) -> int:
        """In how many ways each clip is read."""
        return len(self.clips)

    def take(self, indices: Sequence[int]) -> PictureSet:
        """The clips with these numbers."""
        clips = tuple(tuple(view[index] for index in indices) for view in self.clips)
        return replace(self, clips=clips, labels=self.labels[torch.tensor(indices, dtype=torch.int64)])

    def read(self, view: Tensor, chosen: Tensor) -> dict[str, Tensor]:
        """Some clips, each in one of its views."""
        found = [self.clips[one][clip] for one, clip in zip(view.tolist(), chosen.tolist(), strict=True)]
        return {stream: torch.stack([clip[stream] for clip in found]) for stream in found[0]}

    def plain(self) -> Iterator[Batch]:
        """All clips, some at a time."""
        for chosen in torch.arange(len(self)).split(self.batch_size):
            mask = torch.ones(len(chosen), self.length, dtype=torch.bool)
            targets = one_hot(self.labels[chosen], self.classes)
            yield Batch(self.read(torch.zeros_like(chosen), chosen), mask, targets)


class TrainingBatches:
    """The clips of a set in a new order each epoch, augmented; epoch and seed alone decide what comes.

    Because an epoch does not depend on those before it, a training that is resumed goes on as if it had not stopped.
    """

    def __init__(
        self,
        clips: ClipSet,
        training: Training,
        *,
        seed: int,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
    ) -> None:
        self._clips = clips
        self._training = training
        self._augmentation = augmentation
        self._seed = seed
        self.epoch = 0

    @property
    def class_weights(self) -> Tensor:
        """By how much each class counts in the loss, (classes,)."""
        weights = torch.ones(self._clips.classes)
        if self._training.class_weights == "balanced":
            counts = torch.bincount(self._clips.labels, minlength=self._clips.classes)
            present = counts > 0
            weights[present] = len(self._clips) / (present.sum() * counts[present])
        return weights

    def __len__(self) -> int:
        return -(-len(self._clips) // self._training.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        chance = torch.Generator().manual_seed(self.seed)
        for view, chosen in self._choices(chance):
            yield self._batch(view, chosen, chance)

    @property
    def seed(self) -> int:
        """Of all chance in this epoch."""
        return self._seed * 1_000_003 + self.epoch

    def choices(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Which clips come in each batch, and which view of each, where nothing else is left to chance: (B,) both."""
        return self._choices(torch.Generator().manual_seed(self.seed))

    def _choices(self, chance: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self._clips), generator=chance)
        for chosen in order.split(self._training.batch_size):
            yield torch.randint(self._clips.views, (len(chosen),), generator=chance), chosen

    def _batch(self, view: Tensor, chosen: Tensor, chance: torch.Generator) -> Batch:
        clips, training = self._clips, self._training
        features = clips.read(view, chosen)
        if isinstance(clips, PictureSet):
            features = augment(features, self._augmentation, chance)
        targets = one_hot(clips.labels[chosen], clips.classes)
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
    mixed = {}
    for stream, values in features.items():
        numbers = values.float()
        mixed[stream] = torch.lerp(numbers[other], numbers, share.view(-1, *[1] * (values.ndim - 1)))
    return mixed, torch.lerp(targets[other], targets, share.view(-1, 1))


def keep_frames(shape: tuple[int, int], drop: float, chance: torch.Generator) -> Tensor:
    """A mask (B, T) in which a frame is missing with probability `drop`; each clip keeps at least one."""
    if drop == 0:
        return torch.ones(shape, dtype=torch.bool)
    mask = torch.rand(shape, generator=chance) >= drop
    one = torch.randint(shape[1], (shape[0], 1), generator=chance)
    return mask.scatter_(1, one, value=True)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """How much of each class a clip is: (N,) to (N, classes)."""
    return torch.nn.functional.one_hot(labels, classes).float()
