"""Logistic regression for linear heads: the optimum itself, the same for every seed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

STRENGTHS: Final = tuple(float(10.0**power) for power in np.arange(-5, 0.5, 0.5))
"""Values of C that inner folds choose from, from strong to weak regularisation."""

DEFAULT_STRENGTH: Final = 1e-3
"""C where no clips can be set aside to choose it by."""

_MOST_ROWS: Final = 2048  # of a Gram matrix: above it the features themselves are smaller, or nearly as small
_ITERATIONS: Final = 300

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinearFit:
    """A linear layer: logits are `x @ weight.T + bias`.

    Attributes:
        weight: float64 (K, D).
        bias: float64 (K,).
    """

    weight: Floats
    bias: Floats

    def logits(self, values: npt.NDArray[np.floating]) -> Floats:
        """Return logits, (N, D) to (N, K)."""
        found: Floats = values @ self.weight.T + self.bias
        return found


def fit_logistic(
    values: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    *,
    weights: npt.NDArray[np.floating],
    classes: int,
    strengths: Sequence[float] = STRENGTHS,
) -> list[LinearFit]:
    """Fit multinomial logistic regression with an L2 penalty for each strength, each from the one before.

    Minimises `C * sum_i w_i loss_i + |W|^2 / 2`. Where there are fewer rows than columns, the weights lie in the space
    that the rows span, so the fit has at most N columns, whatever D is.

    Args:
        values: (N, D), standardised.
        labels: (N,), at least two different ones.
        weights: (N,), of the rows in the loss.
        classes: K; a class without a row gets the probability of about 1 / (N + K).
        strengths: values of C, from strong to weak regularisation.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    rows, back = _in_row_space(values)
    present = np.unique(labels)
    regression = LogisticRegression(max_iter=_ITERATIONS, tol=1e-5, warm_start=True)
    fits = []
    for strength in strengths:
        regression.C = strength
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # with a weak penalty, near enough to the optimum
            regression.fit(rows, labels, sample_weight=weights)
        coefficients, intercepts = regression.coef_, regression.intercept_
        if len(present) == 2:  # scikit-learn gives one row: the second class against the first
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercepts = np.concatenate([-intercepts, intercepts]) / 2
        weight = np.zeros((classes, values.shape[1]))
        bias = np.full(classes, -np.log(len(labels) + classes))
        weight[present] = coefficients if back is None else coefficients @ back
        bias[present] = intercepts - intercepts.mean()
        fits.append(LinearFit(weight, bias))
    return fits


def _in_row_space(values: npt.NDArray[np.floating]) -> tuple[Floats, Floats | None]:
    """Return the rows in a basis of their span, (N, R), and the basis, (R, D); or the rows as they are, and None."""
    count, dim = values.shape
    full: Floats = values.astype(np.float64, copy=False)
    if count >= min(dim, _MOST_ROWS):
        return full, None
    squares, vectors = np.linalg.eigh(full @ full.T)
    if squares[-1] <= 0:
        return full, None  # all clips look the same, as where nobody is seen
    kept = squares > squares[-1] * 1e-10
    lengths = np.sqrt(squares[kept])
    basis: Floats = (vectors[:, kept] / lengths).T @ full
    rows: Floats = vectors[:, kept] * lengths
    return rows, basis
