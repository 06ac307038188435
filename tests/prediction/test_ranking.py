from __future__ import annotations

import numpy as np
import pytest

from marey.prediction import ranked


def test_the_most_probable_class_comes_first_and_equal_ones_stay_in_the_models_order() -> None:
    shares = np.array([0.1, 0.4, 0.1, 0.4])
    assert ranked(("a", "b", "c", "d"), shares) == (("b", 0.4), ("d", 0.4), ("a", 0.1), ("c", 0.1))


def test_a_class_without_a_probability_is_no_order() -> None:
    with pytest.raises(ValueError, match="zip"):
        ranked(("a", "b"), (1.0,))
