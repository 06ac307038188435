from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from marey.training.logistic import fit_logistic


def drawn(count: int, dim: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    return rng.normal(size=(count, dim)) + 0.5 * np.eye(classes, dim)[labels], labels


@pytest.mark.parametrize("count", [20, 300])
def test_fewer_rows_than_columns_give_the_optimum_that_scikit_learn_finds_in_all_columns(count: int) -> None:
    values, labels = drawn(count, 100)
    (fit,) = fit_logistic(values, labels, weights=np.ones(count), classes=3, strengths=[0.1])
    reference = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(values, labels)

    assert fit.weight == pytest.approx(reference.coef_, abs=1e-3)
    logits = values @ reference.coef_.T + reference.intercept_
    assert fit.logits(values) == pytest.approx(logits - reference.intercept_.mean(), abs=5e-3)


def test_weaker_penalties_give_larger_weights() -> None:
    values, labels = drawn(30, 50)
    fits = fit_logistic(values, labels, weights=np.ones(30), classes=3, strengths=[1e-4, 1e-2, 1.0])
    sizes = [float(np.square(fit.weight).sum()) for fit in fits]

    assert sizes == sorted(sizes)
    assert sizes[0] < 0.1 * sizes[-1]


def test_two_classes_have_the_probabilities_of_binary_regression() -> None:
    values, labels = drawn(40, 5, classes=2)
    (fit,) = fit_logistic(values, labels, weights=np.ones(40), classes=2, strengths=[1.0])
    logits = fit.logits(values)
    probability = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))

    reference = LogisticRegression(C=1.0, tol=1e-8).fit(values, labels).predict_proba(values)[:, 1]
    assert probability == pytest.approx(reference, abs=1e-3)


def test_a_class_without_a_clip_is_improbable_and_not_impossible() -> None:
    values, labels = drawn(30, 10)
    (fit,) = fit_logistic(values, labels, weights=np.ones(30), classes=5, strengths=[1.0])
    logits = fit.logits(values)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    assert (probabilities[:, 3:] > 0).all()
    assert probabilities[:, 3:].max() < 0.05


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    values, labels = drawn(12, 4)
    twice = np.concatenate([values, values[:1]]), np.concatenate([labels, labels[:1]])
    weights = np.ones(12)
    weights[0] = 2
    (one,) = fit_logistic(values, labels, weights=weights, classes=3, strengths=[1.0])
    (other,) = fit_logistic(*twice, weights=np.ones(13), classes=3, strengths=[1.0])

    assert one.weight == pytest.approx(other.weight, abs=1e-3)


def test_clips_that_all_look_the_same_get_the_shares_of_the_classes() -> None:
    labels = np.array([0, 0, 0, 1])
    (fit,) = fit_logistic(np.zeros((4, 9)), labels, weights=np.ones(4), classes=2, strengths=[1.0])
    assert np.allclose(np.exp(fit.bias) / np.exp(fit.bias).sum(), [0.75, 0.25], atol=1e-3)
    assert not fit.weight.any()
