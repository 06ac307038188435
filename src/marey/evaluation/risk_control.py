"""The confidence from which answers are given, so that few of them are wrong: Learn then Test over groups."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marey.errors import UsageError
from marey.models import HeldOutAnswers

Floats = npt.NDArray[np.float64]

RISK: Final = 0.05
"""Of the threshold that every report measures."""

DOUBT: Final = 0.1
"""The guarantee fails for this share of all sets of held-out clips that might have been drawn."""

_STEPS: Final = 5  # shares of the clips that are answered, among which the largest that holds is looked for


@dataclass(frozen=True, slots=True)
class RiskControl:
    """A threshold on the confidence, and what it promises.

    Attributes:
        risk: share of wrong answers that is allowed.
        threshold: least confidence of an answer; above 1 where no clip is to be answered.
        guaranteed: True where the share of wrong answers in a new group, in the mean over new groups, is at most
            `risk`, with a confidence of 90 % over the held-out clips.
        answered: share of the held-out clips that have the confidence, each group with the same weight.
        wrong: share of wrong answers among them; None where none is answered.
        clips: number of held-out clips.
        groups: number of their groups.
        unit: "group", or "clip" where no groups are known.
        needed: number of groups, all right, that the guarantee takes at least.
        provable: least risk that so many groups could have been guaranteed, had all their answers been right.
    """

    risk: float
    threshold: float
    guaranteed: bool
    answered: float
    wrong: float | None
    clips: int
    groups: int
    unit: str
    needed: int
    provable: float

    @property
    def note(self) -> str:
        """A sentence on what the threshold promises, and what to do where that is nothing."""
        units = f"{self.unit}s"
        if self.guaranteed:
            return (
                f"at most {100 * self.risk:g} % of the answers are wrong, in the mean over new {units} like the "
                f"{self.groups} that were held out, with 90 % confidence: those of confidence {self.threshold:.4g} or "
                "more"
            )
        if self.groups < self.needed:
            why = (
                f"a guarantee takes {self.needed} held-out {units} without an error, and there are {self.groups}, "
                f"which can show {100 * self.provable:.2g} % at best"
            )
        else:
            why = f"the answers for {self.groups} held-out {units} are wrong too often to show it with 90 % confidence"
        remedy = f"add {units}, or allow a larger risk"
        if self.threshold > 1:
            return (
                f"no answer is given: at no confidence were few enough of the {self.clips} clips that were held out "
                f"wrong to allow {100 * self.risk:g} %; {remedy}"
            )
        return (
            f"{100 * self.risk:g} % wrong answers are not guaranteed: {why}; the threshold of {self.threshold:.4g} is "
            f"what held for {self.clips} clips that were held out; {remedy}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {
            "risk": self.risk,
            "threshold": self.threshold if self.threshold <= 1 else None,
            "guaranteed": self.guaranteed,
            "held_out_answered": self.answered,
            "held_out_wrong": self.wrong,
            "groups": self.groups,
            "groups_needed": self.needed,
            "note": self.note,
        }


def control_risk(held_out: HeldOutAnswers, risk: float = RISK) -> RiskControl:
    """Choose the least confidence from which at most a share `risk` of the answers are wrong.

    Learn then Test (Angelopoulos et al. 2021). For five shares of the clips that are answered, the hypothesis that more
    than `risk` of the answers are wrong is tested; its unit is the group, in which clips are right or wrong together.
    Of each group with an answer the share of wrong ones counts; the p-value is the binomial one where a share is 0 or
    1, and that of Hoeffding and Bentkus else. The shares are tested from the least to all (the fallback procedure,
    Wiens 2003), so that the error of all tests together is at most 10 %. The shares are chosen by the confidences
    alone, without the errors. The answers are of models that were trained on fewer groups than the one that predicts.

    Where nothing can be shown, the threshold is the one at which (wrong + 1) / (answers + 1) was at most `risk`, of
    clips that count as if they were independent, and `guaranteed` is False.

    Raises:
        UsageError: a risk outside (0, 1).
    """
    if not 0 < risk < 1:
        raise UsageError(f"risk={risk:g}: a share of wrong answers lies between 0 and 1, as 0.05")
    needed = ceil(log(DOUBT) / log(1 - risk) - 1e-9)
    tested = _thresholds(held_out)
    answering = [len(np.unique(held_out.groups[held_out.confidence >= level])) for level in tested]
    levels = [level for level, count in zip(tested, answering, strict=True) if count >= needed]
    found: float | None = None
    budget = 0.0
    for level in levels:
        budget += DOUBT / len(levels)
        if p_value(_wrong_shares(held_out, level), risk) <= budget:
            found = level
        else:
            budget = 0.0
    guaranteed = found is not None
    threshold = found if found is not None else _plain_threshold(held_out, risk)
    chosen = held_out.confidence >= threshold
    weights = held_out.weights
    answered = float(weights[chosen].sum())
    wrong = float(weights[chosen & ~held_out.correct].sum())
    return RiskControl(
        risk,
        threshold,
        guaranteed,
        answered=answered,
        wrong=wrong / answered if chosen.any() else None,
        clips=held_out.config.clips,
        groups=held_out.config.groups,
        unit=held_out.unit,
        needed=needed,
        provable=1 - DOUBT ** (1 / held_out.config.groups),
    )


def p_value(wrong: Floats, risk: float) -> float:
    """Return the p-value of the hypothesis that the mean of shares in [0, 1], one a group, is above `risk`.

    Binomial where each is 0 or 1; else the lesser of Hoeffding's and Bentkus's bounds (Bates et al. 2021).
    """
    from scipy.stats import binom

    count, mean = len(wrong), float(wrong.mean())
    if mean >= risk:
        return 1.0
    if np.isin(wrong, (0.0, 1.0)).all():
        return float(binom.cdf(round(wrong.sum()), count, risk))
    apart = (mean * log(mean / risk) if mean > 0 else 0.0) + (1 - mean) * log((1 - mean) / (1 - risk))
    bentkus = np.e * binom.cdf(ceil(wrong.sum() - 1e-9), count, risk)
    return float(min(1.0, np.exp(-count * apart), bentkus))


def _thresholds(held_out: HeldOutAnswers) -> list[float]:
    """Return confidences that a fifth, two fifths, ... and all of the clips have."""
    ordered = np.sort(held_out.confidence)[::-1]
    places = [ceil(len(ordered) * step / _STEPS) - 1 for step in range(1, _STEPS + 1)]
    return list(dict.fromkeys(float(ordered[place]) for place in places))


def _wrong_shares(held_out: HeldOutAnswers, threshold: float) -> Floats:
    """Return the share of wrong answers of each group that has an answer."""
    chosen = held_out.confidence >= threshold
    groups = held_out.groups[chosen]
    answers = np.bincount(groups, minlength=held_out.config.groups)
    wrong = np.bincount(groups, weights=~held_out.correct[chosen], minlength=held_out.config.groups)
    return np.asarray((wrong / np.maximum(answers, 1))[answers > 0])


def _plain_threshold(held_out: HeldOutAnswers, risk: float) -> float:
    """Return the least confidence with few wrong answers among the clips; above 1 where there is none."""
    order = np.argsort(-held_out.confidence, kind="stable")
    confidence = held_out.confidence[order]
    wrong = np.cumsum(~held_out.correct[order])
    last = np.append(confidence[1:] < confidence[:-1], True)  # equal confidences are answered together
    enough = last & ((wrong + 1) / (np.arange(len(order)) + 2) <= risk)
    return float(confidence[np.flatnonzero(enough)[-1]]) if enough.any() else 1.5
