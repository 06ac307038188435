"""The numbers of an evaluation.

A clip that could not be used counts as wrong wherever labels are compared, and is left out of what needs
probabilities (calibration error, log-likelihood). Macro averages run over the classes that occur in the test
set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.evaluation.calibration import expected_calibration_error
from marey.evaluation.intervals import Interval, as_list, bootstrap

FAILED = "(failed)"
"""The column of the confusion matrix for clips that could not be used."""

TOP_K = (1, 2, 3, 5)


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Precision, recall and F1 of one class; None where the class does not occur in the test set."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """Everything that `metrics.json` says.

    Attributes:
        protocol: how the clips were split, in words.
        labels: the classes, in the order of the confusion matrix.
        clips: clips that count, failed ones included.
        failed: clips that could not be used; each counts as wrong.
        failed_reasons: reason code -> number of clips.
        excluded: clips that were left out by name.
        accuracy: share of clips that are right.
        view_accuracy: share of their single readings that are; None where each clip was read in one way.
        balanced_accuracy: mean of the classes' recalls.
        top_k: k -> share of clips whose true label is among the k most probable; k < number of classes.
        macro_precision: mean of the classes' precisions.
        macro_recall: mean of the classes' recalls.
        macro_f1: mean of the classes' F1.
        ece: expected calibration error of the clips that were scored, 15 bins; None without such clips.
        nll: mean negative log-likelihood of the clips that were scored, in nats; None without such clips.
        chance: accuracy of guessing blindly.
        majority: accuracy of always naming the most frequent class of the test set.
        interval: bootstrap intervals of accuracy and macro F1.
        classes: the scores of each class, in the order of `labels`.
        confusion: rows are true classes, columns predicted ones and, last, failed clips.
        leaks: how many groups or files are on both sides of the split.
        leak: the sentence that belongs beside every number of a leaking split, or None.
        data_hash: hash of the data set.
        seed: of the run.
    """

    protocol: str
    labels: tuple[str, ...]
    clips: int
    failed: int
    failed_reasons: dict[str, int]
    excluded: tuple[str, ...]
    accuracy: float
    view_accuracy: float | None
    balanced_accuracy: float
    top_k: dict[int, float]
    macro_precision: float
    macro_recall: float
    macro_f1: float
    ece: float | None
    nll: float | None
    chance: float
    majority: float
    interval: Interval
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    leaks: int
    leak: str | None
    data_hash: str
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values, without times or dates: the same run gives the same bytes."""
        span = self.interval
        return {
            "protocol": self.protocol,
            "clips": self.clips,
            "failed": self.failed,
            "failed_reasons": dict(sorted(self.failed_reasons.items())),
            "excluded": list(self.excluded),
            "accuracy": self.accuracy,
            "accuracy_interval": as_list(span.accuracy),
            **({} if self.view_accuracy is None else {"view_accuracy": self.view_accuracy}),
            "balanced_accuracy": self.balanced_accuracy,
            "macro_precision": self.macro_precision,
            "macro_recall": self.macro_recall,
            "macro_f1": self.macro_f1,
            "macro_f1_interval": as_list(span.macro_f1),
            "top_k": {str(k): share for k, share in self.top_k.items()},
            "ece": self.ece,
            "nll": self.nll,
            "chance": self.chance,
            "majority_baseline": self.majority,
            "leaks": {"count": self.leaks, "note": self.leak},
            "interval": span.as_dict(),
            "per_class": {
                row.label: {
                    "precision": row.precision,
                    "recall": row.recall,
                    "f1": row.f1,
                    "support": row.support,
                }
                for row in self.classes
            },
            "labels": list(self.labels),
            "confusion_matrix": {
                "rows": "true label",
                "columns": [*self.labels, FAILED],
                "counts": [list(row) for row in self.confusion],
            },
            "data_hash": self.data_hash,
            "seed": self.seed,
        }


def score(
    true: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    *,
    labels: Sequence[str],
    groups: Sequence[str | None],
    seed: int,
    protocol: str = "",
    failed_reasons: dict[str, int] | None = None,
    excluded: Sequence[str] = (),
    leaks: int = 0,
    leak: str | None = None,
    data_hash: str = "",
    view_accuracy: float | None = None,
) -> Metrics:
    """All metrics of a test set.

    Args:
        true: `(N,)`, class indices, N >= 1.
        probabilities: `(N, K)`; a row of NaN is a clip that failed.
        labels: the K class names.
        groups: the group of each clip, None where it is not known.
        seed: of the run, and of the bootstrap.
        protocol, failed_reasons, excluded, leaks, leak, data_hash, view_accuracy: stated in the metrics as given.
    """
    # scikit-learn brings SciPy along, which only those who score shall wait for.
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    size = len(labels)
    scored = ~np.isnan(probabilities[:, 0])
    order = np.argsort(-probabilities[scored], axis=1, kind="stable")
    predicted = np.full(len(true), size)
    predicted[scored] = order[:, 0]
    right = predicted == true

    rank = np.full(len(true), size)
    rank[scored] = np.argmax(order == true[scored, None], axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        true, predicted, labels=np.arange(size), zero_division=0.0
    )
    occurs = support > 0
    given = probabilities[scored, true[scored]]
    sure = probabilities[scored].max(axis=1)
    return Metrics(
        protocol=protocol,
        labels=tuple(labels),
        clips=len(true),
        failed=int((~scored).sum()),
        failed_reasons=failed_reasons or {},
        excluded=tuple(excluded),
        accuracy=float(right.mean()),
        view_accuracy=view_accuracy,
        balanced_accuracy=float(recall[occurs].mean()),
        top_k={k: float((rank < k).mean()) for k in TOP_K if k == 1 or k < size},
        macro_precision=float(precision[occurs].mean()),
        macro_recall=float(recall[occurs].mean()),
        macro_f1=float(f1[occurs].mean()),
        ece=expected_calibration_error(sure, right[scored]) if scored.any() else None,
        nll=float(-np.log(np.maximum(given, np.finfo(np.float64).eps)).mean()) if scored.any() else None,
        chance=1 / size,
        majority=float(support.max() / len(true)),
        interval=bootstrap(true, predicted, groups, classes=size, seed=seed),
        classes=tuple(
            ClassScores(label, float(p), float(r), float(f), int(n)) if n else ClassScores(label, None, None, None, 0)
            for label, p, r, f, n in zip(labels, precision, recall, f1, support, strict=True)
        ),
        confusion=tuple(
            tuple(int(count) for count in row)
            for row in confusion_matrix(true, predicted, labels=np.arange(size + 1))[:size]
        ),
        leaks=leaks,
        leak=leak,
        data_hash=data_hash,
        seed=seed,
    )
