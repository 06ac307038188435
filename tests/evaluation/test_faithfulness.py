"""Deletion and insertion curves of explanations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from marey.errors import UsageError
from marey.evaluation import faithfulness

WEIGHTS = np.array([0.5, 0.05, 0.3, 0.15])


def probability(kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The answer of a model that adds up what its parts weigh."""
    found: npt.NDArray[np.float64] = kept @ WEIGHTS
    return found


def test_the_curves_take_away_and_put_back_the_largest_contributions_first() -> None:
    found = faithfulness(probability, WEIGHTS)
    assert found.deletion.tolist() == pytest.approx([1.0, 0.5, 0.2, 0.05, 0.0])
    assert found.insertion.tolist() == pytest.approx([0.0, 0.5, 0.8, 0.95, 1.0])
    assert found.deletion_area == pytest.approx((0.5 + 0.5 + 0.2 + 0.05) / 4)
    assert found.insertion_area == pytest.approx((0.5 + 0.8 + 0.95 + 0.5) / 4)


def test_a_true_explanation_gains_and_its_opposite_loses() -> None:
    assert faithfulness(probability, WEIGHTS).gain > 0.2
    assert faithfulness(probability, -WEIGHTS).gain < -0.2


def test_random_orders_are_the_same_for_the_same_seed_and_near_the_middle_of_an_additive_model() -> None:
    one, same = (faithfulness(probability, WEIGHTS, orders=200, seed=3) for _ in range(2))
    assert one.random_deletion.tolist() == same.random_deletion.tolist()
    assert one.random_deletion_area == pytest.approx(0.5, abs=0.05)
    assert one.random_insertion_area == pytest.approx(0.5, abs=0.05)


def test_contributions_that_are_no_numbers_are_refused() -> None:
    for wrong in ([], [[0.1]], [0.1, np.nan]):
        with pytest.raises(UsageError, match="finite numbers"):
            faithfulness(probability, np.array(wrong))
    with pytest.raises(UsageError, match="orders=0"):
        faithfulness(probability, WEIGHTS, orders=0)
