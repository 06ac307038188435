"""Learning curve over groups: the accuracy with fewer groups, and a power law for more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marey.evaluation.intervals import LEVEL, as_list, draws, percentiles

FACTORS: Final = (1.0, 1.5, 2.0, 3.0, 4.0)
"""Multiples of the groups there are, for which the curve is continued."""

WORTH: Final = 0.01
"""Accuracy that twice as many groups have to add for more clips to help."""

FEWEST_SIZES: Final = 3
"""Numbers of groups that a curve needs."""

_EXPONENTS: Final = np.linspace(0.1, 2.0, 39)
_RESAMPLES: Final = 500

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trial:
    """A test on one held-out group.

    Attributes:
        groups: number of groups that the model was trained on.
        tested: number of the held-out group.
        right: number of its clips that were right.
        clips: number of its clips.
    """

    groups: int
    tested: int
    right: int
    clips: int


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Accuracy with a number of training groups.

    Attributes:
        groups: number of them.
        accuracy: measured, or by the power law.
        interval: 95 %, by resampling held-out groups; None where they show no spread.
        measured: False for a continuation.
    """

    groups: int
    accuracy: float
    interval: tuple[float, float] | None
    measured: bool

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {
            "groups": self.groups,
            "accuracy": self.accuracy,
            "interval": as_list(self.interval),
            "measured": self.measured,
        }


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The accuracy against the number of training groups, and its continuation.

    Attributes:
        points: measured ones, then continued ones, by number of groups each.
        law: a, b, c of the error a + b n^-c after n groups.
        gain: accuracy that twice as many groups would add, by the power law.
        gain_interval: 95 %; None where the held-out groups show no spread.
        groups: number of groups there are.
    """

    points: tuple[CurvePoint, ...]
    law: tuple[float, float, float]
    gain: float
    gain_interval: tuple[float, float] | None
    groups: int

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {
            "groups": self.groups,
            "law": dict(zip(("a", "b", "c"), self.law, strict=True)),
            "gain_of_twice_as_many": self.gain,
            "gain_interval": as_list(self.gain_interval),
            "points": [point.as_dict() for point in self.points],
        }


def learning_curve(trials: Sequence[Trial], *, groups: int, seed: int) -> LearningCurve:
    """Return the curve through tests of models that were trained on fewer groups.

    The error falls as a power of the number of training examples, to a floor (Hestness et al. 2017; Viering and Loog
    2023); it is fitted by weighted least squares, as Figueroa et al. (2012) do. The interval comes from resampling the
    held-out groups; it does not hold the doubt whether the law goes on.

    Args:
        trials: of at least three numbers of training groups.
        groups: number of groups there are.
        seed: of the resampling.

    Raises:
        ValueError: fewer numbers of groups.
    """
    sizes = np.unique([trial.groups for trial in trials])
    if len(sizes) < FEWEST_SIZES:
        raise ValueError(f"a learning curve needs {FEWEST_SIZES} numbers of groups, not {len(sizes)}")
    tested = sorted({trial.tested for trial in trials})
    wrong, clips = np.zeros((len(tested), len(sizes))), np.zeros((len(tested), len(sizes)))
    for trial in trials:
        place = tested.index(trial.tested), int(np.searchsorted(sizes, trial.groups))
        wrong[place] += trial.clips - trial.right
        clips[place] += trial.clips
    drawn = np.concatenate(list(draws(len(tested), seed=seed, resamples=_RESAMPLES)))
    totals = drawn @ clips
    drawn = drawn[(totals > 0).all(axis=1)]
    totals = drawn @ clips
    errors = np.concatenate([wrong.sum(0, keepdims=True) / clips.sum(0), (drawn @ wrong) / totals])
    laws = _fit(sizes.astype(np.float64), errors, clips.sum(0))
    ahead = np.unique([max(int(sizes[-1]) + 1, round(factor * groups)) for factor in FACTORS])
    spread = len(tested) > 1 and bool(np.ptp(errors[1:], axis=0).any())

    def point(size: int, values: Floats, *, measured: bool) -> CurvePoint:
        return CurvePoint(size, float(values[0]), percentiles(values[1:], LEVEL) if spread else None, measured)

    points = [point(int(size), 1 - errors[:, column], measured=True) for column, size in enumerate(sizes)]
    points += [point(int(size), 1 - _error(laws, float(size)), measured=False) for size in ahead]
    gains = _error(laws, float(groups)) - _error(laws, 2.0 * groups)
    best = laws[0]
    return LearningCurve(
        tuple(points),
        (float(best[0]), float(best[1]), float(best[2])),
        float(gains[0]),
        percentiles(gains[1:], LEVEL) if spread else None,
        groups,
    )


def curve_sizes(most: int, *, count: int = 6) -> tuple[int, ...]:
    """Return at most `count` numbers of training groups from 1 to `most`, evenly spaced in their logarithm."""
    return tuple(sorted({round(size) for size in np.geomspace(1, max(1, most), count)}))


def _error(laws: Floats, groups: float) -> Floats:
    found: Floats = laws[:, 0] + laws[:, 1] * groups ** -laws[:, 2]
    return found


def _fit(sizes: Floats, errors: Floats, weights: Floats) -> Floats:
    """Return a, b, c of each row of errors, (R, S) to (R, 3): the best c of a grid, a and b not negative."""
    weights = weights / weights.sum()
    best, least = np.zeros((len(errors), 3)), np.full(len(errors), np.inf)
    mean = errors @ weights
    for exponent in _EXPONENTS:
        powers = sizes**-exponent
        center = float(powers @ weights)
        spread = float(((powers - center) ** 2) @ weights)
        slope = np.maximum(((errors - mean[:, None]) * (powers - center)) @ weights / spread, 0)
        floor = mean - slope * center
        through = np.maximum((errors * powers) @ weights / float(powers**2 @ weights), 0)  # with a = 0
        slope, floor = np.where(floor < 0, through, slope), np.maximum(floor, 0)
        misfit = ((floor[:, None] + slope[:, None] * powers - errors) ** 2) @ weights
        better = misfit < least - 1e-12
        least = np.where(better, misfit, least)
        best[better] = np.stack([floor, slope, np.full(len(errors), exponent)], axis=1)[better]
    return best
