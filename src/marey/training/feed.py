"""What several classifiers learn from, step by step, each from clips of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from marey.training.batches import FeatureSet, TrainingBatches, one_hot
from marey.training.recipe import Training
from marey.training.stack import StackedBatch


@dataclass(frozen=True, slots=True)
class Source:
    """The clips of one classifier.

    Attributes:
        clips: features, or what the trained layers see of them.
        training: how it learns.
        seed: of order, augmentation and dropout.
    """

    clips: FeatureSet
    training: Training
    seed: int


class Feed:
    """The batches of several classifiers side by side, filled up with clips that do not count to one size.

    Features that nothing changes lie in one table, of which each step takes rows.

    Args:
        sources: of each classifier, of one number of steps an epoch.
        device: where the batches are wanted.
    """

    def __init__(self, sources: Sequence[Source], device: str) -> None:
        self._sources = sources
        self._device = device
        self._batches = [TrainingBatches(each.clips, each.training, seed=each.seed) for each in sources]
        self._length = sources[0].clips.length
        self._fixed = not sources[0].training.changes_frames
        self._sizes = [
            [len(part) for part in torch.arange(len(each.clips)).split(each.training.batch_size)] for each in sources
        ]
        if self._fixed:
            self._most = max(len(each.clips) for each in sources)
            self._table = {name: self._tabled(name) for name in sources[0].clips.features}
            weighed = [
                self._weighed(place, one_hot(each.clips.labels, each.clips.classes))
                for place, each in enumerate(sources)
            ]
            self._targets = torch.stack([_filled(each, self._most) for each in weighed]).flatten(0, 1).to(device)

    def sample(self) -> dict[str, Tensor]:
        """The first clip of the first classifier: (1, 1, ...)."""
        clips = self._sources[0].clips.features
        return {name: values[:1, :1].to(self._device) for name, values in clips.items()}

    def begin(self, epoch: int, places: Sequence[int]) -> tuple[list[int], list[list[int]]]:
        """The seed of an epoch for each of the classifiers that go on, and how many clips come in each of its steps."""
        for place in places:
            self._batches[place].epoch = epoch
        return [self._batches[place].seed for place in places], [self._sizes[place] for place in places]

    def batches(self, places: Sequence[int]) -> Iterator[StackedBatch]:
        """The steps of the epoch that was begun, for the classifiers that go on."""
        return self._rows(places) if self._fixed else self._changed(places)

    def _rows(self, places: Sequence[int]) -> Iterator[StackedBatch]:
        views = self._sources[0].clips.views
        choices = [list(self._batches[place].choices()) for place in places]
        for step in range(len(self._sizes[0])):
            counts = [self._sizes[place][step] for place in places]
            most = max(counts)
            rows, clips = torch.zeros(2, len(places), most, dtype=torch.int64)
            for row, (place, count) in enumerate(zip(places, counts, strict=True)):
                view, chosen = choices[row][step]
                clips[row, :count] = chosen + place * self._most
                rows[row, :count] = (view + place * views) * self._most + chosen
            shape = (len(places), most)
            there = torch.arange(most) < torch.tensor(counts).unsqueeze(1)
            share = there / torch.tensor(counts).unsqueeze(1)
            rows, clips, share = (values.to(self._device) for values in (rows.flatten(), clips.flatten(), share))
            yield StackedBatch(
                {name: table.index_select(0, rows).unflatten(0, shape) for name, table in self._table.items()},
                torch.ones(*shape, self._length, dtype=torch.bool, device=self._device),
                self._targets.index_select(0, clips).unflatten(0, shape) * share.unsqueeze(-1),
                counts,
            )

    def _changed(self, places: Sequence[int]) -> Iterator[StackedBatch]:
        for batches in zip(*(self._batches[place] for place in places), strict=True):
            counts = [len(batch.targets) for batch in batches]
            most = max(counts)
            features = {
                name: torch.stack([_filled(batch.features[name], most) for batch in batches]).to(self._device)
                for name in batches[0].features
            }
            # A clip that does not count has frames too: a mean over none is no number.
            mask = torch.stack([_filled(batch.mask, most, value=1) for batch in batches])
            targets = [
                _filled(self._weighed(place, batch.targets) / len(batch.targets), most)
                for place, batch in zip(places, batches, strict=True)
            ]
            yield StackedBatch(features, mask.to(self._device), torch.stack(targets).to(self._device), counts)

    def _weighed(self, place: int, targets: Tensor) -> Tensor:
        """By how much each class of each clip counts: smoothed, and weighed by how rare it is, (N, classes)."""
        smoothing = self._sources[place].training.label_smoothing
        return torch.lerp(targets, torch.tensor(1 / targets.shape[1]), smoothing) * self._batches[place].class_weights

    def _tabled(self, name: str) -> Tensor:
        """The features of all classifiers as one table of rows: (K V N, ...)."""
        found = [each.clips.features[name] for each in self._sources]
        if len(found) == 1:
            return found[0].flatten(0, 1).to(self._device)
        table = torch.zeros(len(found), found[0].shape[0], self._most, *found[0].shape[2:], device=self._device)
        for place, values in enumerate(found):
            table[place, :, : values.shape[1]] = values
        return table.flatten(0, 2)


def _filled(values: Tensor, count: int, *, value: float = 0) -> Tensor:
    """(N, ...) to (count, ...)."""
    return pad(values, [0, 0] * (values.ndim - 1) + [0, count - len(values)], value=value)
