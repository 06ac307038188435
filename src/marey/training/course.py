"""How the training of one classifier goes: its curves, its best epoch, and when it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from marey.errors import TrainingError
from marey.models import Classifier
from marey.training.logs import QUANTITIES, History
from marey.training.recipe import Training
from marey.training.schedule import Plateau


@dataclass(slots=True)
class Course:
    """How far one training has come.

    Attributes:
        epochs: how many there are at most.
        history: of each epoch.
        plateau: where the learning rate falls when validation stops improving.
        best: the highest validation score, and the last epoch that had it.
        waited: epochs since the score has risen.
        state: the classifier at the best epoch.
    """

    epochs: int
    history: History = field(default_factory=lambda: {name: [] for name in QUANTITIES})
    plateau: Plateau | None = None
    best: float = float("-inf")
    epoch: int = -1
    waited: int = 0
    state: dict[str, Tensor] | None = None

    @classmethod
    def of(cls, training: Training, *, validated: bool) -> Course:
        """Of a training that is about to begin."""
        plateau = Plateau.of(training) if training.schedule == "plateau" and validated else None
        return cls(training.epochs, plateau=plateau)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Course:
        """Of a training that goes on, from what `dataclasses.asdict` made of it."""
        plateau = values["plateau"]
        return cls(**{**values, "plateau": None if plateau is None else Plateau(**plateau)})

    def note(self, score: float, *, patience: int) -> bool:
        """Take note of the score of the epoch that is over; whether it is to be kept.

        A dozen validation clips give a dozen values of F1. Among epochs of the same F1 the later one is taken: a
        learning rate that has come further down its schedule generalises better than one cut off on the way.
        """
        self.waited = 0 if score > self.best else self.waited + 1
        if self.waited >= patience:
            self.epochs = min(self.epochs, self.done)
        if self.plateau is not None:
            self.plateau.step(score)
        if score < self.best:
            return False
        self.best, self.epoch = score, self.done - 1
        return True

    def require_finite(self) -> None:
        """Stop a training that has diverged, after the epoch in which it did.

        Raises:
            TrainingError: the loss of the latest epoch, on training or validation clips, is not finite.
        """
        latest = {name: self.history[name][-1] for name in ("train_loss", "val_loss") if self.history[name]}
        if all(math.isfinite(value) for value in latest.values()):
            return
        losses = " and ".join(f"{name} is {value}" for name, value in latest.items() if not math.isfinite(value))
        raise self._diverged(losses)

    def require_finite_weights(self, classifier: Classifier) -> None:
        """Refuse a classifier whose last step made its weights no numbers, which no loss shows any more.

        Raises:
            TrainingError: a weight or a buffer is not finite.
        """
        for name, values in classifier.state_dict().items():
            if not torch.isfinite(values).all():
                raise self._diverged(f"{name} is not finite")

    def _diverged(self, seen: str) -> TrainingError:
        highest = max(self.history["learning_rate"])
        usual = float(Training.model_fields["learning_rate"].default)
        lower = usual if highest > 10 * usual else highest / 10
        return TrainingError(
            f"the training diverged in epoch {self.done} of {self.epochs}, at a learning rate of up to {highest:g}: "
            f"{seen}; try a lower rate, as in --set training.learning_rate={lower:.1g}, or a longer training.warmup"
        )

    @property
    def done(self) -> int:
        """Epochs that are over."""
        return len(self.history["train_loss"])

    @property
    def over(self) -> bool:
        """Whether there is no further epoch."""
        return self.done >= self.epochs

    @property
    def fallen(self) -> float:
        """By what the learning rate is multiplied, because validation has stopped improving."""
        return 1.0 if self.plateau is None else self.plateau.factor
