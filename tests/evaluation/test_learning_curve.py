from __future__ import annotations

import numpy as np
import pytest

from marey.evaluation import Trial, curve_sizes, learning_curve


def trials(error: float = 0.4, power: float = 0.5, groups: int = 8) -> list[Trial]:
    """Tests of 1000 clips a group whose error is a power of the number of training groups."""
    return [
        Trial(size, group, 1000 - round(1000 * error * size**-power) + (group % 3 - 1) * 5, 1000)
        for size in (1, 2, 4, 8)
        for group in range(groups)
    ]


def test_a_power_law_is_found_and_continued() -> None:
    curve = learning_curve(trials(), groups=9, seed=0)
    np.testing.assert_allclose(curve.law, (0, 0.4, 0.5), atol=0.05)
    assert curve.gain == pytest.approx(0.4 * (9**-0.5 - 18**-0.5), abs=0.01)
    assert curve.gain_interval is not None
    assert curve.gain_interval[0] <= curve.gain <= curve.gain_interval[1]


def test_a_flat_curve_promises_nothing_of_more_groups() -> None:
    curve = learning_curve(trials(error=0.2, power=0.0), groups=9, seed=0)
    assert curve.gain == pytest.approx(0, abs=1e-3)


def test_measured_points_come_first_and_are_those_of_the_tests() -> None:
    curve = learning_curve(trials(), groups=9, seed=0)
    measured = [point for point in curve.points if point.measured]
    assert [point.groups for point in measured] == [1, 2, 4, 8]
    assert measured[0].accuracy == pytest.approx(0.6, abs=0.01)
    assert curve.points[-1].groups == 36
    assert all(0 <= point.accuracy <= 1 for point in curve.points)


def test_clips_that_are_all_right_have_no_interval_and_no_gain() -> None:
    curve = learning_curve([Trial(size, group, 5, 5) for size in (1, 2, 3) for group in range(4)], groups=4, seed=0)
    assert (curve.gain, curve.gain_interval) == (0, None)


def test_two_numbers_of_groups_are_no_curve() -> None:
    with pytest.raises(ValueError, match="needs 3 numbers of groups, not 2"):
        learning_curve([Trial(1, 0, 1, 2), Trial(2, 0, 1, 2)], groups=3, seed=0)


def test_sizes_are_spread_over_their_logarithm() -> None:
    assert curve_sizes(20) == (1, 2, 3, 6, 11, 20)
    assert curve_sizes(3) == (1, 2, 3)
