"""Test clips under a shift: what is left of accuracy, calibration, coverage and familiarity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from marey.evaluation.evaluation import Evaluation
from marey.evaluation.guarantees import Guarantees
from marey.evaluation.unknown import share_with_interval


@dataclass(frozen=True, slots=True)
class ShiftResult:
    """The results of the same test clips after a shift.

    Attributes:
        name: of the shift; "none" for the clips as they are.
        meaning: of it, in words.
        clips: number of clips.
        failed: clips that could not be read; each counts as wrong.
        accuracy: share of the clips that are right.
        interval: of that, at 95 %, by resampling groups; None with fewer than two.
        ece: calibration error; None where no clip could be read.
        ece_calibrated: that of a perfect calibration with the same confidences.
        unknown: share of the clips that are called unknown; None where the model cannot tell.
        level: share of the sets of labels that shall hold the true one; None where there are no sets.
        coverage: share of the sets that hold it.
        set_size: mean number of labels in a set.
        answered: share of the clips that are answered with few wrong ones allowed, see `Guarantees`.
        wrong: share of wrong answers among them; None where there is none.
    """

    name: str
    meaning: str
    clips: int
    failed: int
    accuracy: float
    interval: tuple[float, float] | None
    ece: float | None
    ece_calibrated: float | None
    unknown: float | None
    level: float | None
    coverage: float | None
    set_size: float | None
    answered: float | None
    wrong: float | None

    @classmethod
    def of(cls, name: str, meaning: str, evaluation: Evaluation, guarantees: Guarantees | None) -> Self:
        """Return the results of an evaluation, and of its sets of labels where there are any."""
        metrics = evaluation.metrics
        right = np.array([evaluation.predicted(row) == row.label for row in evaluation.rows], dtype=bool)
        _, interval = share_with_interval(right, [row.group for row in evaluation.rows], seed=evaluation.seed)
        strange = [row.unfamiliarity > 1 for row in evaluation.rows if row.unfamiliarity is not None]
        return cls(
            name,
            meaning,
            metrics.clips,
            metrics.failed,
            metrics.accuracy,
            interval,
            metrics.ece,
            metrics.values["ece_calibrated"],
            unknown=sum(strange) / len(strange) if strange else None,
            level=None if guarantees is None else guarantees.level,
            coverage=None if guarantees is None else guarantees.coverage,
            set_size=None if guarantees is None else guarantees.mean_size,
            answered=None if guarantees is None else guarantees.answered,
            wrong=None if guarantees is None else guarantees.wrong,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return asdict(self)
