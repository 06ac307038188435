"""All metrics of an evaluation, as metrics.json holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.evaluation.intervals import Interval, as_list, bootstrap
from marey.evaluation.metrics import TOP_K, MetricRow, ScoredClips, compute_metrics, metric_rows
from marey.evaluation.seeds import SeedAnswers

FAILED = "(failed)"
"""The column of the confusion matrix for clips that could not be used."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Precision, recall, F1 and support of one class, or their mean over classes; None without test clips."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int

    def as_dict(self) -> dict[str, float | None]:
        """Return for JSON, without the label."""
        return {"precision": self.precision, "recall": self.recall, "f1": self.f1, "support": self.support}


@dataclass(frozen=True, slots=True)
class Metrics:
    """The content of metrics.json.

    The metrics in `values` are also attributes where they always exist: `accuracy`, `macro_f1`, ...

    Attributes:
        protocol: how the clips were split, in words.
        labels: the classes, in the order of the confusion matrix.
        clips: number of clips, failed ones included.
        failed: clips that could not be used; each counts as wrong.
        failed_reasons: reason code -> number of clips.
        excluded: clips that were left out by name.
        values: name of each registered metric -> its number; None where it cannot be computed.
        chance_level: accuracy of a uniform random guess.
        majority_baseline: accuracy of always predicting the most frequent class of the test set.
        interval: bootstrap intervals of accuracy and macro F1.
        classes: the scores of each class, in the order of `labels`.
        confusion: rows are true classes, columns predicted ones and, last, failed clips.
        leaks: how many groups or files are on both sides of the split.
        leak: the warning to show beside every number of a leaking split, or None.
        data_hash: hash of the data set.
        seed: of the run.
        seeds: the answers of each seed, where the model is the average of several.
    """

    protocol: str
    labels: tuple[str, ...]
    clips: int
    failed: int
    failed_reasons: dict[str, int]
    excluded: tuple[str, ...]
    values: dict[str, float | None]
    chance_level: float
    majority_baseline: float
    interval: Interval
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    leaks: int
    leak: str | None
    data_hash: str
    seed: int
    seeds: SeedAnswers | None = None

    @property
    def accuracy(self) -> float:
        """Share of clips that are right."""
        return self._number("accuracy")

    @property
    def view_accuracy(self) -> float | None:
        """Share of correct single views; None where each clip has one view."""
        return self.values.get("view_accuracy")

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the classes' recalls."""
        return self._number("balanced_accuracy")

    @property
    def macro_precision(self) -> float:
        """Mean of the classes' precisions."""
        return self._number("macro_precision")

    @property
    def macro_recall(self) -> float:
        """Mean of the classes' recalls."""
        return self._number("macro_recall")

    @property
    def macro_f1(self) -> float:
        """Mean of the classes' F1."""
        return self._number("macro_f1")

    @property
    def ece(self) -> float | None:
        """Expected calibration error, 15 bins; None where every clip failed."""
        return self.values["ece"]

    @property
    def nll(self) -> float | None:
        """Mean negative log-likelihood in nats; None where every clip failed."""
        return self.values["nll"]

    @property
    def top_k(self) -> dict[int, float]:
        """k -> share of clips whose true label is among the k most probable; k < number of classes."""
        return {1: self.accuracy, **{k: self._number(f"top_{k}") for k in TOP_K if f"top_{k}" in self.values}}

    @property
    def rows(self) -> list[MetricRow]:
        """The rows of a table of these metrics."""
        return metric_rows(self.as_dict())

    @property
    def averages(self) -> tuple[ClassScores, ClassScores]:
        """The means over the classes that occur: equal weights, and weights by support, as scikit-learn names them."""
        occurring = [row for row in self.classes if row.support]
        shares = [row.support / self.clips for row in occurring]
        scores = np.array([[row.precision, row.recall, row.f1] for row in occurring], dtype=np.float64)

        def named(name: str, means: npt.NDArray[np.float64]) -> ClassScores:
            precision, recall, f1 = means.tolist()
            return ClassScores(name, precision, recall, f1, self.clips)

        weighted = np.asarray(np.average(scores, axis=0, weights=shares))
        return named("macro avg", scores.mean(axis=0)), named("weighted avg", weighted)

    def _number(self, name: str) -> float:
        value = self.values[name]
        assert value is not None  # noqa: S101 - only metrics of probabilities can be missing
        return value

    def __repr__(self) -> str:
        """Show the main numbers, and no table."""
        shown = ", ".join(f"{row.name}={row.value:.3f}" for row in self.rows if row.headline and row.value is not None)
        return f"Metrics({shown}, clips={self.clips}, failed={self.failed}, leak={self.leak is not None})"

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without times or dates: the same run gives the same bytes."""
        span = self.interval
        values: dict[str, Any] = {}
        for name, value in self.values.items():
            if name in {f"top_{k}" for k in TOP_K}:
                continue
            values[name] = value
            if name in ("accuracy", "macro_f1"):
                values[f"{name}_interval"] = as_list(getattr(span, name))
        return {
            "protocol": self.protocol,
            "clips": self.clips,
            "failed": self.failed,
            "failed_reasons": dict(sorted(self.failed_reasons.items())),
            "excluded": list(self.excluded),
            **values,
            "top_k": {str(k): share for k, share in self.top_k.items()},
            "chance": self.chance_level,
            "majority_baseline": self.majority_baseline,
            "leaks": {"count": self.leaks, "note": self.leak},
            "interval": span.as_dict(),
            "seeds": None if self.seeds is None else self.seeds.as_dict(),
            "per_class": {row.label: row.as_dict() for row in self.classes},
            "averages": {row.label: row.as_dict() for row in self.averages},
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
    target: npt.NDArray[np.int64],
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
    uncalibrated: npt.NDArray[np.float64] | None = None,
    trained_seeds: int | None = None,
    seeds: SeedAnswers | None = None,
) -> Metrics:
    """Compute all metrics of a test set.

    Args:
        target: `(N,)`, indices of the true classes, N >= 1.
        probabilities: `(N, K)`; a row of NaN is a clip that failed.
        labels: the K class names.
        groups: the group of each clip, None where it is not known.
        seed: of the run, and of the bootstrap.
        protocol, failed_reasons, excluded, leaks, leak, data_hash, view_accuracy: stated in the metrics as given.
        uncalibrated: as in `ScoredClips`.
        trained_seeds: number of seeds whose average the model is; None where no seed changes it, or it is unknown.
        seeds: the answers of each of them.
    """
    from sklearn.metrics import confusion_matrix

    size = len(labels)
    clips = ScoredClips.of(target, probabilities, view_accuracy=view_accuracy, uncalibrated=uncalibrated)
    interval = bootstrap(target, clips.predicted, groups, classes=size, seed=seed, seeds=seeds)
    if trained_seeds is not None and interval.seeds is None:
        interval = replace(interval, seeds=1)
    per_class = zip(labels, clips.precision, clips.recall, clips.f1, clips.support, strict=True)
    return Metrics(
        protocol=protocol,
        labels=tuple(labels),
        clips=len(target),
        failed=int((~clips.usable).sum()),
        failed_reasons=failed_reasons or {},
        excluded=tuple(excluded),
        values=compute_metrics(clips),
        chance_level=1 / size,
        majority_baseline=float(clips.support.max() / len(target)),
        interval=interval,
        classes=tuple(
            ClassScores(label, float(p), float(r), float(f), int(n)) if n else ClassScores(label, None, None, None, 0)
            for label, p, r, f, n in per_class
        ),
        confusion=tuple(
            tuple(int(count) for count in row)
            for row in confusion_matrix(target, clips.predicted, labels=np.arange(size + 1))[:size]
        ),
        leaks=leaks,
        leak=leak,
        data_hash=data_hash,
        seed=seed,
        seeds=seeds,
    )
