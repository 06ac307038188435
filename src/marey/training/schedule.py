"""Learning-rate schedules, early stopping, and the choice of the best epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from marey.errors import TrainingError
from marey.models import Classifier
from marey.training.checkpoint import QUANTITIES, History
from marey.training.settings import Training


def warmup_cosine(warmup: int, steps: int) -> Callable[[int], float]:
    """Rise linearly over `warmup` steps, then fall to zero at `steps` by half a cosine (Loshchilov and Hutter 2017)."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def warmup_only(warmup: int) -> Callable[[int], float]:
    """Rise linearly over `warmup` steps, then stay constant."""
    return lambda step: min(1.0, (step + 1) / (warmup + 1))


def schedule(training: Training, steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at each step of a training of so many steps."""
    warmup = round(training.warmup * steps)
    return warmup_cosine(warmup, steps) if training.schedule == "cosine" else warmup_only(warmup)


def equal_epochs(rates: Sequence[float], training: Training) -> int:
    """Return the epochs of a full schedule whose learning rates add up to those of a schedule that was cut off.

    The network goes as far, and ends with small steps.

    Args:
        rates: the learning rate in each epoch, up to the chosen one.
        training: the recipe of these rates.
    """
    factors = [schedule(training, training.epochs)(step) for step in range(training.epochs)]
    whole = sum(factors) / len(factors) * training.learning_rate
    return max(1, min(training.epochs, round(sum(rates) / whole)))


@dataclass(slots=True)
class Plateau:
    """Factor that falls when the score has not risen for some epochs.

    Attributes:
        patience: epochs without a better score before the factor falls.
        factor: current factor of the learning rate.
        best: the highest score.
        waited: epochs since.
        fall: what the factor is multiplied by.
    """

    patience: int
    factor: float = 1.0
    best: float = -math.inf
    waited: int = 0
    fall: float = 0.1

    def step(self, score: float, *, counts: bool) -> None:
        """Add the score of an epoch, which is waited for only if it counts."""
        if score > self.best or not counts:
            self.best, self.waited = max(score, self.best), 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.factor, self.waited = self.factor / (1 / self.fall), 0  # of 0.1 the same bits as by ten, as ever


@dataclass(slots=True)
class TrainingState:
    """History, best epoch and early stopping of one training.

    Attributes:
        epochs: the most epochs; fewer once early stopping has decided.
        history: values of each epoch.
        plateau: lowers the learning rate when validation stops improving.
        best_score: the highest validation score.
        best_epoch: the last epoch with that score; -1 without validation clips.
        waited: epochs since the score has risen.
        best_weights: state of the classifier at the best epoch.
    """

    epochs: int
    history: History = field(default_factory=lambda: {name: [] for name in QUANTITIES})
    plateau: Plateau | None = None
    best_score: float = -math.inf
    best_epoch: int = -1
    waited: int = 0
    best_weights: dict[str, Tensor] | None = None

    @classmethod
    def begin(cls, training: Training, *, validated: bool) -> TrainingState:
        """Return the state before the first epoch."""
        if training.schedule != "plateau" or not validated:
            return cls(training.epochs)
        # Half of the patience: the rate falls before the training stops.
        plateau = Plateau(max(1, training.patience // 2), fall=training.plateau_factor)
        return cls(training.epochs, plateau=plateau)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingState:
        """Return the state that `dataclasses.asdict` wrote into a checkpoint."""
        plateau = values["plateau"]
        return cls(**{**values, "plateau": None if plateau is None else Plateau(**plateau)})

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs."""
        return len(self.history["train_loss"])

    @property
    def epochs_kept(self) -> int:
        """Number of epochs up to the best one; all of them without validation clips."""
        return self.epochs_done if self.best_weights is None else self.best_epoch + 1

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        return self.epochs_done >= self.epochs

    @property
    def lr_scale(self) -> float:
        """Factor of the learning rate by the plateau schedule."""
        return 1.0 if self.plateau is None else self.plateau.factor

    def update(self, values: Mapping[str, float], *, patience: int | None) -> bool:
        """Add an epoch, and return True when its weights are to be kept.

        Without a patience the training neither stops nor lowers its learning rate yet, however the scores are.

        A dozen validation clips give only a dozen values of F1. Of epochs with the same F1 the later one is kept: a
        learning rate further down its schedule generalises better than one that was cut off.

        Raises:
            TrainingError: a loss is not finite.
        """
        for name, value in values.items():
            self.history[name].append(value)
        losses = {name: value for name, value in values.items() if name.endswith("loss")}
        if not all(math.isfinite(value) for value in losses.values()):
            raise self._diverged(
                " and ".join(f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value))
            )
        score = values.get("val_macro_f1")
        if score is None:
            return False
        self.waited = 0 if score > self.best_score or patience is None else self.waited + 1
        if patience is not None and self.waited >= patience:
            self.epochs = min(self.epochs, self.epochs_done)
        if self.plateau is not None:
            self.plateau.step(score, counts=patience is not None)
        if score < self.best_score:
            return False
        self.best_score, self.best_epoch = score, self.epochs_done - 1
        return True

    def require_finite_weights(self, classifier: Classifier) -> None:
        """Refuse a classifier whose last step gave weights that are not finite, which no loss shows.

        Raises:
            TrainingError: a weight or a buffer is not finite.
        """
        for name, values in classifier.state_dict().items():
            if not torch.isfinite(values).all():
                raise self._diverged(f"{name} is not finite")

    def _diverged(self, reason: str) -> TrainingError:
        highest = max(self.history["learning_rate"])
        usual = float(Training.model_fields["learning_rate"].default)
        lower = usual if highest > 10 * usual else highest / 10
        return TrainingError(
            f"the training diverged in epoch {self.epochs_done} of {self.epochs}, at a learning rate of up to "
            f"{highest:g}: {reason}; try a lower rate, as in --set training.learning_rate={lower:.1g}, or a longer "
            "training.warmup"
        )
