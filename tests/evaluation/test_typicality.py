from __future__ import annotations

import numpy as np

from marey.evaluation import typical_and_odd


def test_the_clip_in_the_middle_is_typical_and_the_far_one_odd() -> None:
    values = np.array([[0.0], [1.0], [1.1], [9.0], [2.0], [5.0], [5.0], [5.2]])
    first, second = typical_and_odd(values, np.array([0, 0, 0, 0, 0, 1, 1, 1]), shown=1)
    assert (first.typical, first.odd) == ((2,), (3,))
    assert first.oddness[0] > 1
    assert second.odd == (7,)


def test_a_clip_is_of_one_kind_only() -> None:
    (only,) = typical_and_odd(np.array([[1.0, 2.0]]), np.array([0]))
    assert (only.typical, only.odd) == ((0,), ())
    (pair,) = typical_and_odd(np.array([[1.0], [2.0]]), np.array([0, 0]))
    assert not set(pair.typical) & set(pair.odd)
