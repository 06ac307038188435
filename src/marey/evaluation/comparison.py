"""Comparison of recipes on the same clips: scores over groups and seeds, paired tests, ranking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from marey.evaluation.evaluation import ClipResult, Evaluation, uncalibrated_of
from marey.evaluation.intervals import (
    CHUNK,
    LEVEL,
    RESAMPLES,
    Interval,
    all_alike,
    few_note,
    macro_f1_of,
    percentiles,
    single_note,
)
from marey.evaluation.metrics import MetricRow, ScoredClips, compute_metrics, metric_rows
from marey.evaluation.scoring import Metrics

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunResults:
    """Results of one recipe, a run a seed.

    Attributes:
        labels: the classes, in the order of the probabilities.
        runs: seed to the rows of its run.
    """

    labels: tuple[str, ...]
    runs: Mapping[int, Sequence[ClipResult]]


@dataclass(frozen=True, slots=True)
class PooledScores:
    """Scores of a recipe over all of its seeds.

    Attributes:
        clips: predictions, each clip once a seed; a clip that failed counts as wrong.
        accuracy: share of them that are right.
        macro_f1: mean F1 of the classes, of all predictions together.
        interval: of both.
        others: name -> number of the other registered metrics, of all predictions together.
    """

    clips: int
    accuracy: float
    macro_f1: float
    interval: Interval
    others: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def rows(self) -> list[MetricRow]:
        """The rows of a table of these metrics."""
        values = {"accuracy": self.accuracy, "macro_f1": self.macro_f1}
        intervals = {f"{name}_interval": getattr(self.interval, name) for name in values}
        return metric_rows({**self.others, **values, **intervals})


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference in accuracy of two recipes, on the clips that both were tested on with the same seed.

    Attributes:
        clips: pairs of predictions; 0 where the two were never tested on the same clip.
        units: groups, or clips where no groups are known.
        accuracy: of the first minus that of the second; None without pairs.
        interval: low and high end of it; None where there is nothing to resample.
        p: p-value of the paired permutation test; None without pairs.
    """

    clips: int
    units: int
    accuracy: float | None
    interval: tuple[float, float] | None
    p: float | None


@dataclass(frozen=True, slots=True)
class OrderEffect:
    """Effect of another order of the frames on a model: how much it uses temporal order.

    Attributes:
        order: "shuffled" or "reversed".
        given: metrics of the clips as they are.
        changed: metrics of the clips with their frames in that order.
        difference: accuracy of the first minus that of the second, clip by clip.
    """

    order: str
    given: Metrics
    changed: Metrics
    difference: Difference

    @classmethod
    def of(cls, order: str, given: Evaluation, changed: Evaluation) -> Self:
        """Compare two evaluations of one model on the same clips."""
        one, other = (RunResults(each.labels, {each.seed: each.rows}) for each in (given, changed))
        return cls(order, given.metrics, changed.metrics, difference(one, other, seed=given.seed))

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        found = self.difference
        return {
            "order": self.order,
            "accuracy_given": self.given.accuracy,
            f"accuracy_{self.order}": self.changed.accuracy,
            "difference": found.accuracy,
            "difference_interval": None if found.interval is None else list(found.interval),
            "p": found.p,
            "clips": found.clips,
            "units": found.units,
        }


def pool(results: RunResults, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL) -> PooledScores:
    """Return accuracy and macro F1 of a recipe, with intervals over groups and seeds, and its other metrics.

    Groups are drawn with replacement, then for each group, with replacement, as many seeds as tested it: the two-stage
    bootstrap of Davison & Hinkley, Bootstrap Methods and their Application, 1997, 3.8.

    Args:
        results: of one recipe, with at least one row.
        seed: of the resampling.
        resamples: number of resamples.
        level: the share of resamples inside the interval.
    """
    cells = _Cells(results)
    whole = np.ones(cells.present.size)
    accuracy, macro_f1 = cells.scores(whole)
    unit, units = cells.unit, len(cells.present)
    if units < 2:
        note: str | None = single_note(unit, "test clips")
        interval = Interval(unit, units, note, level, resamples, accuracy=None, macro_f1=None)
    elif accuracy in (0.0, 1.0):
        interval = all_alike(unit, units, right=bool(accuracy == 1.0), level=level, resamples=resamples)
    else:
        found = [cells.scores(times) for times in _draws(cells.present, seed=seed, resamples=resamples)]
        ends = [percentiles(np.concatenate(values), level) for values in zip(*found, strict=True)]
        note = few_note(unit, units)
        interval = Interval(unit, units, note, level, resamples, accuracy=ends[0], macro_f1=ends[1])
    clips = sum(len(rows) for rows in results.runs.values())
    return PooledScores(clips, float(accuracy), float(macro_f1), interval, _other_metrics(results))


def difference(
    one: RunResults, other: RunResults, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Difference:
    """Return the accuracy of one recipe minus that of another, with a paired interval and a paired test over groups.

    The interval is the bootstrap of `pool`, of the differences. The test is the randomisation test of matched pairs
    (Fisher 1935; Noreen 1989): if the two recipes are equal, each group could as well have been won by the other. It
    is exact for any number of groups, where the p-value of a bootstrap over ten groups is too small; over single
    clips, with one seed, it is the exact test of McNemar 1947.

    Args:
        one: the first recipe.
        other: the second.
        seed: of the resampling.
        resamples: number of resamples.
        level: the share of resamples inside the interval.
    """
    won, present, pairs = _won(one, other)
    units = len(won)
    if pairs == 0:
        return Difference(0, 0, None, None, None)
    counts = np.stack([won.ravel(), present.ravel()], axis=1)

    def ratio(times: Counts) -> Counts:
        drawn = times @ counts
        share: Counts = drawn[..., 0] / drawn[..., 1]
        return share

    interval = None
    if units > 1:
        drawn = [ratio(times) for times in _draws(present > 0, seed=seed, resamples=resamples)]
        interval = percentiles(np.concatenate(drawn), level)
    accuracy = float(ratio(np.ones(won.size)))
    return Difference(pairs, units, accuracy, interval, paired_permutation_test(won.sum(axis=1).astype(np.int64)))


def paired_permutation_test(differences: Sequence[int] | npt.NDArray[np.int64]) -> float:
    """Return the two-sided p-value of the paired permutation test: how often random signs give as large a sum.

    The test is exact: the distribution of the sum over all signs is computed, none is drawn.

    Args:
        differences: of each pair, in clips.
    """
    sizes = np.abs(np.asarray(differences, dtype=np.int64))
    total = int(sizes.sum())
    shares = np.ones(1)
    for size in sizes[sizes > 0]:
        flipped = np.zeros(len(shares) + 2 * int(size))
        flipped[: len(shares)] += shares / 2
        flipped[2 * int(size) :] += shares / 2
        shares = flipped
    sums = np.arange(-total, total + 1)
    return min(1.0, float(shares[np.abs(sums) >= abs(int(np.sum(differences)))].sum()))


@dataclass(frozen=True, slots=True)
class RankedRecipe:
    """The place of a recipe in a comparison.

    Attributes:
        name: of the recipe.
        behind: the accuracy of the best recipe minus that of this one; None for the best one.
        p: the p-value of that, corrected for all comparisons (Holm 1979).
    """

    name: str
    behind: Difference | None = None
    p: float | None = None


def rank_recipes(recipes: Mapping[str, tuple[PooledScores, RunResults]], *, seed: int) -> list[RankedRecipe]:
    """Rank recipes by accuracy, then macro F1, then name, and compare each with the best one.

    Args:
        recipes: name of each recipe to its pooled scores and the rows of its runs.
        seed: of the resampling.
    """
    if not recipes:
        return []
    best, *others = sorted(recipes, key=lambda name: (-recipes[name][0].accuracy, -recipes[name][0].macro_f1, name))
    behind = {name: difference(recipes[best][1], recipes[name][1], seed=seed) for name in others}
    p_values = {name: each.p for name, each in behind.items() if each.p is not None}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return [RankedRecipe(best), *(RankedRecipe(name, behind[name], corrected.get(name)) for name in others)]


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the p-values of several tests, corrected for their number (Holm 1979), in the same order."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(order))
    least = 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(order) - place) * p_values[index]))
        corrected[index] = least
    return tuple(corrected.tolist())


def _other_metrics(results: RunResults) -> dict[str, float | None]:
    rows = [row for each in results.runs.values() for row in each]
    missing = (np.nan,) * len(results.labels)
    clips = ScoredClips.of(
        np.array([results.labels.index(row.label) for row in rows], dtype=np.int64),
        np.array([row.probabilities or missing for row in rows], dtype=np.float64),
        uncalibrated=uncalibrated_of(rows),
    )
    found = compute_metrics(clips)
    return {name: value for name, value in found.items() if name not in ("accuracy", "macro_f1")}


class _Cells:
    """The predictions of a recipe as counts: a cell is a group under a seed, (groups, seeds), and in it the classes."""

    def __init__(self, results: RunResults) -> None:
        rows = [(place, row) for place, seed in enumerate(results.runs) for row in results.runs[seed]]
        self.unit = _unit(row for _, row in rows)
        names = sorted({_name(row) for _, row in rows})
        member = {name: number for number, name in enumerate(names)}
        column = {label: number for number, label in enumerate(results.labels)}
        shape = (len(names), len(results.runs), len(results.labels))
        self._hits, self._support, self._predicted = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for place, row in rows:
            cell = member[_name(row)], place
            self._support[(*cell, column[row.label])] += 1
            predicted = _predicted(row)
            if predicted is not None:
                self._predicted[(*cell, predicted)] += 1
                self._hits[(*cell, predicted)] += results.labels[predicted] == row.label
        self.present: npt.NDArray[np.bool_] = self._support.sum(axis=2) > 0

    def scores(self, times: Counts) -> tuple[Counts, Counts]:
        """Return accuracy and macro F1 where each cell counts so many times: (..., groups * seeds) to (...) each."""
        hits, support, predicted = (
            times @ counts.reshape(self.present.size, -1) for counts in (self._hits, self._support, self._predicted)
        )
        return hits.sum(axis=-1) / support.sum(axis=-1), macro_f1_of(hits, support, predicted)


def _won(one: RunResults, other: RunResults) -> tuple[Counts, Counts, int]:
    """Return wins minus losses of the one, and pairs, each (groups, seeds), and the number of pairs."""
    seeds = [seed for seed in one.runs if seed in other.runs]
    pairs: list[tuple[str, int, int]] = []
    for place, seed in enumerate(seeds):
        theirs = {row.clip: row for row in other.runs[seed]}
        for row in one.runs[seed]:
            if row.clip in theirs:
                won = int(_right(one, row)) - int(_right(other, theirs[row.clip]))
                pairs.append((_name(row), place, won))
    names = {name: number for number, name in enumerate(sorted({name for name, _, _ in pairs}))}
    won_by, present = np.zeros((len(names), len(seeds))), np.zeros((len(names), len(seeds)))
    for name, place, won in pairs:
        won_by[names[name], place] += won
        present[names[name], place] += 1
    return won_by, present, len(pairs)


def _draws(present: npt.NDArray[np.bool_], *, seed: int, resamples: int) -> Iterator[Counts]:
    """Yield how often each cell is drawn, (resamples, groups * seeds), in pieces."""
    generator = np.random.default_rng(seed)
    groups = len(present)
    tested = present.sum(axis=1)
    shares = present / tested[:, None]
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        times = generator.multinomial(groups, np.full(groups, 1 / groups), size=size)
        cells = generator.multinomial(times * tested, shares)
        yield cells.reshape(size, -1).astype(np.float64)


def _unit(rows: Iterable[ClipResult]) -> Literal["groups", "clips"]:
    return "groups" if any(row.group is not None for row in rows) else "clips"


def _name(row: ClipResult) -> str:
    return f"clip {row.clip}" if row.group is None else f"group {row.group}"


def _predicted(row: ClipResult) -> int | None:
    return None if row.probabilities is None else int(np.argmax(row.probabilities))


def _right(results: RunResults, row: ClipResult) -> bool:
    predicted = _predicted(row)
    return predicted is not None and results.labels[predicted] == row.label
