from __future__ import annotations

import numpy as np
import pytest

from marey.training.stacking import choose_streams, log_losses, log_softmax, stack

RNG = np.random.default_rng(0)
LABELS = np.arange(200) % 4
NOISE = log_softmax(RNG.normal(size=(200, 4)))
GOOD = log_softmax(3 * np.eye(4)[LABELS] + RNG.normal(size=(200, 4)))
OTHER = log_softmax(3 * np.eye(4)[LABELS] + RNG.normal(size=(200, 4)))


def test_a_useless_stream_gets_no_weight_and_is_left_out() -> None:
    assert choose_streams({"noise": NOISE, "good": GOOD}, LABELS) == {"good": 1.0}


def test_two_streams_that_err_on_other_clips_share_the_weight() -> None:
    chosen = choose_streams({"good": GOOD, "noise": NOISE, "other": OTHER}, LABELS)

    assert list(chosen) == ["good", "other"]
    assert sum(chosen.values()) == pytest.approx(1)
    assert min(chosen.values()) > 0.3


def test_stacked_streams_have_a_lower_log_loss_than_each_alone() -> None:
    weights = stack([GOOD, OTHER], LABELS)
    fused = weights[0] * GOOD + weights[1] * OTHER

    assert log_losses(fused, LABELS).mean() < min(log_losses(each, LABELS).mean() for each in (GOOD, OTHER))


def test_of_two_streams_that_say_the_same_one_is_left() -> None:
    assert list(choose_streams({"good": GOOD, "again": GOOD}, LABELS)) in (["good"], ["again"])


def test_streams_that_know_nothing_end_in_one_of_them() -> None:
    flat = np.full((8, 4), np.log(0.25))

    assert list(choose_streams({"one": flat, "two": flat}, LABELS[:8]).values()) == [1.0]
