"""The prediction of a clip, as callers and files see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from marey.errors import Reason
from marey.evaluation import RiskControl
from marey.models import ActionModel
from marey.prediction.pipeline import UNKNOWN, Answer, Unknown, sort_by_probability
from marey.prediction.promises import Promises


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction of a clip.

    Attributes:
        source: the clip, as it was named.
        labels: the classes, most probable first; empty where the clip cannot be used.
        probabilities: of those, in the same order.
        reason: why the clip cannot be used, as one word; None where it can.
        detail: the reason in words.
        threshold: below this probability of the most probable class the label is None.
        matches: of networks that were trained to say whether words fit, such as SigLIP: how far each label fits by
            itself, from 0 to 1, in the same order; empty for all others.
        unfamiliarity: how unlike the training clips it is: 1 at the threshold, above it unknown; None where the model
            cannot tell.
        why: why it is called unknown, in words; empty where it is not.
        label_set: labels that hold the true one with the probability `level`, most probable first; empty where they
            were not asked for.
        level: share of the sets that shall hold the true label.
        set_guaranteed: True where that is guaranteed.
        risk: how the threshold was chosen, where a bound on wrong answers was asked for.
    """

    source: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    reason: Reason | None = None
    detail: str = ""
    threshold: float = 0.0
    matches: tuple[float, ...] = ()
    unfamiliarity: float | None = None
    why: str = ""
    label_set: tuple[str, ...] = ()
    level: float | None = None
    set_guaranteed: bool = False
    risk: RiskControl | None = None

    @property
    def unknown(self) -> bool:
        """True where the clip is unlike all training clips, and that was to be marked."""
        return bool(self.why)

    @property
    def label(self) -> str | None:
        """The most probable class, or "unknown".

        None where its probability is below the threshold, or the clip cannot be used.
        """
        if self.unknown:
            return UNKNOWN
        return self.labels[0] if self.labels and self.probabilities[0] >= self.threshold else None

    @property
    def confidence(self) -> float | None:
        """The probability of the most probable class, whatever the threshold."""
        return self.probabilities[0] if self.probabilities else None

    def __repr__(self) -> str:
        """Show source, label and confidence, or the reason."""
        if self.reason is not None:
            return f"Prediction({self.source!r}, reason={self.reason!r})"
        return f"Prediction({self.source!r}, label={self.label!r}, confidence={self.confidence:.3f})"

    def top(self, k: int) -> tuple[tuple[str, float], ...]:
        """Return the `k` most probable classes with their probabilities."""
        return tuple(zip(self.labels[:k], self.probabilities[:k], strict=True))

    def as_dict(self, k: int) -> dict[str, Any]:
        """Return for JSON: source, label, confidence and the `k` most probable, or the reason why there are none.

        The label is None where it is none of the classes. One that is unknown has the nearest class beside it, whose
        probability is the confidence.
        """
        if self.reason is not None:
            return {"source": self.source, "reason": self.reason, "detail": self.detail}
        matches = dict(zip(self.labels[:k], self.matches, strict=False))
        strange: dict[str, Any] = {}
        if self.unfamiliarity is not None:
            strange = {"unfamiliarity": self.unfamiliarity, "unknown": self.unknown}
        if self.unknown:
            strange |= {"nearest": self.labels[0], "why": self.why}
        return {
            "source": self.source,
            "label": self.label,
            "confidence": self.confidence,
            "top": [[label, probability] for label, probability in self.top(k)],
            **strange,
            **self._promised(),
            **({"matches": matches} if matches else {}),
        }

    def _promised(self) -> dict[str, Any]:
        """Return for JSON what was promised of the answer."""
        found: dict[str, Any] = {}
        if self.level is not None:
            found = {"set": list(self.label_set), "set_level": self.level, "set_guaranteed": self.set_guaranteed}
        if self.risk is not None:
            found |= {"risk": self.risk.as_dict()}
        return found


def prediction_of(
    source: str,
    labels: Sequence[str],
    probabilities: Sequence[float],
    *,
    threshold: float = 0.0,
    unfamiliarity: float | None = None,
    why: str = "",
) -> Prediction:
    """Return the prediction of a clip whose probabilities are known, in the order of the model's labels."""
    order = sort_by_probability(labels, probabilities)
    return Prediction(
        source,
        tuple(label for label, _ in order),
        tuple(share for _, share in order),
        threshold=threshold,
        unfamiliarity=unfamiliarity,
        why=why,
    )


def prediction_of_answer(
    source: str,
    model: ActionModel,
    answer: Answer,
    *,
    threshold: float = 0.0,
    unknown: Unknown = "mark",
    promises: Promises = Promises(),  # noqa: B008 - frozen
    draw: str = "",
) -> Prediction:
    """Return the prediction of a clip from a model's answer.

    Args:
        source: the clip, as it was named.
        model: of the answer.
        answer: of the clip.
        threshold: below it there is no label; that of a promised risk takes its place.
        unknown: with "mark" the label may be "unknown".
        promises: bounds that were asked for.
        draw: what the random numbers of the clip's set are drawn from, see `draw_of`.
    """
    known = model.familiarity if unknown == "mark" and answer.unknown else None
    found = prediction_of(
        source,
        model.labels,
        answer.probabilities,
        threshold=threshold if promises.risk is None else promises.risk.threshold,
        unfamiliarity=answer.unfamiliarity,
        why="" if known is None else known.reason,
    )
    if promises.sets is not None:
        taken = promises.sets.take(answer.probabilities, draw=draw)
        labels = tuple(model.labels[label] for label in taken)
        found = replace(found, label_set=labels, level=promises.sets.level, set_guaranteed=promises.sets.guaranteed)
    return replace(found, risk=promises.risk)
