"""Thresholds with a bound on wrong answers, on drawn confidences."""

from __future__ import annotations

import numpy as np
import pytest

from marey.errors import UsageError
from marey.evaluation import control_risk
from marey.evaluation.risk_control import p_value
from marey.models import HeldOutAnswers


def answers(confidence: np.ndarray, right: np.ndarray, groups: int | None = None) -> HeldOutAnswers:
    """Return answers for two classes; with `groups`, the clips are dealt to so many."""
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    names = [str(place if groups is None else place % groups) for place in range(len(confidence))]
    return HeldOutAnswers.of(probabilities, np.where(right, 0, 1), names, grouped=groups is not None)


def honest(generator: np.random.Generator, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Return confidences, and whether the answers are right, as often as they say."""
    confidence = generator.uniform(0.5, 1.0, clips)
    return confidence, generator.random(clips) < confidence


def test_a_guaranteed_threshold_is_broken_for_at_most_a_tenth_of_held_out_sets() -> None:
    generator = np.random.default_rng(0)
    broken, guaranteed = 0, 0
    for _ in range(40):
        control = control_risk(answers(*honest(generator, 1000)), 0.1)
        guaranteed += control.guaranteed
        # Of confidences above c, spread evenly up to 1, a share (1 - c) / 2 is wrong.
        broken += control.guaranteed and (1 - control.threshold) / 2 > 0.1
    assert broken <= 4
    assert guaranteed > 20


def test_five_percent_takes_45_groups_and_the_note_says_so() -> None:
    control = control_risk(answers(np.full(60, 0.99), np.full(60, True), groups=10))
    assert (control.guaranteed, control.needed, control.groups) == (False, 45, 10)
    assert "takes 45 held-out groups without an error, and there are 10, which can show 21 % at best" in control.note
    assert control.threshold == pytest.approx(0.99)
    assert control_risk(answers(np.full(45, 0.99), np.full(45, True))).guaranteed


def test_no_answer_is_given_where_all_confidences_are_wrong() -> None:
    control = control_risk(answers(np.linspace(0.6, 0.9, 80), np.full(80, False)))
    assert (control.guaranteed, control.answered, control.wrong) == (False, 0.0, None)
    assert control.threshold > 1
    assert "no answer is given" in control.note
    assert control.as_dict()["threshold"] is None


def test_errors_of_one_group_count_as_one_group() -> None:
    generator = np.random.default_rng(0)
    confidence, right = honest(generator, 1000)
    assert control_risk(answers(confidence, right), 0.1).guaranteed
    assert not control_risk(answers(confidence, right, groups=20), 0.1).guaranteed  # 22 are needed


def test_the_p_value_is_the_binomial_one_for_single_clips_and_never_below_it_for_shares() -> None:
    assert p_value(np.zeros(45), 0.05) == pytest.approx(0.95**45)
    assert p_value(np.array([0.2] * 10), 0.1) == 1.0
    assert p_value(np.array([0.0] * 49 + [0.5]), 0.05) >= 0.95**50


def test_a_risk_of_one_is_refused() -> None:
    with pytest.raises(UsageError, match="risk=1"):
        control_risk(answers(np.full(4, 0.9), np.full(4, True)), 1.0)
