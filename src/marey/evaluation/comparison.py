"""Several recipes on the same clips: what each is worth over groups and seeds, and which differences are luck."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from marey.evaluation.evaluation import Evaluation, Row
from marey.evaluation.intervals import CHUNK, FEW, LEVEL, RESAMPLES, Interval, all_alike, macro_f1_of
from marey.evaluation.metrics import MetricRow, metric_rows
from marey.evaluation.scoring import Metrics

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What the models of one recipe said, a run a seed.

    Attributes:
        labels: the classes, in the order of the probabilities.
        runs: seed to the rows of its run.
    """

    labels: tuple[str, ...]
    runs: Mapping[int, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Pooled:
    """A recipe over all of its seeds.

    Attributes:
        clips: answers that count, each clip once a seed; a clip that failed counts as wrong.
        accuracy: share of them that are right.
        macro_f1: mean F1 of the classes, of all answers together.
        interval: of both.
    """

    clips: int
    accuracy: float
    macro_f1: float
    interval: Interval

    @property
    def rows(self) -> list[MetricRow]:
        """The rows of a table of these metrics."""
        values = {"accuracy": self.accuracy, "macro_f1": self.macro_f1}
        return metric_rows(values | {f"{name}_interval": getattr(self.interval, name) for name in values})


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one recipe is than another, on the clips that both were tested on with the same seed.

    Attributes:
        clips: pairs of answers; 0 where the two were never tested on the same.
        units: groups, or clips where no groups are known.
        accuracy: of the one less that of the other; None without pairs.
        interval: low and high end of it, None where there is nothing to resample.
        p: how often chance alone would give as large a difference; None without pairs.
    """

    clips: int
    units: int
    accuracy: float | None
    interval: tuple[float, float] | None
    p: float | None


@dataclass(frozen=True, slots=True)
class OrderEffect:
    """What a model loses when the frames of its clips come in another order: what it knows of time.

    Attributes:
        order: "shuffled" or "reversed".
        given: every number of the clips as they are.
        changed: every number of the clips with their frames in that order.
        difference: accuracy of the one less that of the other, clip by clip.
    """

    order: str
    given: Metrics
    changed: Metrics
    difference: Difference

    @classmethod
    def of(cls, order: str, given: Evaluation, changed: Evaluation) -> Self:
        """Compare two evaluations of one model on the same clips."""
        one, other = (Answers(each.labels, {each.seed: each.rows}) for each in (given, changed))
        return cls(order, given.metrics, changed.metrics, difference(one, other, seed=given.seed))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
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


def pool(answers: Answers, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL) -> Pooled:
    """Accuracy and macro F1 of a recipe, with intervals over groups and seeds.

    Groups are drawn with replacement, and for each of them, with replacement too, as many of the seeds that tested it
    as there are: the bootstrap in two stages of Davison & Hinkley, Bootstrap Methods and their Application, 1997, 3.8.

    Args:
        answers: of one recipe, with at least one row.
        seed: of the resampling.
        resamples: how many to draw.
        level: the share of resamples inside the interval.
    """
    cells = _Cells(answers)
    whole = np.ones(cells.present.size)
    accuracy, macro_f1 = cells.scores(whole)
    unit, units = cells.unit, len(cells.present)
    if units < 2:
        why = f"no interval: all test clips are one {unit[:-1]}, and it takes two or more to resample"
        interval = Interval(unit, units, why, level, resamples, accuracy=None, macro_f1=None)
    elif accuracy in (0.0, 1.0):
        interval = all_alike(unit, units, right=bool(accuracy == 1.0), level=level, resamples=resamples)
    else:
        found = [cells.scores(times) for times in _draws(cells.present, seed=seed, resamples=resamples)]
        ends = [_ends(np.concatenate(values), level) for values in zip(*found, strict=True)]
        few = f"only {units} {unit} to resample: take the width of the interval as a rough guess"
        note = few if units < FEW else None
        interval = Interval(unit, units, note, level, resamples, accuracy=ends[0], macro_f1=ends[1])
    return Pooled(sum(len(rows) for rows in answers.runs.values()), float(accuracy), float(macro_f1), interval)


def difference(
    one: Answers, other: Answers, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Difference:
    """The accuracy of one recipe less that of another, with a paired interval and a paired test over groups.

    The interval is the bootstrap of `pool`, of the differences. The test is the randomisation test of matched pairs
    (Fisher 1935; Noreen 1989): were the two recipes alike, each group could as well have been won by the other. It is
    exact however few groups there are, where a bootstrap of ten finds too much; over single clips, with one seed, it
    is the exact test of McNemar 1947.

    Args:
        one: the better one, say.
        other: what it is compared with.
        seed: of the resampling.
        resamples: how many to draw.
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
        interval = _ends(np.concatenate(drawn), level)
    accuracy = float(ratio(np.ones(won.size)))
    return Difference(pairs, units, accuracy, interval, sign_flip(won.sum(axis=1).astype(np.int64)))


def sign_flip(differences: Sequence[int] | npt.NDArray[np.int64]) -> float:
    """The two-sided p-value of the randomisation test: how often signs drawn by chance give as large a sum.

    All signs are weighed, none is drawn: the distribution of the sum is worked out number by number.

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


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values of several tests, corrected for their number (Holm 1979), in the same order."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(order))
    least = 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(order) - place) * p_values[index]))
        corrected[index] = least
    return tuple(corrected.tolist())


class _Cells:
    """The answers of a recipe as counts: a cell is a group under a seed, (groups, seeds), and in it the classes."""

    def __init__(self, answers: Answers) -> None:
        rows = [(place, row) for place, seed in enumerate(answers.runs) for row in answers.runs[seed]]
        self.unit = _unit(row for _, row in rows)
        names = sorted({_name(row) for _, row in rows})
        member = {name: number for number, name in enumerate(names)}
        column = {label: number for number, label in enumerate(answers.labels)}
        shape = (len(names), len(answers.runs), len(answers.labels))
        self._hits, self._support, self._answers = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for place, row in rows:
            cell = member[_name(row)], place
            self._support[(*cell, column[row.label])] += 1
            said = _said(row)
            if said is not None:
                self._answers[(*cell, said)] += 1
                self._hits[(*cell, said)] += answers.labels[said] == row.label
        self.present: npt.NDArray[np.bool_] = self._support.sum(axis=2) > 0

    def scores(self, times: Counts) -> tuple[Counts, Counts]:
        """Accuracy and macro F1 where each cell counts so many times: (..., groups * seeds) to (...) each."""
        hits, support, answers = (
            times @ counts.reshape(self.present.size, -1) for counts in (self._hits, self._support, self._answers)
        )
        return hits.sum(axis=-1) / support.sum(axis=-1), macro_f1_of(hits, support, answers)


def _won(one: Answers, other: Answers) -> tuple[Counts, Counts, int]:
    """Clips that the one has right and the other wrong, less the reverse; pairs; each (groups, seeds)."""
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
    """How often each cell is drawn, (resamples, groups * seeds), in pieces."""
    generator = np.random.default_rng(seed)
    groups = len(present)
    tested = present.sum(axis=1)
    shares = present / tested[:, None]
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        times = generator.multinomial(groups, np.full(groups, 1 / groups), size=size)
        cells = generator.multinomial(times * tested, shares)
        yield cells.reshape(size, -1).astype(np.float64)


def _ends(values: Counts, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _unit(rows: Iterable[Row]) -> Literal["groups", "clips"]:
    return "groups" if any(row.group is not None for row in rows) else "clips"


def _name(row: Row) -> str:
    return f"clip {row.clip}" if row.group is None else f"group {row.group}"


def _said(row: Row) -> int | None:
    return None if row.probabilities is None else int(np.argmax(row.probabilities))


def _right(answers: Answers, row: Row) -> bool:
    said = _said(row)
    return said is not None and answers.labels[said] == row.label
