"""Bootstrap intervals of metrics, by resampling whole groups, and seeds with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from marey.evaluation.seeds import SeedAnswers

RESAMPLES = 2000
LEVEL = 0.95
FEW = 5  # with fewer groups the width of the interval is not reliable
CHUNK = 250  # resamples held in memory at once
METHODS = {"bootstrap": "percentile bootstrap", "exact": "exact binomial interval (Clopper and Pearson 1934)"}


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The resampling behind an interval.

    Attributes:
        unit: what was resampled.
        units: number of them.
        note: half a sentence on why there is no interval, or why it is not reliable.
        method: "bootstrap", or "exact" where all units are alike, so that resampling shows no spread.
        level: the share of resamples inside.
        resamples: number of resamples.
    """

    unit: Literal["groups", "clips", "videos"]
    units: int
    note: str | None = None
    level: float = LEVEL
    resamples: int = RESAMPLES
    method: Literal["bootstrap", "exact"] = "bootstrap"

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {
            "method": f"{METHODS[self.method]} over {self.unit}",
            "level": self.level,
            "resamples": self.resamples if self.method == "bootstrap" else 0,
            "units": self.units,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval(Bootstrap):
    """Intervals of two metrics.

    Attributes:
        accuracy: low and high end, or None where there is nothing to resample.
        macro_f1: low and high end, or None.
        seeds: number of seeds that were resampled with the units; 1 where the seed of the training was kept, and None
            where no seed changes the model, or it is unknown.
    """

    accuracy: tuple[float, float] | None
    macro_f1: tuple[float, float] | None
    seeds: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        values = Bootstrap.as_dict(self)
        if self.seeds is not None and self.seeds > 1 and self.method == "bootstrap":
            values["method"] += f" and {self.seeds} seeds"
        return {**values, "seeds": self.seeds}


def bootstrap(
    target: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    groups: Sequence[str | None],
    *,
    classes: int,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seeds: SeedAnswers | None = None,
) -> Interval:
    """Return percentile intervals of accuracy and macro F1, by drawing groups with replacement.

    Where the model is the average of several seeds, a set of them is drawn with the groups, for each fold another one:
    the interval then holds how much the seed changes the numbers.

    Clips of one subject or one source video are right or wrong together, so single clips are drawn only where no
    group is known; a clip without a group is a group of its own. Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993. Where every clip is right, or none, see `all_alike`.

    Args:
        target: `(N,)`, class indices.
        predicted: `(N,)`, class indices, or any other number for a clip that failed.
        groups: the group of each clip.
        classes: number of classes K.
        seed: of the resampling.
        resamples: number of resamples.
        level: the share of resamples inside the interval.
        seeds: the answers of the members of an average.
    """
    unit: Literal["groups", "clips"] = "groups" if any(group is not None for group in groups) else "clips"
    names = [f"group {group}" if group is not None else f"clip {row}" for row, group in enumerate(groups)]
    member = np.unique(names, return_inverse=True)[1]
    units = int(member.max(initial=-1)) + 1
    if units < 2:
        return Interval(unit, units, single_note(unit, "test clips"), level, resamples, accuracy=None, macro_f1=None)

    right = target == predicted
    if right.all() or not right.any():
        return all_alike(unit, units, right=bool(right.all()), level=level, resamples=resamples)
    if seeds is not None:
        pairs = np.array(list(_draws_of_both(target, seeds, member, classes, seed=seed, resamples=resamples)))
        both = [percentiles(values, level) for values in pairs.T]
        note = few_note(unit, units)
        return Interval(
            unit, units, note, level, resamples, accuracy=both[0], macro_f1=both[1], seeds=len(seeds.accuracy)
        )
    hits = np.zeros((units, classes))
    support = np.zeros((units, classes))
    named = np.zeros((units, classes))
    known = (predicted >= 0) & (predicted < classes)
    np.add.at(hits, (member[right], target[right]), 1)
    np.add.at(support, (member, target), 1)
    np.add.at(named, (member[known], predicted[known]), 1)

    accuracy: list[npt.NDArray[np.float64]] = []
    macro_f1: list[npt.NDArray[np.float64]] = []
    for times in draws(units, seed=seed, resamples=resamples):
        drawn_hits, drawn_support, drawn_named = times @ hits, times @ support, times @ named
        accuracy.append(drawn_hits.sum(axis=1) / drawn_support.sum(axis=1))
        macro_f1.append(macro_f1_of(drawn_hits, drawn_support, drawn_named))

    ends = [percentiles(np.concatenate(values), level) for values in (accuracy, macro_f1)]
    return Interval(unit, units, few_note(unit, units), level, resamples, accuracy=ends[0], macro_f1=ends[1])


def _draws_of_both(
    target: npt.NDArray[np.int64],
    seeds: SeedAnswers,
    member: npt.NDArray[np.int64],
    classes: int,
    *,
    seed: int,
    resamples: int,
) -> Iterator[tuple[float, float]]:
    """Yield accuracy and macro F1 of each resample of units and seeds."""
    generator, rows = np.random.default_rng([seed, 1]), np.arange(len(target))
    for many in draws(int(member.max()) + 1, seed=seed, resamples=resamples):
        chosen = generator.integers(len(seeds.drawn), size=(len(many), int(seeds.folds.max()) + 1))
        for times, sets in zip(many, chosen, strict=True):
            weights, predicted = times[member], seeds.drawn[sets[seeds.folds], rows]
            hits = np.bincount(target, weights * (predicted == target), minlength=classes).astype(np.float64)
            support = np.bincount(target, weights, minlength=classes).astype(np.float64)
            named = np.bincount(predicted + 1, weights, minlength=classes + 1)[1:].astype(np.float64)
            yield float(hits.sum() / support.sum()), float(macro_f1_of(hits, support, named))


def draws(units: int, *, seed: int, resamples: int) -> Iterator[npt.NDArray[np.float64]]:
    """Yield how often each unit is drawn in each resample, (resamples, units), in pieces."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        yield generator.multinomial(units, np.full(units, 1 / units), size=size).astype(np.float64)


def single_note(unit: str, clips: str) -> str:
    """Return the note of an interval that does not exist, since all clips are one unit."""
    return f"no interval: all {clips} are one {unit[:-1]}, and it takes two or more to resample"


def few_note(unit: str, units: int, intervals: str = "interval") -> str | None:
    """Return the note of intervals over few units; None where there are enough."""
    if units >= FEW:
        return None
    return f"only {units} {unit} to resample: take the width of the {intervals} as a rough guess"


def all_alike(unit: Literal["groups", "clips"], units: int, *, right: bool, level: float, resamples: int) -> Interval:
    """Return the interval of accuracy where every clip is right, or none, so that resampling shows no spread.

    It is the exact binomial interval (Clopper and Pearson 1934) for the share of groups whose clips are all right; the
    share of clips that are right is at least as large.

    Args:
        unit: what would be resampled.
        units: number of them.
        right: whether every clip is right; else none is.
        level: the level of the interval.
        resamples: number of resamples.
    """
    bound = ((1 - level) / 2) ** (1 / units)
    ends = (bound, 1.0) if right else (0.0, 1 - bound)
    whole = "every clip is right" if right else "no clip is right"
    note = f"{whole}, so resampling shows no spread: the interval is the exact one for {units} {unit} that are alike"
    return Interval(unit, units, note, level, resamples, "exact", accuracy=ends, macro_f1=None)


def macro_f1_of(
    hits: npt.NDArray[np.float64], support: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the mean F1 of the classes that occur, from counts of each class: (..., K) to (...).

    Args:
        hits: clips of the class that were predicted as it.
        support: clips of the class.
        predicted: clips that were predicted as it.
    """
    f1 = 2 * hits / np.maximum(support + predicted, 1)
    occurs = support > 0
    mean: npt.NDArray[np.float64] = f1.sum(axis=-1, where=occurs) / occurs.sum(axis=-1)
    return mean


def as_list(ends: tuple[float, float] | None) -> list[float] | None:
    """Return an interval for JSON."""
    return None if ends is None else list(ends)


def percentiles(values: npt.NDArray[np.float64], level: float) -> tuple[float, float]:
    """Return the ends of the central share `level` of resampled values, (resamples,)."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
