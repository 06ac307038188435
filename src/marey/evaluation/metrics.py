"""Registry of the metrics that are one number.

A clip that cannot be used counts as wrong wherever labels are compared, and is left out where probabilities are
needed (calibration error, log loss). Macro averages are over the classes that occur in the test set.

A new metric is one registered function; metrics.json, the tables, the report and the app then show it:

    @register_metric("kappa", title="Cohen's kappa", meaning="agreement beyond chance level; 1 is best")
    def _kappa(clips: ScoredClips) -> float: ...
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marey.evaluation.calibration import calibrated_error, expected_calibration_error
from marey.extensions import ExtensionWarning, extension_of, load_extensions

TOP_K = (1, 2, 3, 5)
_RESERVED: Final = frozenset(
    [
        "protocol",
        "clips",
        "failed",
        "failed_reasons",
        "excluded",
        "top_k",
        "chance",
        "majority_baseline",
        "leaks",
        "interval",
        "per_class",
        "averages",
        "labels",
        "confusion_matrix",
        "data_hash",
        "seed",
    ]
)
"""Other keys of metrics.json."""


@dataclass(frozen=True, slots=True)
class ScoredClips:
    """The clips of a test set as a metric needs them; N clips, K classes.

    Attributes:
        target: int64 `(N,)`, indices of the true classes.
        predicted: int64 `(N,)`, indices of the predicted classes; K for a clip that failed.
        rank: int64 `(N,)`, place of the true class among the most probable ones, from 0; K for a clip that failed.
        probabilities: float64 `(N, K)`; NaN in the rows of clips that failed.
        precision: float64 `(K,)`, of each class.
        recall: float64 `(K,)`, of each class.
        f1: float64 `(K,)`, of each class.
        support: int64 `(K,)`, true clips of each class.
        view_accuracy: share of correct single views; None where each clip has one.
        uncalibrated: float64 `(N,)`, probabilities of the true classes at temperature 1, NaN for clips that failed;
            None where they are not known.
    """

    target: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    rank: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]
    support: npt.NDArray[np.int64]
    view_accuracy: float | None = None
    uncalibrated: npt.NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls,
        target: npt.NDArray[np.int64],
        probabilities: npt.NDArray[np.float64],
        *,
        view_accuracy: float | None = None,
        uncalibrated: npt.NDArray[np.float64] | None = None,
    ) -> ScoredClips:
        """Predict and count; arguments as the attributes."""
        # scikit-learn imports SciPy, which takes time: only scoring shall wait for it.
        from sklearn.metrics import precision_recall_fscore_support

        size = probabilities.shape[1]
        usable = ~np.isnan(probabilities[:, 0])
        order = np.argsort(-probabilities[usable], axis=1, kind="stable")
        predicted, rank = np.full((2, len(target)), size)
        predicted[usable] = order[:, 0]
        rank[usable] = np.argmax(order == target[usable, None], axis=1)
        precision, recall, f1, support = precision_recall_fscore_support(
            target, predicted, labels=np.arange(size), zero_division=0.0
        )
        return cls(target, predicted, rank, probabilities, precision, recall, f1, support, view_accuracy, uncalibrated)

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """`(N,)`, which clips did not fail."""
        usable: npt.NDArray[np.bool_] = ~np.isnan(self.probabilities[:, 0])
        return usable

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """`(N,)`, where the predicted class is the true one."""
        correct: npt.NDArray[np.bool_] = self.predicted == self.target
        return correct

    def macro(self, scores: npt.NDArray[np.float64]) -> float:
        """Return the mean of `(K,)` over the classes that occur."""
        return float(scores[self.support > 0].mean())


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that is one number.

    Attributes:
        name: key in metrics.json; `top_k` metrics share one.
        title: name in tables.
        meaning: what the number means, in half a sentence.
        compute: the function; None where the number cannot be computed.
        optional: left out of tables and metrics.json where it is None.
        headline: shown large in the app, and in the table of `marey compare`.
    """

    name: str
    title: str
    meaning: str
    compute: Callable[[ScoredClips], float | None]
    optional: bool = False
    headline: bool = False


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A row of a table of metrics.

    Attributes:
        name: key in metrics.json.
        title: name in tables.
        value: the number; None where it cannot be computed.
        interval: low and high end; None where there is none.
        meaning: what the number means, in half a sentence.
        headline: shown large in the app.
    """

    name: str
    title: str
    value: float | None
    interval: tuple[float, float] | None
    meaning: str
    headline: bool = False


METRICS: Final[dict[str, Metric]] = {}
"""The registered metrics by name, in the order in which tables show them."""

_Compute = Callable[[ScoredClips], float | None]


def register_metric(
    name: str, *, title: str, meaning: str, optional: bool = False, headline: bool = False
) -> Callable[[_Compute], _Compute]:
    """Register a function of `ScoredClips` as a metric; parameters as in `Metric`.

    Raises:
        ValueError: the name is taken.
    """

    def register(compute: _Compute) -> _Compute:
        if name in METRICS:
            raise ValueError(f"there are two metrics named '{name}'")
        if name in _RESERVED or name.endswith("_interval"):
            raise ValueError(f"metrics.json has a key '{name}' already; give the metric another name")
        METRICS[name] = Metric(name, title, meaning, compute, optional, headline)
        return compute

    return register


def compute_metrics(clips: ScoredClips) -> dict[str, float | None]:
    """Return name -> number of all registered metrics, None where one cannot be computed; optional ones are left out.

    A metric of an extension that fails is None, with a warning: it shall not cost the others.
    """
    load_extensions(listing=True)
    found: dict[str, float | None] = {}
    for name, metric in METRICS.items():
        try:
            value = metric.compute(clips)
        except Exception as error:
            extension = extension_of(metric.compute)
            if extension is None:
                raise
            text = f"the metric '{name}' of the extension {extension} failed: {type(error).__name__}: {error}"
            warnings.warn(text, ExtensionWarning, stacklevel=2)
            value = None
        if value is not None or not metric.optional:
            found[name] = float(value) if value is not None and isfinite(value) else None
    return found


def metric_rows(values: Mapping[str, Any]) -> list[MetricRow]:
    """Return the rows of a table of metrics.

    Args:
        values: with keys as in metrics.json. A metric that is not there is left out.
    """
    load_extensions(listing=True)
    values = {**values, **{f"top_{k}": value for k, value in values.get("top_k", {}).items()}}
    rows = []
    for metric in METRICS.values():
        if metric.name in values:
            ends = values.get(f"{metric.name}_interval")
            interval = None if ends is None else (ends[0], ends[1])
            rows.append(
                MetricRow(metric.name, metric.title, values[metric.name], interval, metric.meaning, metric.headline)
            )
    return rows


@register_metric("accuracy", title="accuracy", meaning="share of the clips that are right", headline=True)
def _accuracy(clips: ScoredClips) -> float:
    return float(clips.correct.mean())


@register_metric(
    "cross_entropy",
    title="cross-entropy, uncalibrated",
    meaning="mean of -log p(true label) at temperature 1, in nats, as a training prints it; 0 is best",
    optional=True,
)
def _cross_entropy(clips: ScoredClips) -> float | None:
    if clips.uncalibrated is None or not clips.usable.any():
        return None
    return _mean_surprise(clips.uncalibrated[clips.usable])


@register_metric(
    "nll", title="cross-entropy, calibrated (NLL)", meaning="the same of the calibrated probabilities; 0 is best"
)
def _nll(clips: ScoredClips) -> float | None:
    if not clips.usable.any():
        return None
    return _mean_surprise(clips.probabilities[clips.usable, clips.target[clips.usable]])


def _mean_surprise(given: npt.NDArray[np.float64]) -> float:
    return float(-np.log(np.maximum(given, np.finfo(np.float64).eps)).mean())


@register_metric(
    "view_accuracy",
    title="accuracy of single views",
    meaning="each view of a clip by itself; the other metrics use the mean of its views",
    optional=True,
)
def _view_accuracy(clips: ScoredClips) -> float | None:
    return clips.view_accuracy


@register_metric("balanced_accuracy", title="balanced accuracy", meaning="accuracy with equal weight for every class")
def _balanced_accuracy(clips: ScoredClips) -> float:
    return clips.macro(clips.recall)


@register_metric("macro_f1", title="macro F1", meaning="mean F1 of the classes (precision and recall)", headline=True)
def _macro_f1(clips: ScoredClips) -> float:
    return clips.macro(clips.f1)


@register_metric("macro_precision", title="macro precision", meaning="how often a predicted label is right")
def _macro_precision(clips: ScoredClips) -> float:
    return clips.macro(clips.precision)


@register_metric("macro_recall", title="macro recall", meaning="how often a true label is predicted")
def _macro_recall(clips: ScoredClips) -> float:
    return clips.macro(clips.recall)


def _top_k(k: int) -> _Compute:
    return lambda clips: float((clips.rank < k).mean()) if k < len(clips.support) else None


for _k in TOP_K[1:]:
    register_metric(
        f"top_{_k}",
        title=f"top-{_k} accuracy",
        meaning=f"the true label is among the {_k} most probable",
        optional=True,
    )(_top_k(_k))


@register_metric(
    "ece",
    title="calibration error (ECE)",
    meaning="mean distance of confidence from accuracy; 0 is best",
    headline=True,
)
def _ece(clips: ScoredClips) -> float | None:
    if not clips.usable.any():
        return None
    return expected_calibration_error(clips.probabilities[clips.usable].max(axis=1), clips.correct[clips.usable])


@register_metric(
    "ece_calibrated",
    title="the same of a perfect calibration",
    meaning="error that perfectly calibrated answers with these confidences have in the mean: few clips scatter",
)
def _ece_calibrated(clips: ScoredClips) -> float | None:
    if not clips.usable.any():
        return None
    return calibrated_error(clips.probabilities[clips.usable].max(axis=1))


@register_metric(
    "auc",
    title="AUC, mean of the classes",
    meaning="probability that a clip of a class gets more of it than a clip of another class; 0.5 for guessing",
    optional=True,
)
def _auc(clips: ScoredClips) -> float | None:
    from sklearn.metrics import roc_auc_score

    occurring = np.flatnonzero(np.bincount(clips.target[clips.usable], minlength=len(clips.support)))
    if len(occurring) < 2:
        return None
    hits = clips.target[clips.usable, None] == occurring
    return float(roc_auc_score(hits, clips.probabilities[np.ix_(clips.usable, occurring)], average="macro"))


@register_metric(
    "auc_pooled",
    title="AUC, pooled",
    meaning="the same over all pairs of a clip and a class, as Keras computes AUC; flatters where classes are many",
    optional=True,
)
def _auc_pooled(clips: ScoredClips) -> float | None:
    from sklearn.metrics import roc_auc_score

    classes = len(clips.support)
    if not clips.usable.any() or classes < 2:
        return None
    hits = clips.target[clips.usable, None] == np.arange(classes)
    return float(roc_auc_score(hits.ravel(), clips.probabilities[clips.usable].ravel()))
