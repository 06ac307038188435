"""Stacking: how much each stream counts, by the clips that its head was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]

LEAST_GAIN: Final = 0.01
"""Log loss in nats that a stream has to save a clip."""


def log_softmax(logits: Floats) -> Floats:
    """Return log-probabilities, (..., K)."""
    shifted = logits - logits.max(-1, keepdims=True)
    found: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found


def log_losses(logits: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """Return the negative log-likelihood of each clip: (N, K) and (N,) to (N,)."""
    found: Floats = -log_softmax(logits)[np.arange(len(labels)), labels]
    return found


def stack(log_probabilities: Sequence[Floats], labels: npt.NDArray[np.int64]) -> Floats:
    """Return non-negative weights of classifiers whose weighted log-probabilities have the least log loss.

    Stacked generalisation (Wolpert 1992) with non-negative weights (Breiman 1996): a useless classifier gets none. The
    loss is convex in the weights. Targets are smoothed by one clip of all classes at once, as for the temperature.

    Args:
        log_probabilities: of each classifier, (N, K), of clips that it was not trained on.
        labels: (N,).

    Returns:
        (S,); their sum is the inverse temperature of the fused logits.
    """
    scores = np.stack(log_probabilities)
    count, classes = scores.shape[1:]
    target = np.full((count, classes), 1 / (count + 1) / classes)
    target[np.arange(count), labels] += count / (count + 1)

    def loss(weights: Floats) -> tuple[float, Floats]:
        fused = log_softmax(np.tensordot(weights, scores, 1))
        error = np.exp(fused) - target
        return float(-(target * fused).sum() / count), np.tensordot(scores, error, 2) / count

    start = np.full(len(scores), 1 / len(scores))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 20.0)] * len(scores))
    weights: Floats = found.x
    return weights


def choose_streams(log_probabilities: Mapping[str, Floats], labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the streams that pay, with their weights, which sum to 1.

    Each stream costs an image a timestamp to encode. So the one that is missed least is left out, unless the log loss
    rises by more than its standard error (the rule of Breiman et al. 1984 for trees) and by `LEAST_GAIN`, until all
    that are left are missed.

    Args:
        log_probabilities: of each stream's head, (N, K), of clips that it was not trained on.
        labels: (N,).
    """
    kept = dict(log_probabilities)
    weights = stack(list(kept.values()), labels)
    while len(kept) > 1:
        losses = log_losses(fuse(kept, dict(zip(kept, weights, strict=True))), labels)
        found = []
        for name in kept:
            rest = {other: values for other, values in kept.items() if other != name}
            new = stack(list(rest.values()), labels)
            rise = log_losses(fuse(rest, dict(zip(rest, new, strict=True))), labels) - losses
            found.append((float(rise.mean()) - max(LEAST_GAIN, standard_error(rise)), rest, new))
        excess, rest, new = min(found, key=lambda each: each[0])
        if excess > 0:
            break
        kept, weights = rest, new
    total = weights.sum()
    shares = weights / total if total > 0 else np.full(len(kept), 1 / len(kept))
    return dict(zip(kept, shares.tolist(), strict=True))


def standard_error(values: Floats) -> float:
    """Return the standard error of the mean; 0 of a single value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def fuse(log_probabilities: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Return the weighted sum of the log-probabilities of the streams that have a weight, (N, K)."""
    return sum((weight * log_probabilities[name] for name, weight in weights.items()), start=np.zeros(1))
