"""Unknown actions: how well a score tells clips of no known class, and what is won by leaving out doubtful answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marey.evaluation.intervals import draws, percentiles

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

RECALL: Final = 0.95
RIGHT: Final = 0.95
RESAMPLES: Final = 500


@dataclass(frozen=True, slots=True)
class LeftOutClass:
    """A class that was left out of the training clips and then shown as unknown.

    Attributes:
        label: the class.
        auroc: probability that a clip of it is less familiar than one of a known class; 0.5 for guessing.
        interval: of that, at 95 %, by resampling groups; None with fewer than two.
        false_positives: share of the known clips above the score that 95 % of the unknown ones reach.
        found: share of its clips above the threshold.
    """

    label: str
    auroc: float
    interval: tuple[float, float] | None
    false_positives: float
    found: float

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {
            "label": self.label,
            "auroc": self.auroc,
            "interval": None if self.interval is None else list(self.interval),
            "fpr_at_95_recall": self.false_positives,
            "found": self.found,
        }


def left_out_class(
    label: str, scores: Floats, unknown: Flags, groups: npt.NDArray[np.int64], *, threshold: float, seed: int
) -> LeftOutClass:
    """Measure how well scores tell the clips of a class that was left out.

    Args:
        label: the class.
        scores: (N,), higher for less familiar; both kinds of clips are there.
        unknown: (N,), which clips are of the class.
        groups: (N,), numbers of the groups, from 0.
        threshold: score above which a clip is called unknown.
        seed: of the resampling.
    """
    units = int(groups.max()) + 1
    found = []
    if units > 1:
        for times in draws(units, seed=seed, resamples=RESAMPLES):
            found += [auroc(scores, unknown, weights) for weights in times[:, groups]]
    spread = np.array([value for value in found if np.isfinite(value)])
    return LeftOutClass(
        label,
        auroc(scores, unknown),
        percentiles(spread, 0.95) if len(spread) else None,
        false_positives(scores, unknown),
        float((scores[unknown] > threshold).mean()),
    )


def auroc(scores: Floats, unknown: Flags, weights: Floats | None = None) -> float:
    """Return the area under the ROC curve: the probability that an unknown clip has the higher score; ties count half.

    Args:
        scores: (N,).
        unknown: (N,).
        weights: (N,), how often each clip counts; once by default. NaN where either kind counts nothing.
    """
    count = np.ones(len(scores)) if weights is None else weights
    levels, place = np.unique(scores, return_inverse=True)
    there = np.bincount(place, weights=count * unknown, minlength=len(levels))
    others = np.bincount(place, weights=count * ~unknown, minlength=len(levels))
    pairs = there.sum() * others.sum()
    below = np.cumsum(others) - others / 2
    return float((there * below).sum() / pairs) if pairs else float("nan")


def false_positives(scores: Floats, unknown: Flags, recall: float = RECALL) -> float:
    """Return the share of known clips whose score is at least the one that a share of the unknown ones reach."""
    ordered = np.sort(scores[unknown])[::-1]
    least = ordered[int(np.ceil(recall * len(ordered))) - 1]
    return float((scores[~unknown] >= least).mean())


@dataclass(frozen=True, slots=True)
class Selective:
    """Answers in the order of their confidence: what is wrong among the most confident ones.

    Attributes:
        coverage: (N,), share of the clips that are answered, ascending.
        risk: (N,), share of wrong answers among them.
        area: mean risk over all coverages (AURC; Geifman and El-Yaniv 2017); 0 is best.
        confidence: least confidence at which 95 % of the answers are right; None where no confidence is enough.
        answered: share of the clips that have it.
    """

    coverage: Floats
    risk: Floats
    area: float
    confidence: float | None
    answered: float

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {"aurc": self.area, "confidence_at_95_right": self.confidence, "answered": self.answered}


def selective(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, right: float = RIGHT) -> Selective:
    """Return the coverage-risk curve of answers; equal confidences are answered together.

    Args:
        confidence: (N,), of the clips of held-out groups, N >= 1.
        correct: (N,).
        right: share of right answers that `confidence` is for.
    """
    confidences = np.asarray(confidence, dtype=np.float64)
    wrong = 1 - np.asarray(correct, dtype=np.float64)
    levels, place = np.unique(-confidences, return_inverse=True)
    answered = np.cumsum(np.bincount(place, minlength=len(levels)))
    risk = np.cumsum(np.bincount(place, weights=wrong, minlength=len(levels))) / answered
    shares = np.diff(answered, prepend=0) / len(wrong)
    enough = np.flatnonzero(risk <= 1 - right)
    last = int(enough[-1]) if len(enough) else None
    coverage = answered / len(wrong)
    return Selective(
        coverage,
        risk,
        float((shares * risk).sum()),
        None if last is None else float(-levels[last]),
        0.0 if last is None else float(coverage[last]),
    )


@dataclass(frozen=True, slots=True)
class UnknownActions:
    """The answers of a run to unknown actions.

    Attributes:
        threshold_share: share of the clips of held-out training groups that the threshold was set to call unknown;
            None without one.
        clips: test clips with a score.
        known_called_unknown: share of them that are called unknown, all of known classes; None without a score.
        interval: of that, at 95 %, by resampling groups; None with fewer than two.
        left_out: each class left out of training in turn; empty where that cannot be done.
        selective: the answers in the order of their confidence; None where no clip could be read.
        note: why there are no scores.
    """

    threshold_share: float | None
    clips: int
    known_called_unknown: float | None
    interval: tuple[float, float] | None
    left_out: tuple[LeftOutClass, ...]
    selective: Selective | None
    note: str = ""

    @property
    def mean_auroc(self) -> float | None:
        """Mean over the classes that were left out."""
        return float(np.mean([each.auroc for each in self.left_out])) if self.left_out else None

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {
            "false_alarm_set": self.threshold_share,
            "clips": self.clips,
            "known_called_unknown": self.known_called_unknown,
            "known_called_unknown_interval": None if self.interval is None else list(self.interval),
            "left_out_mean_auroc": self.mean_auroc,
            "left_out": [each.as_dict() for each in self.left_out],
            "selective": None if self.selective is None else self.selective.as_dict(),
            **({"note": self.note} if self.note else {}),
        }


def share_with_interval(
    flags: Flags, groups: Sequence[str | None], *, seed: int
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the share of flags that are set, and its interval at 95 % over groups; a clip without one is its own.

    Where no flag is set, or all are, resampling shows no spread: then it is the exact one (Clopper and Pearson 1934)
    for as many groups.
    """
    if not len(flags):
        return None, None
    names = [f"group {group}" if group is not None else f"clip {row}" for row, group in enumerate(groups)]
    member = np.unique(names, return_inverse=True)[1]
    units = int(member.max()) + 1
    share = float(flags.mean())
    if units < 2:
        return share, None
    if share in (0.0, 1.0):
        bound = 0.025 ** (1 / units)
        return share, ((0.0, 1 - bound) if share == 0.0 else (bound, 1.0))
    hits, sizes = np.bincount(member, weights=flags), np.bincount(member)
    drawn = [times @ hits / (times @ sizes) for times in draws(units, seed=seed, resamples=RESAMPLES)]
    return share, percentiles(np.concatenate(drawn), 0.95)
