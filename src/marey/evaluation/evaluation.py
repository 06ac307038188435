"""An evaluation: what a model said to every clip of a test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from marey.data import Leak
from marey.errors import DatasetError, Reason, did_you_mean
from marey.evaluation.scoring import Metrics, score

SUM_TOLERANCE = 1e-3  # probabilities come from float32 or bfloat16 networks
NAMED = 3  # how many leaking groups a sentence names


@dataclass(frozen=True, slots=True)
class Row:
    """What a model said to one clip, or why it could say nothing.

    Attributes:
        clip: the clip's stable name.
        path: its video file.
        label: the true label.
        group: what must not be on both sides of a split, where known.
        fold: the fold in which the clip was tested, where there are folds.
        probabilities: one a label, or None for a clip that failed.
        reason: why the clip failed, or None.
        detail: the reason in words.
        views_right: share of the readings of the clip that are right by themselves, where there are several.

    Raises:
        ValueError: both or neither of probabilities and reason are given.
    """

    clip: str
    path: str
    label: str
    group: str | None = None
    fold: int | None = None
    probabilities: tuple[float, ...] | None = None
    reason: Reason | None = None
    detail: str = ""
    views_right: float | None = None

    def __post_init__(self) -> None:
        if (self.probabilities is None) == (self.reason is None):
            raise ValueError(f"{self.clip}: a clip has probabilities or a reason why it failed, and never both")

    @property
    def confidence(self) -> float | None:
        """The probability of the predicted label, None for a clip that failed."""
        return None if self.probabilities is None else max(self.probabilities)


@dataclass(frozen=True)
class Evaluation:
    """The predictions of a test set, and what can be computed of them.

    Attributes:
        labels: the classes of the model, in the order of the probabilities.
        rows: one a clip.
        leaks: what is on both sides of the split.
        protocol: how the clips were split, in words ("leave one group out, 10 folds").
        data_hash: hash of the data set.
        seed: of the run.
        excluded: clips that were left out by name.

    Raises:
        DatasetError: there is no clip, or a clip's label is not one of the model's.
        ValueError: probabilities that are none.
    """

    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    leaks: tuple[Leak, ...]
    protocol: str
    data_hash: str
    seed: int
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.rows:
            raise DatasetError("no clip is left to evaluate; give a test set with at least one labelled clip")
        known = set(self.labels)
        for row in self.rows:
            if row.label not in known:
                meant = did_you_mean(row.label, self.labels)
                raise DatasetError(f"{row.clip}: the model has no label '{row.label}'; {meant}")
            given = row.probabilities
            if given is not None and (
                len(given) != len(self.labels)
                or not all(0.0 <= value <= 1.0 + SUM_TOLERANCE for value in given)
                or abs(sum(given) - 1.0) > SUM_TOLERANCE
            ):
                raise ValueError(f"{row.clip}: {given} are not the probabilities of {len(self.labels)} labels")

    @cached_property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """`(N, K)`, NaN in the rows of clips that failed."""
        nothing = (float("nan"),) * len(self.labels)
        return np.array([row.probabilities or nothing for row in self.rows], dtype=np.float64)

    @cached_property
    def true(self) -> npt.NDArray[np.int64]:
        """`(N,)`, indices of the true labels."""
        index = {label: position for position, label in enumerate(self.labels)}
        return np.array([index[row.label] for row in self.rows], dtype=np.int64)

    @cached_property
    def metrics(self) -> Metrics:
        """Every number of the evaluation; computed once."""
        return score(
            self.true,
            self.probabilities,
            labels=self.labels,
            groups=[row.group for row in self.rows],
            seed=self.seed,
            protocol=self.protocol,
            failed_reasons=dict(Counter(str(row.reason) for row in self.failed)),
            excluded=self.excluded,
            leaks=len(self.leaks),
            leak=leak_sentence(self.leaks),
            data_hash=self.data_hash,
            view_accuracy=self._view_accuracy(),
        )

    def _view_accuracy(self) -> float | None:
        shares = [row.views_right for row in self.rows if row.views_right is not None]
        # A clip that could not be read has no views, and counts as wrong here as everywhere.
        return sum(shares) / len(self.rows) if shares else None

    @property
    def failed(self) -> tuple[Row, ...]:
        """The clips that could not be used."""
        return tuple(row for row in self.rows if row.reason is not None)

    def predicted(self, row: Row) -> str | None:
        """The label that the model gave to a clip, None for one that failed."""
        if row.probabilities is None:
            return None
        return self.labels[int(np.argmax(row.probabilities))]

    def most_confident_mistakes(self, k: int) -> tuple[Row, ...]:
        """The k wrong clips of which the model was surest, surest first; failed clips are not among them."""
        wrong = [row for row in self.rows if row.probabilities is not None and self.predicted(row) != row.label]
        return tuple(sorted(wrong, key=lambda row: (-(row.confidence or 0.0), row.clip))[:k])


def leak_sentence(leaks: Sequence[Leak]) -> str | None:
    """What to say beside a number of a split that leaks; None where it does not."""
    if not leaks:
        return None
    said = []
    named = sorted({leak.value for leak in leaks if leak.kind == "group_name"})
    if named:
        number = "1 group is" if len(named) == 1 else f"{len(named)} groups are"
        said.append(
            f"{number} called as in the training ({_listed(named)}): if they are the same, this number is too high for "
            "new video"
        )
    leaks = [leak for leak in leaks if leak.kind != "group_name"]
    if not leaks:
        return said[0]
    parts = []
    groups = sorted({leak.value for leak in leaks if leak.kind == "group"})
    if groups:
        parts.append(f"{len(groups)} {'group' if len(groups) == 1 else 'groups'} ({_listed(groups)})")
    files = len({leak.value for leak in leaks if leak.kind == "content"})
    if files:
        parts.append(f"{files} identical {'file' if files == 1 else 'files'}")
    verb = "is" if len(groups) + files == 1 else "are"
    both = f"{' and '.join(parts)} {verb} on both sides of the split: this number is too high for new video"
    return "; ".join([both, *said])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
