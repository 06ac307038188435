"""Calibration: reliability of confidences, and temperature scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15
DRAWS, MOST_DRAWN = 1000, 5_000_000  # answers drawn for each clip, and for all clips together
COLDEST, HOTTEST = 0.05, 20.0  # outside, the logits are separable or worthless


@dataclass(frozen=True, slots=True)
class Reliability:
    """Accuracy against confidence, in bins of equal width.

    Attributes:
        edges: `(bins + 1,)`, from 0 to 1; a bin includes its upper edge.
        counts: `(bins,)`, clips in each bin.
        confidence: `(bins,)`, mean confidence of each bin, NaN where it is empty.
        accuracy: `(bins,)`, share of correct clips in each bin, NaN where it is empty.
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error: mean over the clips of their bin's gap; NaN without clips."""
        filled = self.counts > 0
        if not filled.any():
            return float("nan")
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float(np.average(gaps, weights=self.counts[filled]))


def reliability(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int = BINS) -> Reliability:
    """Sort clips into bins of equal width by their confidence.

    Args:
        confidence: `(N,)`, the probability of the predicted label, in [0, 1].
        correct: `(N,)`, whether the predicted label is the true one.
        bins: how many bins.
    """
    confidences = np.asarray(confidence, dtype=np.float64)
    right = np.asarray(correct, dtype=np.float64)
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    share = np.where(counts > 0, counts, np.nan)
    return Reliability(
        edges=edges,
        counts=counts,
        confidence=np.bincount(index, weights=confidences, minlength=bins) / share,
        accuracy=np.bincount(index, weights=right, minlength=bins) / share,
    )


def expected_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int = BINS) -> float:
    """Return the mean distance of accuracy from confidence over bins of equal width, weighted by their clips.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017. NaN without clips.
    """
    return reliability(confidence, correct, bins=bins).error


def calibrated_error(confidence: npt.ArrayLike, *, bins: int = BINS) -> float:
    """Return the mean calibration error of a perfectly calibrated model with these confidences; NaN without clips.

    Of few clips, even where each is right with the probability that its confidence states, the share of right ones in
    a bin differs from their mean confidence: the error is biased upwards (Roelofs et al. 2022). So many answers are
    drawn, right with just that probability; the same confidences give the same number.

    Args:
        confidence: `(N,)`, in [0, 1].
        bins: of equal width.
    """
    confidences = np.asarray(confidence, dtype=np.float64)
    if not len(confidences):
        return float("nan")
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, bins - 1)
    generator = np.random.default_rng(0)
    found = []
    for _ in range(max(20, min(DRAWS, MOST_DRAWN // len(confidences)))):
        gap = (generator.random(len(confidences)) < confidences) - confidences
        found.append(np.abs(np.bincount(index, weights=gap, minlength=bins)).sum() / len(confidences))
    return float(np.mean(found))


def uncalibrated(probabilities: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float64]:
    """Return the probabilities before temperature scaling: `softmax(z)` of `softmax(z / temperature)`.

    Args:
        probabilities: float64 `(..., K)`, calibrated.
        temperature: by which the logits were divided.
    """
    with np.errstate(divide="ignore"):  # log 0 is -inf, whose exponential is 0 again
        logits = np.log(np.asarray(probabilities, dtype=np.float64)) * temperature
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the temperature T for which `softmax(logits / T)` has the least negative log-likelihood.

    The likelihood is convex in 1/T, so its slope has one zero, found by bisection on a logarithmic scale. T is in
    [0.05, 20], and 1 where all logits are equal. Guo et al., ICML 2017.

    Targets are smoothed, so that a small validation set without errors does not give T -> 0: (N + 1/K) / (N + 1) and
    (1/K) / (N + 1) in place of 1 and 0, as if there were one more clip of all classes at once. (After Platt 1999, who
    adds one a class: too much where clips are few and classes many.)

    Args:
        logits: `(N, K)`, of clips that are not in the training set.
        labels: `(N,)`, indices of the true classes.

    Raises:
        ValueError: no clip, shapes that do not fit, or logits that are not finite.
    """
    scores = np.asarray(logits, dtype=np.float64)
    target = np.asarray(labels, dtype=np.int64)
    if scores.ndim != 2 or len(scores) == 0 or target.shape != scores.shape[:1] or not np.isfinite(scores).all():
        raise ValueError(
            f"logits have to be finite, (N, K), with N >= 1 labels; got logits {scores.shape} and labels {target.shape}"
        )
    scores = scores - scores.max(axis=1, keepdims=True)
    clips = len(scores)
    true_scores = (clips * scores[np.arange(clips), target] + scores.mean(axis=1)) / (clips + 1)
    if np.ptp(scores) == 0.0:
        return 1.0

    def slope(inverse: float) -> float:
        weights = np.exp(scores * inverse)
        expected = (weights * scores).sum(axis=1) / weights.sum(axis=1)
        return float((expected - true_scores).mean())

    cold, hot = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(60):
        middle = (cold + hot) / 2
        if slope(float(np.exp(-middle))) > 0:  # too sharp: the confidence is above the accuracy
            cold = middle
        else:
            hot = middle
    return float(np.exp((cold + hot) / 2))
