from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from marey.evaluation import auroc, false_positives, left_out_class, selective, share_with_interval


def test_auroc_is_that_of_scikit_learn_with_ties_and_weights() -> None:
    rng = np.random.default_rng(0)
    scores, unknown, weights = rng.integers(0, 9, 60).astype(float), rng.random(60) < 0.3, rng.integers(0, 3, 60)
    assert auroc(scores, unknown) == pytest.approx(roc_auc_score(unknown, scores))
    weighted = roc_auc_score(unknown, scores, sample_weight=weights)
    assert auroc(scores, unknown, weights.astype(float)) == pytest.approx(weighted)


def test_auroc_of_one_kind_is_not_a_number() -> None:
    assert np.isnan(auroc(np.ones(3), np.ones(3, bool)))


def test_false_positives_are_counted_at_the_score_that_95_percent_reach() -> None:
    scores = np.array([*np.arange(1.0, 21.0), 0.5, 2.0, 5.0, 30.0])
    unknown = np.arange(24) < 20
    assert false_positives(scores, unknown) == 0.75  # 19 of 20 unknown clips have a score of 2 or more


def test_a_class_that_is_left_out_has_an_interval_over_groups() -> None:
    groups = np.repeat(np.arange(5), 4)
    unknown = np.tile([True, False, False, False], 5)
    scores = np.where(unknown, 2.0, 0.5) + 0.01 * np.arange(20)
    found = left_out_class("wave", scores, unknown, groups, threshold=1.0, seed=0)
    assert (found.auroc, found.interval, found.false_positives, found.found) == (1.0, (1.0, 1.0), 0.0, 1.0)


def test_the_curve_of_coverage_and_risk_is_by_hand() -> None:
    found = selective([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    assert found.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert found.risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert found.area == pytest.approx((1 / 3 + 1 / 4) / 4)
    assert (found.confidence, found.answered) == (0.8, 0.5)


def test_where_even_the_most_confident_answer_is_wrong_no_confidence_is_enough() -> None:
    found = selective([0.9, 0.1], [False, False])
    assert (found.confidence, found.answered) == (None, 0.0)


def test_equal_confidences_are_answered_together() -> None:
    assert selective([0.5] * 4, [True, False, True, True]).coverage.tolist() == [1.0]


def test_no_rejected_clip_is_not_certain() -> None:
    share, ends = share_with_interval(np.zeros(30, bool), [f"p{place % 3}" for place in range(30)], seed=0)
    assert share == 0.0
    assert ends is not None
    assert ends[0] == 0.0
    assert ends[1] > 0.5  # three groups
    assert share_with_interval(np.zeros(0, bool), [], seed=0) == (None, None)
