"""Measured promises of a run: what its sets of labels hold, and how many of its confident answers are wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from marey.evaluation.evaluation import ClipResult, Evaluation
from marey.evaluation.prediction_sets import LEVEL, PredictionSets
from marey.evaluation.risk_control import RISK, RiskControl, control_risk
from marey.evaluation.unknown import share_with_interval
from marey.models import HeldOutAnswers


@dataclass(frozen=True, slots=True)
class Guarantees:
    """Worth of the sets and of the confident answers of a run, on its test clips.

    Attributes:
        level: share of the sets that shall hold the true label.
        clips: number of test clips with a set.
        coverage: share of the sets that hold it.
        interval: of that, at 95 %, by resampling groups; None with fewer than two.
        exact_coverage: the same of sets that may be empty, by which `level` is exact.
        right: share of the predicted labels that are right: sets are no less.
        sizes: number of labels in a set -> number of sets.
        guaranteed: True where the sets of all folds' models are.
        note: on the sets of the model that is handed over.
        risk: share of wrong answers that is allowed.
        answered: share of the test clips whose confidence is enough for it.
        wrong: share of wrong answers among them; None where there is none.
        wrong_interval: of that, at 95 %.
        rule: the threshold of the model that is handed over.
        sets: test clip -> its set.
    """

    level: float
    clips: int
    coverage: float
    interval: tuple[float, float] | None
    exact_coverage: float
    right: float
    sizes: dict[int, int]
    guaranteed: bool
    note: str
    risk: float
    answered: float
    wrong: float | None
    wrong_interval: tuple[float, float] | None
    rule: RiskControl
    sets: dict[str, tuple[str, ...]]

    @property
    def mean_size(self) -> float:
        """Mean number of labels in a set."""
        return sum(size * count for size, count in self.sizes.items()) / self.clips

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {
            "sets": {
                "level": self.level,
                "clips": self.clips,
                "coverage": self.coverage,
                "coverage_interval": None if self.interval is None else list(self.interval),
                "coverage_with_empty_sets": self.exact_coverage,
                "accuracy": self.right,
                "mean_size": self.mean_size,
                "sizes": {str(size): count for size, count in sorted(self.sizes.items())},
                "guaranteed": self.guaranteed,
                "note": self.note,
                "of_clips": {clip: list(labels) for clip, labels in self.sets.items()},
            },
            "risk": {
                "risk": self.risk,
                "answered": self.answered,
                "wrong": self.wrong,
                "wrong_interval": None if self.wrong_interval is None else list(self.wrong_interval),
                "model": self.rule.as_dict(),
            },
        }


def measure_guarantees(
    evaluation: Evaluation,
    models: Mapping[int | None, HeldOutAnswers | None],
    final: HeldOutAnswers | None,
    draws: Mapping[str, str],
) -> Guarantees | None:
    """Measure on the test clips what the models promise by the clips that were held out of their training.

    Args:
        evaluation: the test clips.
        models: fold, or None where there are none -> what its model keeps of the clips held out.
        final: that of the model that is handed over.
        draws: test clip -> what its random numbers are drawn from.

    Returns:
        None where a model keeps nothing, or no clip could be read.
    """
    rows = [row for row in evaluation.rows if row.probabilities is not None]
    rules = {
        fold: (PredictionSets(kept, LEVEL), control_risk(kept, RISK))
        for fold, kept in models.items()
        if kept is not None
    }
    if not rows or final is None or any(row.fold not in rules for row in rows):
        return None
    sets = [rules[row.fold][0].take(row.probabilities or (), draw=draws[row.clip]) for row in rows]
    exact = [rules[row.fold][0].take_exactly(row.probabilities or (), draw=draws[row.clip]) for row in rows]
    target = [evaluation.labels.index(row.label) for row in rows]
    groups = [row.group for row in rows]
    held = np.array([label in found for label, found in zip(target, sets, strict=True)])
    coverage, interval = share_with_interval(held, groups, seed=evaluation.seed)
    assert coverage is not None  # noqa: S101 - there are rows
    chosen = [row for row in rows if (row.confidence or 0.0) >= rules[row.fold][1].threshold]
    wrong, wrong_interval = share_with_interval(
        np.array([_is_wrong(evaluation, row) for row in chosen], dtype=bool),
        [row.group for row in chosen],
        seed=evaluation.seed,
    )
    return Guarantees(
        LEVEL,
        len(rows),
        coverage,
        interval,
        exact_coverage=float(np.mean([label in found for label, found in zip(target, exact, strict=True)])),
        right=float(np.mean([not _is_wrong(evaluation, row) for row in rows])),
        sizes=dict(Counter(len(found) for found in sets)),
        guaranteed=all(rule.guaranteed for rule, _ in rules.values()),
        note=PredictionSets(final, LEVEL).note,
        risk=RISK,
        answered=len(chosen) / len(rows),
        wrong=wrong,
        wrong_interval=wrong_interval,
        rule=control_risk(final, RISK),
        sets={
            row.clip: tuple(evaluation.labels[label] for label in found) for row, found in zip(rows, sets, strict=True)
        },
    )


def _is_wrong(evaluation: Evaluation, row: ClipResult) -> bool:
    return evaluation.predicted(row) != row.label
