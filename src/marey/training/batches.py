"""Training clips as batches: cached features in memory, or frames on the disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.encoders import Contract, Features
from marey.models import Classifier
from marey.training.augmentation import Augmentation, Draws, augment, frame_dropout_mask, mixup, temporal_jitter
from marey.training.settings import Training

Stage = Literal["features", "pooled", "normalized"]


class Batch(NamedTuple):
    """Clips of one step.

    Attributes:
        features: stream name to (B, T, D) or (B, T, C, H, W); normalized, head name to (B, ...).
        mask: bool (B, T), true where there is a frame.
        targets: (B, classes), rows sum to 1.
        normalized: True when the features are the input of the trained layers.
        weight: of this part of a batch in the mean over the parts of all processes.
    """

    features: dict[str, Tensor]
    mask: Tensor
    targets: Tensor
    normalized: bool = False
    weight: float = 1.0

    def to(self, device: str) -> Batch:
        """Return the batch on a device."""
        features = {name: values.to(device) for name, values in self.features.items()}
        return self._replace(features=features, mask=self.mask.to(device), targets=self.targets.to(device))


class ClipSet(ABC):
    """Labelled clips, each read in one or several views.

    Attributes:
        labels: int64 (N,).
        classes: number of classes, those without a clip included.
        length: T.
        views: number of readings of each clip; number 0 is the one that evaluation takes.
    """

    labels: Tensor
    classes: int
    length: int
    stage: Stage = "features"

    @property
    @abstractmethod
    def views(self) -> int:
        """Return the number of readings of each clip."""

    @abstractmethod
    def take(self, indices: Sequence[int]) -> Self:
        """Return the clips with these numbers."""

    @abstractmethod
    def read(self, view: Tensor, chosen: Tensor) -> dict[str, Tensor]:
        """Return clips `chosen`, each in its `view`, both (B,), as stream name to (B, T, ...)."""

    def in_order(self) -> Iterator[Batch]:
        """Yield all clips in their order, in view 0, as evaluation reads them."""
        for chosen in torch.arange(len(self)).split(self._evaluated_at_once):
            yield self._batch(self.read(torch.zeros_like(chosen), chosen), chosen)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def _evaluated_at_once(self) -> int:
        return len(self)

    def _batch(self, features: dict[str, Tensor], chosen: Tensor) -> Batch:
        mask = torch.ones(len(chosen), self.length, dtype=torch.bool)
        return Batch(features, mask, one_hot(self.labels[chosen], self.classes), self.stage == "normalized")


class Part(NamedTuple):
    """A part of many clips: every `size`-th of them, from `rank` on."""

    rank: int
    size: int

    def rows(self, count: int) -> range:
        """Return which of so many clips it is."""
        return range(self.rank, count, self.size)


WHOLE: Final = Part(0, 1)


@dataclass(frozen=True)
class FeatureSet(ClipSet):
    """Clips as features, in memory.

    Attributes:
        features: stream name to (V, N, T, D); pooled or normalized, head name to (V, N, ...).
        stage: how much of the fixed part of the network has been applied.
    """

    features: dict[str, Tensor]
    labels: Tensor
    classes: int
    length: int
    stage: Stage = "features"

    @classmethod
    def stack(cls, views: Sequence[Sequence[Features]], labels: Sequence[int], classes: int) -> FeatureSet:
        """Make a set of lists of clips, one list a view."""
        streams = views[0][0].keys()
        features = {
            stream: torch.stack([torch.stack([clip[stream] for clip in clips]) for clips in views])
            for stream in streams
        }
        length = next(iter(features.values())).shape[2]
        return cls(features, torch.tensor(labels, dtype=torch.int64), classes, length)

    @property
    def views(self) -> int:
        """Return the number of readings of each clip."""
        return next(iter(self.features.values())).shape[0]

    def take(self, indices: Sequence[int]) -> FeatureSet:
        """Return the clips with these numbers."""
        chosen = torch.tensor(indices, dtype=torch.int64)
        features = {stream: values[:, chosen] for stream, values in self.features.items()}
        return replace(self, features=features, labels=self.labels[chosen])

    def to(self, device: str) -> FeatureSet:
        """Return the set with its features on a device; the labels stay."""
        return replace(self, features={name: values.to(device) for name, values in self.features.items()})

    def read(self, view: Tensor, chosen: Tensor) -> dict[str, Tensor]:
        """Return clips, each in one of its views."""
        rows = view * len(self) + chosen
        return {
            stream: values.flatten(0, 1).index_select(0, rows.to(values.device))
            for stream, values in self.features.items()
        }

    def center_view(self) -> FeatureSet:
        """Return the clips in view 0 alone, as evaluation reads them."""
        return replace(self, features={stream: values[:1] for stream, values in self.features.items()})

    def pooled(self, classifier: Classifier) -> FeatureSet:
        """Apply what the heads compute of each clip by itself; computed once for all trainings."""
        if self.stage != "features":
            return self
        return self._in_views("pooled", classifier.pool)

    def normalized(self, classifier: Classifier) -> FeatureSet:
        """Apply all that is not trained; computed once for all epochs."""
        if self.stage == "normalized":
            return self
        mask = torch.ones(len(self), self.length, dtype=torch.bool)
        return self.pooled(classifier)._in_views("normalized", lambda values: classifier.normalize(values, mask))

    @torch.no_grad()
    def _in_views(self, stage: Stage, work: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> FeatureSet:
        results = [work({name: values[view] for name, values in self.features.items()}) for view in range(self.views)]
        features = {name: torch.stack([view[name] for view in results]) for name in results[0]}
        return replace(self, features=features, stage=stage)

    def all_views(self) -> dict[str, Tensor]:
        """Return the features of all views one after the other: (V N, ...)."""
        return {stream: values.flatten(0, 1) for stream, values in self.features.items()}


@dataclass(frozen=True)
class FrameSet(ClipSet):
    """Clips as frames, mapped from the disk: memory holds one batch of them.

    Attributes:
        clips: for each view the clips, stream name to uint8 (T, C, H, W).
        batch_size: number of clips in a batch of `in_order`.
    """

    clips: tuple[tuple[Features, ...], ...]
    labels: Tensor
    classes: int
    length: int
    batch_size: int

    @property
    def views(self) -> int:
        """Return the number of readings of each clip."""
        return len(self.clips)

    def take(self, indices: Sequence[int]) -> FrameSet:
        """Return the clips with these numbers."""
        clips = tuple(tuple(view[index] for index in indices) for view in self.clips)
        return replace(self, clips=clips, labels=self.labels[torch.tensor(indices, dtype=torch.int64)])

    def read(self, view: Tensor, chosen: Tensor) -> dict[str, Tensor]:
        """Return clips, each in one of its views."""
        clips = [self.clips[one][clip] for one, clip in zip(view.tolist(), chosen.tolist(), strict=True)]
        return {stream: torch.stack([clip[stream] for clip in clips]) for stream in clips[0]}

    @property
    def _evaluated_at_once(self) -> int:
        return self.batch_size


class TrainingBatches:
    """Batches of an epoch, in random order and augmented; epoch and seed alone decide them.

    An epoch does not depend on those before it, so a resumed training goes on as if it had not stopped.

    Args:
        clips: all of them.
        training: size of a batch, and changes to features.
        seed: of all that is random.
        augmentation: changes to frames.
        part: of every batch. One that is left without a clip, where the last batch is small, is the first clip with a
            weight of 0.

    Attributes:
        epoch: the one that comes next.
    """

    def __init__(
        self,
        clips: ClipSet,
        training: Training,
        *,
        seed: int,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        part: Part = WHOLE,
    ) -> None:
        self._part = part
        self._clips = clips
        self._training = training
        self._augmentation = augmentation
        self._seed = seed
        self.epoch = 0

    @property
    def class_weights(self) -> Tensor:
        """Return the weight of each class in the loss, (classes,)."""
        return class_weights(self._clips.labels, self._clips.classes, self._training).float()

    @property
    def epoch_seed(self) -> int:
        """Return the seed of all that is random in this epoch."""
        return self._seed * 1_000_003 + self.epoch

    def __len__(self) -> int:
        return -(-len(self._clips) // self._training.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.epoch_seed)
        order = torch.randperm(len(self._clips), generator=generator)
        for chosen in order.split(self._training.batch_size):
            view = torch.randint(self._clips.views, (len(chosen),), generator=generator)
            yield self._batch(view, chosen, generator)

    def _batch(self, view: Tensor, chosen: Tensor, generator: torch.Generator) -> Batch:
        clips, training, part = self._clips, self._training, self._part
        rows = part.rows(len(chosen))
        own = None if part == WHOLE else torch.tensor(rows or [0])
        # Clips are mixed with any other of the batch, so that all of them are read.
        draws = Draws(generator, len(chosen), None if training.mixup else own)
        view, chosen = draws.own(view), draws.own(chosen)
        batch = clips._batch(clips.read(view, chosen), chosen)
        features, mask, targets, *_ = batch
        if isinstance(clips, FrameSet):
            features = augment(features, self._augmentation, draws)
        if training.temporal_jitter:
            features = temporal_jitter(features, training.temporal_jitter, draws)
        if training.mixup:
            features, targets = mixup(features, targets, training.mixup, generator)
        if training.frame_dropout:
            mask = frame_dropout_mask(clips.length, training.frame_dropout, draws)
        if own is not None and training.mixup:
            features = {name: values[own] for name, values in features.items()}
            mask, targets = mask[own], targets[own]
        weight = len(rows) * part.size / draws.count
        return batch._replace(features=features, mask=mask, targets=targets, weight=weight)


def class_weights(labels: Tensor, classes: int, training: Training) -> Tensor:
    """Return the weight of each class in the loss, float64 (classes,); 1 for a class without clips."""
    weights = torch.ones(classes, dtype=torch.float64)
    if training.class_weights == "balanced":
        counts = torch.bincount(labels, minlength=classes).double()
        present = counts > 0
        weights[present] = len(labels) / (present.sum() * counts[present])
    return weights


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return the share of each class in each clip: (N,) to (N, classes)."""
    return torch.nn.functional.one_hot(labels, classes).float()


def count_predictions(logits: Tensor, labels: Tensor) -> npt.NDArray[np.float64]:
    """Count for each class the correct clips, its clips, and the clips predicted as it: (3, classes)."""
    predicted = logits.argmax(1)
    counted = (labels[labels == predicted], labels, predicted)
    return np.stack([torch.bincount(one, minlength=logits.shape[1]).numpy() for one in counted]).astype(np.float64)


def clip_set(
    read: Sequence[Sequence[Features]], labels: Sequence[int], classes: int, contract: Contract, training: Training
) -> ClipSet:
    """Return clips as features in memory, or as frames on the disk where the contract gives images.

    Args:
        read: one list a view, of the features or the frames of each clip.
        labels: of the clips.
        classes: number of classes.
        contract: from a clip to these.
        training: says how many clips are read at once.
    """
    if not contract.gives_images:
        return FeatureSet.stack(read, labels, classes)
    views, targets = tuple(tuple(view) for view in read), torch.tensor(labels, dtype=torch.int64)
    return FrameSet(views, targets, classes, contract.sampling.count, training.batch_size)
