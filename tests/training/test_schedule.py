from __future__ import annotations

import itertools

import pytest

from marey.training.schedule import warmup_cosine, warmup_only


def test_the_rate_rises_in_equal_steps_and_falls_by_half_a_cosine_to_zero() -> None:
    factor = warmup_cosine(4, 20)
    values = [factor(step) for step in range(21)]
    assert values[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(later < earlier for earlier, later in itertools.pairwise(values[4:]))
    assert factor(12) == pytest.approx(0.5)
    assert values[20] == pytest.approx(0.0)


def test_the_rate_stays_at_zero_beyond_the_last_step() -> None:
    assert warmup_cosine(4, 20)(50) == pytest.approx(0.0)


def test_without_a_warm_up_the_rate_begins_at_its_highest() -> None:
    assert warmup_cosine(0, 10)(0) == warmup_only(0)(0) == 1.0


@pytest.mark.parametrize("steps", [0, 1])
def test_a_schedule_of_no_or_one_step_is_a_number(steps: int) -> None:
    assert 0.0 <= warmup_cosine(steps, steps)(0) <= 1.0


def test_warm_up_only_stays_level_after_its_rise() -> None:
    values = [warmup_only(4)(step) for step in range(10)]
    assert values[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert values[4:] == [1.0] * 6
