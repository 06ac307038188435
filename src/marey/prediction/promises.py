"""Promises of a model on its answers: a bound on wrong ones, and sets that hold the true label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from marey.data import Clip, content_hash
from marey.errors import UsageError, VideoError
from marey.evaluation import PredictionSets, RiskControl, control_risk
from marey.models import ActionModel


@dataclass(frozen=True, slots=True)
class Promises:
    """The bounds that were asked for.

    Attributes:
        risk: the threshold for a share of wrong answers; None where none was asked for.
        sets: the rule of the sets of labels; None where they were not asked for.
    """

    risk: RiskControl | None = None
    sets: PredictionSets | None = None

    @classmethod
    def of(cls, model: ActionModel, *, risk: float | None, sets: float | None) -> Self:
        """Return what a model can promise.

        Args:
            model: with its answers for clips that were held out.
            risk: share of wrong answers that is allowed.
            sets: share of the sets that shall hold the true label.

        Raises:
            UsageError: the model keeps no such answers, or a share is not one.
        """
        if risk is None and sets is None:
            return cls()
        kept = model.held_out
        if kept is None:
            asked = f"risk={risk:g}" if risk is not None else f"sets={sets:g}"
            raise UsageError(
                f"{asked} takes the model's answers for clips that were held out of its training, and this model keeps "
                "none: train it again, on clips of at least two groups; models of earlier versions, of words, and "
                "with an imprinted class have none"
            )
        return cls(
            None if risk is None else control_risk(kept, risk), None if sets is None else PredictionSets(kept, sets)
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what is promised, and what is not."""
        return tuple(each.note for each in (self.risk, self.sets) if each is not None)


def draw_of(clip: Clip) -> str:
    """Return what the random numbers of a clip's set are drawn from: its content and span, whatever its name."""
    try:
        content = content_hash(clip.path)
    except (VideoError, IsADirectoryError):
        return clip.id
    return content if clip.start is None and clip.end is None else f"{content}@{clip.start}-{clip.end}"
