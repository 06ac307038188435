"""Evaluation: the predictions of a model for every clip of a test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from marey.data import Leak
from marey.errors import DatasetError, Reason, did_you_mean
from marey.evaluation.scoring import Metrics, score
from marey.evaluation.seeds import SeedAnswers

SUM_TOLERANCE = 1e-3  # probabilities come from float32 or bfloat16 networks
NAMED = 3  # leaking groups that a warning names


@dataclass(frozen=True, slots=True)
class ClipResult:
    """The result of one clip: its probabilities, or why there are none.

    Attributes:
        clip: the clip's stable name.
        path: its video file.
        label: the true label.
        group: what must not be on both sides of a split, where known.
        fold: the fold in which the clip was tested, where there are folds.
        probabilities: one a label; None for a clip that failed.
        reason: why the clip failed, as one word; None where it did not.
        detail: the reason in words.
        views_right: share of the views of the clip that are right by themselves, where there are several.
        uncalibrated: probability of the true label at temperature 1, as the training computes it, where it is known.
        unfamiliarity: how unlike the training clips it is, above 1 for unknown; None where the model cannot tell.
        members: (views, seeds, K), probabilities by each head of an average; None for other models.

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
    uncalibrated: float | None = None
    unfamiliarity: float | None = None
    members: npt.NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.probabilities is None) == (self.reason is None):
            raise ValueError(f"{self.clip}: a clip has probabilities or a reason why it failed, and never both")

    @property
    def confidence(self) -> float | None:
        """The probability of the predicted label; None for a clip that failed."""
        return None if self.probabilities is None else max(self.probabilities)


@dataclass(frozen=True)
class Evaluation:
    """The predictions of a test set, and their metrics.

    Attributes:
        labels: the classes of the model, in the order of the probabilities.
        rows: one a clip.
        leaks: what is on both sides of the split.
        protocol: how the clips were split, in words ("leave one group out, 10 folds").
        data_hash: hash of the data set.
        seed: of the run.
        excluded: clips that were left out by name.
        notes: what a reader should know beside the metrics.
        trained_seeds: number of seeds whose average the model is; None where no seed changes it, or it is unknown.

    Raises:
        DatasetError: there is no clip, or a clip's label is not one of the model's.
        ValueError: a row whose values are not probabilities.
    """

    labels: tuple[str, ...]
    rows: tuple[ClipResult, ...]
    leaks: tuple[Leak, ...]
    protocol: str
    data_hash: str
    seed: int
    excluded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    trained_seeds: int | None = None

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

    def __repr__(self) -> str:
        """Show counts, and no table."""
        return (
            f"Evaluation(protocol={self.protocol!r}, clips={len(self.rows)}, failed={len(self.failed)}, "
            f"labels={len(self.labels)}, leaks={len(self.leaks)}, notes={len(self.notes)})"
        )

    @cached_property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """`(N, K)`, NaN in the rows of clips that failed."""
        missing = (float("nan"),) * len(self.labels)
        return np.array([row.probabilities or missing for row in self.rows], dtype=np.float64)

    @cached_property
    def target(self) -> npt.NDArray[np.int64]:
        """`(N,)`, indices of the true labels."""
        index = {label: position for position, label in enumerate(self.labels)}
        return np.array([index[row.label] for row in self.rows], dtype=np.int64)

    @property
    def true(self) -> npt.NDArray[np.int64]:
        """Deprecated: `target`."""
        return self.target

    @cached_property
    def metrics(self) -> Metrics:
        """All metrics; computed once."""
        return score(
            self.target,
            self.probabilities,
            labels=self.labels,
            groups=[row.group for row in self.rows],
            seed=self.seed,
            protocol=self.protocol,
            failed_reasons=dict(Counter(str(row.reason) for row in self.failed)),
            excluded=self.excluded,
            leaks=len(self.leaks),
            leak=leak_warning(self.leaks),
            data_hash=self.data_hash,
            view_accuracy=self._view_accuracy(),
            uncalibrated=uncalibrated_of(self.rows),
            trained_seeds=self.trained_seeds,
            seeds=SeedAnswers.of(
                self.target,
                [row.members for row in self.rows],
                [row.fold for row in self.rows],
                [row.reason is not None for row in self.rows],
                seed=self.seed,
            ),
        )

    def _view_accuracy(self) -> float | None:
        shares = [row.views_right for row in self.rows if row.views_right is not None]
        # A clip that could not be read has no views, and counts as wrong.
        return sum(shares) / len(self.rows) if shares else None

    @property
    def failed(self) -> tuple[ClipResult, ...]:
        """The clips that could not be used."""
        return tuple(row for row in self.rows if row.reason is not None)

    def predicted(self, row: ClipResult) -> str | None:
        """Return the predicted label of a clip; None for one that failed."""
        if row.probabilities is None:
            return None
        return self.labels[int(np.argmax(row.probabilities))]

    def most_confident_mistakes(self, k: int) -> tuple[ClipResult, ...]:
        """Return the k wrong clips with the highest confidence, in that order; failed clips are left out."""
        wrong = [row for row in self.rows if row.probabilities is not None and self.predicted(row) != row.label]
        return tuple(sorted(wrong, key=lambda row: (-(row.confidence or 0.0), row.clip))[:k])


def uncalibrated_of(rows: Sequence[ClipResult]) -> npt.NDArray[np.float64] | None:
    """Return the `uncalibrated` of rows, (N,), NaN for clips that failed; None if another clip has none."""
    if any(row.uncalibrated is None for row in rows if row.reason is None):
        return None
    return np.array([np.nan if row.uncalibrated is None else row.uncalibrated for row in rows], dtype=np.float64)


def leak_warning(leaks: Sequence[Leak]) -> str | None:
    """Return the warning to show beside the metrics of a split that leaks; None where it does not."""
    if not leaks:
        return None
    warnings = []
    named = sorted({leak.value for leak in leaks if leak.kind == "group_name"})
    if named:
        number = "1 group is" if len(named) == 1 else f"{len(named)} groups are"
        warnings.append(
            f"{number} called as in the training ({_listed(named)}): if they are the same, this number is too high for "
            "new video"
        )
    leaks = [leak for leak in leaks if leak.kind != "group_name"]
    if not leaks:
        return warnings[0]
    parts = []
    groups = sorted({leak.value for leak in leaks if leak.kind == "group"})
    if groups:
        parts.append(f"{len(groups)} {'group' if len(groups) == 1 else 'groups'} ({_listed(groups)})")
    files = len({leak.value for leak in leaks if leak.kind == "content"})
    if files:
        parts.append(f"{files} identical {'file' if files == 1 else 'files'}")
    copies = sum(leak.kind == "near_duplicate" for leak in leaks)
    if copies:
        parts.append(f"{copies} near-duplicate {'clip' if copies == 1 else 'clips'}")
    verb = "is" if len(groups) + files + copies == 1 else "are"
    both = f"{' and '.join(parts)} {verb} on both sides of the split: this number is too high for new video"
    return "; ".join([both, *warnings])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
