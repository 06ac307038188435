"""Trainings with several seeds whose average is tested: the accuracy of each, and the answers of other averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

_SETS: Final = 250  # drawn sets of seeds: of five seeds there are 70

_AT_ONCE: Final = 2**23  # numbers in memory

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SeedAnswers:
    """The answers of the members of an average for the clips of a test set.

    Attributes:
        accuracy: share of the clips that each seed alone has right.
        folds: int64 (N,), the number of each clip's fold: each fold has trainings of its own.
        drawn: int64 (sets, N), the class predicted by the average of each drawn set of seeds; -1 where there is none.
    """

    accuracy: tuple[float, ...]
    folds: Integers = field(compare=False, repr=False)
    drawn: Integers = field(compare=False, repr=False)

    @classmethod
    def of(
        cls,
        target: Integers,
        members: Sequence[Floats | None],
        folds: Sequence[int | None],
        failed: Sequence[bool],
        *,
        seed: int,
    ) -> Self | None:
        """Return the answers for the clips of a test set; None where not all models average the same number of seeds.

        A set holds one seed less than there are, drawn with replacement. With all of them the variance of an average
        would come out too small, by the share of one seed (Rao and Wu 1988).

        Args:
            target: `(N,)`, indices of the true classes.
            members: for each clip (views, seeds, K), probabilities by each seed; None where its model is no average.
            folds: for each clip the fold in which it was tested; None where there is one.
            failed: for each clip whether it could not be used.
            seed: of the draw.
        """
        used = [each for each in members if each is not None]
        counts = {each.shape[1] for each in used}
        if len(counts) != 1 or len(used) + sum(failed) < len(target):
            return None
        (count,) = counts
        draw = np.random.default_rng(seed).multinomial(count - 1, np.full(count, 1 / count), size=_SETS)
        alone, drawn = np.full((count, len(target)), -1), np.full((_SETS, len(target)), -1)
        there = np.flatnonzero(~np.asarray(failed, dtype=bool))
        for place in np.array_split(there, -(-len(there) * _SETS * max(each.size for each in used) // _AT_ONCE)):
            logs = np.log(np.maximum([members[number] for number in place], np.finfo(np.float64).tiny))
            alone[:, place] = _predicted(np.eye(count), logs)
            drawn[:, place] = _predicted(draw / (count - 1), logs)
        numbers = np.unique([-1 if fold is None else fold for fold in folds], return_inverse=True)[1]
        return cls(tuple((alone == target).mean(axis=1).tolist()), numbers.astype(np.int64), drawn)

    @property
    def spread(self) -> float:
        """Standard deviation of the accuracy over the seeds."""
        return float(np.std(self.accuracy, ddof=1))

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {"averaged": len(self.accuracy), "accuracy": list(self.accuracy), "spread": self.spread}


def _predicted(weights: Floats, logs: Floats) -> Integers:
    """Return the class that weighted averages of the members predict, (sets, N).

    Args:
        weights: (sets, seeds), each row sums to 1.
        logs: (N, views, seeds, K), logarithms of probabilities.
    """
    mean = weights @ logs
    shares = np.exp(mean - mean.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return np.asarray(shares.mean(axis=1).argmax(axis=-1).T, dtype=np.int64)
