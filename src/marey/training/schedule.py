"""How the learning rate goes over the steps of a training, as factors of its highest value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from marey.training.recipe import Training


def warmup_cosine(warmup: int, steps: int) -> Callable[[int], float]:
    """Linear from near zero over `warmup` steps, then half a cosine to zero at `steps` (Loshchilov and Hutter 2017)."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def warmup_only(warmup: int) -> Callable[[int], float]:
    """Linear from near zero over `warmup` steps, then level."""
    return lambda step: min(1.0, (step + 1) / (warmup + 1))


def schedule(training: Training, steps: int) -> Callable[[int], float]:
    """The factors of a training of so many steps."""
    warmup = round(training.warmup * steps)
    return warmup_cosine(warmup, steps) if training.schedule == "cosine" else warmup_only(warmup)


@dataclass(slots=True)
class Plateau:
    """A factor that falls to a tenth whenever the score has not risen for a while.

    Attributes:
        patience: epochs without a better score that are waited for.
        factor: by which the learning rate is multiplied now.
        best: the highest score.
        waited: epochs since.
    """

    patience: int
    factor: float = 1.0
    best: float = -math.inf
    waited: int = 0

    @classmethod
    def of(cls, training: Training) -> Plateau:
        """For a training that stops after `patience` such epochs: the rate falls in time."""
        return cls(max(1, training.patience // 2))

    def step(self, score: float) -> None:
        """Take note of an epoch's score."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.factor, self.waited = self.factor / 10, 0


def equal_epochs(rates: Sequence[float], training: Training) -> int:
    """How many epochs of a schedule of its own, run to its end, learn as much as a longer one that was cut off.

    The rates of either add up to the same: the network has gone as far, and its steps have become small by then.

    Args:
        rates: the learning rate in each epoch up to the one that was chosen.
        training: the recipe that gave them.
    """
    factors = [schedule(training, training.epochs)(step) for step in range(training.epochs)]
    whole = sum(factors) / len(factors) * training.learning_rate
    return max(1, min(training.epochs, round(sum(rates) / whole)))
