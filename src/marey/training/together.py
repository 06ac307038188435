"""The training of heads on cached features: several at once, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from marey.evaluation import macro_f1_of
from marey.models import Classifier
from marey.training.batches import FeatureSet
from marey.training.checkpoint import CHECKPOINT, Pace, read_checkpoint, write_checkpoint
from marey.training.course import Course
from marey.training.feed import Feed, Source
from marey.training.recipe import Training
from marey.training.schedule import schedule
from marey.training.stack import Stack, is_stackable

TOGETHER: Final = {"cpu": 64 * 2**20, "cuda": 2**30}
"""Bytes of features and parameters that are trained at once. On a processor more of them leave its caches, and a step
of ten heads takes longer than ten steps of one; a GPU has to be given much at a time."""


@dataclass(frozen=True)
class HeadTask:
    """A head that is to be trained on cached features.

    Attributes:
        classifier: untrained, prepared.
        source: what it learns from; what its trained layers see, where nothing changes the frames.
        validation: what its trained layers see of the clips that choose the epoch, if any do.
        log_dir: where a checkpoint may be kept.
    """

    classifier: Classifier
    source: Source
    validation: FeatureSet | None
    log_dir: Path | None

    @property
    def training(self) -> Training:
        """How it learns."""
        return self.source.training

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-len(self.source.clips) // self.training.batch_size)

    @property
    def size(self) -> int:
        """Bytes that are worked on: features, parameters with gradients and moments, and those of the best epoch."""
        sets = [self.source.clips, *([self.validation] if self.validation is not None else [])]
        features = sum(values.numel() * values.element_size() for each in sets for values in each.features.values())
        return features + 5 * sum(values.numel() * values.element_size() for values in self.classifier.parameters())

    def fits_beside(self, other: HeadTask) -> bool:
        """Whether both can be computed as one."""
        return self._shape == other._shape and is_stackable(self.classifier)

    @property
    def _shape(self) -> tuple[object, ...]:
        clips = self.source.clips
        return (
            [(name, values.shape) for name, values in self.classifier.named_parameters()],
            str(self.classifier),  # layers and their settings: shares of dropout are not in the shapes
            [(name, len(values), values.shape[2:]) for name, values in clips.features.items()],
            clips.length,
            self.training.model_copy(update={"epochs": 1}),
            self.steps,
            self.validation is None,
        )


def train_together(tasks: Sequence[HeadTask], *, device: str) -> list[Course]:
    """Train heads that fit beside each other.

    Returns:
        Of each, how it went, with its state at the best epoch; at the last one where nothing was validated.
    """
    training, steps = tasks[0].training, tasks[0].steps
    validated = tasks[0].validation is not None
    found = [Course.of(each.training, validated=validated) for each in tasks]
    factors = [schedule(each.training, steps * each.training.epochs) for each in tasks]
    feed = Feed([each.source for each in tasks], device)
    stack = Stack(
        [each.classifier for each in tasks],
        summarised=not training.changes_frames,
        length=tasks[0].source.clips.length,
        sample=feed.sample(),
        device=device,
    )
    jury = _Jury([each.validation for each in tasks if each.validation is not None], device) if validated else None
    going = list(range(len(tasks)))
    checkpoint = _Checkpoint(tasks)
    epoch, going = checkpoint.take(stack, found, going)

    def rates(step: int) -> list[float]:
        """The learning rates before a step, counted from the first epoch."""
        return [training.learning_rate * factors[place](step) * found[place].fallen for place in going]

    with torch.random.fork_rng():
        while going:
            stack.begin(*feed.begin(epoch, going))
            losses = [
                stack.learn(batch, rates=rates(epoch * steps + step), weight_decay=training.weight_decay)
                for step, batch in enumerate(feed.batches(going))
            ]
            mean = torch.stack(losses).mean(0).tolist()
            for place, loss, rate in zip(going, mean, rates((epoch + 1) * steps), strict=True):
                found[place].history["train_loss"].append(loss)
                found[place].history["learning_rate"].append(rate)
                if jury is None:
                    found[place].require_finite()
            if jury is not None:
                scores = jury.scores(stack, going)
                for row, (place, (loss, score)) in enumerate(zip(going, scores, strict=True)):
                    found[place].history["val_loss"].append(loss)
                    found[place].history["val_macro_f1"].append(score)
                    found[place].require_finite()
                    if found[place].note(score, patience=training.patience):
                        found[place].state = stack.snapshot(row)
            epoch += 1
            rest = [row for row, place in enumerate(going) if not found[place].over]
            if len(rest) < len(going):
                for row, place in enumerate(going):
                    if row not in rest and jury is None:
                        found[place].state, found[place].epoch = stack.snapshot(row), epoch - 1
                going = [going[row] for row in rest]
                if rest:
                    stack.keep(rest)
            if going:
                checkpoint.keep(stack, found, going, epoch)
    return found


class _Jury:
    """Validation clips of several heads."""

    def __init__(self, sets: Sequence[FeatureSet], device: str) -> None:
        self._classes = sets[0].classes
        self._summaries = {
            name: pad_sequence([each.features[name][0] for each in sets], batch_first=True).to(device)
            for name in sets[0].features
        }
        self._labels = pad_sequence([each.labels for each in sets], batch_first=True)
        self._there = pad_sequence([torch.ones(len(each), dtype=torch.bool) for each in sets], batch_first=True)
        self._mask = torch.ones(*self._labels.shape, sets[0].length, dtype=torch.bool, device=device)

    def scores(self, stack: Stack, going: list[int]) -> Iterator[tuple[float, float]]:
        """Loss and macro-F1 of the heads that go on."""
        chosen = slice(None) if len(going) == len(self._labels) else going
        summaries = {name: values[chosen] for name, values in self._summaries.items()}
        logits = stack.log_probabilities(summaries, self._mask[chosen]).cpu()
        labels, there, predicted = self._labels[chosen], self._there[chosen], logits.argmax(-1)
        losses = -(logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1) * there).sum(1) / there.sum(1)
        counts = (self._count(labels, there & (predicted == labels)), self._count(labels, there))
        scores = macro_f1_of(*counts, self._count(predicted, there))
        # Rounded, because equal scores of other clips are sums in another order.
        return zip(losses.tolist(), scores.round(6).tolist(), strict=True)

    def _count(self, numbers: Tensor, chosen: Tensor) -> npt.NDArray[np.float64]:
        """How many of each head's chosen clips have each number: (K, classes)."""
        apart = numbers + self._classes * torch.arange(len(numbers)).unsqueeze(1)
        found = torch.bincount(apart[chosen], minlength=len(numbers) * self._classes)
        return found.view(len(numbers), self._classes).numpy().astype(np.float64)


class _Checkpoint:
    """The state of the whole on disk, where the first of the heads may keep one."""

    def __init__(self, tasks: Sequence[HeadTask]) -> None:
        folder = tasks[0].log_dir
        self._path = folder / CHECKPOINT if folder is not None else None
        self._of = [[each.source.seed, len(each.source.clips), each.training.epochs] for each in tasks]
        self._pace = Pace()

    def take(self, stack: Stack, found: list[Course], going: list[int]) -> tuple[int, list[int]]:
        """Take up what was kept, if anything; the epoch that is next, and the heads that go on."""
        kept = read_checkpoint(self._path, of=self._of) if self._path is not None else None
        if kept is None:
            return 0, going
        if len(kept["going"]) < len(going):
            stack.keep(kept["going"])
        stack.load(kept["stack"])
        for place, values in enumerate(kept["found"]):
            found[place] = Course.read(values)
        return kept["epoch"], kept["going"]

    def keep(self, stack: Stack, found: Sequence[Course], going: list[int], epoch: int) -> None:
        """Write the state down, where the last time is a while ago."""
        if self._path is not None and self._pace.due():
            state: dict[str, Any] = {"of": self._of, "epoch": epoch, "going": going, "stack": stack.state()}
            write_checkpoint({**state, "found": [asdict(each) for each in found]}, self._path)
