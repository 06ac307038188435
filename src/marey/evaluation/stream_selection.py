"""Choice of streams on inner folds: what was tried, what was taken, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class StreamScore:
    """A stream by itself, on the inner folds.

    Attributes:
        strength: C of its head.
        temperature: of its head's logits.
        loss: log loss, after calibration; None where no clips could be set aside.
        accuracy: share of the clips that are right; likewise.
        weight: its share of the fused log-probabilities; 0 where it is left out.
    """

    strength: float
    temperature: float
    loss: float | None
    accuracy: float | None
    weight: float


@dataclass(frozen=True)
class HeldOut:
    """Outputs for training clips by heads that were not trained on them.

    Attributes:
        clips: (N,), their numbers.
        probabilities: (N, K), calibrated.
    """

    clips: tuple[int, ...]
    probabilities: npt.NDArray[np.float64]

    @classmethod
    def of_logits(cls, clips: Sequence[int], logits: Sequence[npt.ArrayLike], temperature: float) -> Self:
        """Return the outputs with these logits, one (N_i, K) a fold."""
        scores = np.concatenate([np.asarray(each, dtype=np.float64) for each in logits]) / temperature
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return cls(tuple(clips), shares / shares.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class StreamSelection:
    """The streams that a model takes, and why.

    Attributes:
        streams: name to score.
        loss: log loss of the streams that are taken together, on the inner folds.
        accuracy: of them.
        temperature: of their fused logits.
        reason: a sentence.
        held_out: outputs of the inner folds; not written to files.
    """

    streams: dict[str, StreamScore]
    loss: float | None
    accuracy: float | None
    temperature: float
    reason: str
    held_out: HeldOut | None = field(default=None, compare=False)

    @property
    def taken(self) -> tuple[str, ...]:
        """Return the streams with a weight, in the order of the recipe."""
        return tuple(name for name, score in self.streams.items() if score.weight > 0)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        values = asdict(replace(self, held_out=None))
        del values["held_out"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `as_dict` gave."""
        return cls(**{**values, "streams": {name: StreamScore(**one) for name, one in values["streams"].items()}})


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream over all trainings of a run.

    Attributes:
        name: of the stream.
        tried: number of trainings whose inner folds tested it.
        taken: number of them that took it.
        loss: median log loss of the stream by itself, on the inner folds.
        accuracy: median accuracy, likewise.
        weight: median weight where it was taken.
        strength: median C of its head.
    """

    name: str
    tried: int
    taken: int
    loss: float | None
    accuracy: float | None
    weight: float | None
    strength: float

    @classmethod
    def of(cls, selections: Sequence[StreamSelection]) -> tuple[StreamRow, ...]:
        """Return a row a stream, those that were taken most often first."""
        rows = []
        for name in dict.fromkeys(name for selection in selections for name in selection.streams):
            scores = [selection.streams[name] for selection in selections if name in selection.streams]
            weights = [score.weight for score in scores if score.weight > 0]
            losses = [score.loss for score in scores if score.loss is not None]
            accuracies = [score.accuracy for score in scores if score.accuracy is not None]
            rows.append(
                cls(
                    name,
                    tried=len(scores),
                    taken=len(weights),
                    loss=median(losses) if losses else None,
                    accuracy=median(accuracies) if accuracies else None,
                    weight=median(weights) if weights else None,
                    strength=median(score.strength for score in scores),
                )
            )
        return tuple(sorted(rows, key=lambda row: -row.taken))


def reasons(selections: Sequence[StreamSelection]) -> tuple[str, ...]:
    """Return the reasons of all trainings, each once, the most frequent first."""
    counted = Counter(selection.reason for selection in selections)
    return tuple(reason for reason, _ in counted.most_common())
