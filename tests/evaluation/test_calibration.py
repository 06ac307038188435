from __future__ import annotations

import numpy as np
import pytest
import torch

from marey.evaluation import calibrated_error, expected_calibration_error, fit_temperature, reliability, uncalibrated


def draw(scale: float, *, clips: int = 20_000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=(clips, classes))
    target = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)  # labels drawn from softmax(logits)
    return scale * logits, target


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_scale_by_which_logits_are_too_sharp(scale: float) -> None:
    assert fit_temperature(*draw(scale)) == pytest.approx(scale, rel=0.05)


def test_the_temperature_is_the_least_of_the_log_likelihood() -> None:
    logits, target = draw(2.0, clips=300)
    scores = torch.from_numpy(logits)
    targets = (300 * torch.eye(5, dtype=torch.float64)[torch.from_numpy(target)] + 1 / 5) / 301

    def nll(temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(scores / temperature, targets))

    best = fit_temperature(scores, target)
    assert nll(best) <= min(nll(best * 0.99), nll(best * 1.01))


def test_the_temperature_of_a_few_correct_clips_is_not_zero() -> None:
    logits = 20 * np.eye(4)[np.arange(12) % 4]
    temperature = fit_temperature(logits, np.arange(12) % 4)
    certainty = np.exp(20 / temperature) / (np.exp(20 / temperature) + 3)
    assert certainty == pytest.approx((12 + 1 / 4) / 13)


def test_equal_logits_give_temperature_one() -> None:
    assert fit_temperature(np.zeros((4, 3)), np.arange(4) % 3) == 1.0


def test_logits_that_cannot_be_fitted_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got logits \(0, 3\) and labels \(0,\)"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0))
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))


def test_the_calibration_error_of_six_clips_is_the_one_computed_by_hand() -> None:
    confidence = [0.95, 0.95, 0.95, 0.95, 0.55, 0.58]  # two bins: 0.93-1.0 and 0.53-0.6
    correct = [True, True, True, False, True, False]
    by_hand = (4 * abs(0.75 - 0.95) + 2 * abs(0.5 - 0.565)) / 6
    assert expected_calibration_error(confidence, correct) == pytest.approx(by_hand)


def test_a_bin_includes_its_upper_edge() -> None:
    bins = reliability([0.0, 0.5, 1.0], [False, True, True], bins=2)
    assert bins.counts.tolist() == [2, 1]
    assert bins.accuracy.tolist() == [0.5, 1.0]


def test_empty_bins_are_not_numbers_and_no_clip_has_no_error() -> None:
    bins = reliability([0.9], [True], bins=2)
    assert np.isnan(bins.accuracy[0])
    assert np.isnan(expected_calibration_error([], []))


@pytest.mark.parametrize("temperature", [0.05, 1.0, 7.0])
def test_probabilities_before_calibration_are_found_again_from_those_after_it(temperature: float) -> None:
    logits, _ = draw(1.5, clips=50)
    before, after = (torch.from_numpy(logits / by).softmax(-1).numpy() for by in (1.0, temperature))
    np.testing.assert_allclose(uncalibrated(after, temperature), before, atol=1e-12)
    assert uncalibrated((1.0, 0.0), 0.5).tolist() == [1.0, 0.0]


def test_a_perfect_calibration_of_few_clips_has_an_error_and_of_many_has_none() -> None:
    confidence = np.random.default_rng(0).uniform(0.4, 1.0, 40_000)
    few, many = calibrated_error(confidence[:60]), calibrated_error(confidence)
    assert 0.08 < few < 0.2
    assert many < 0.01
    correct = np.random.default_rng(1).random(60) < confidence[:60]
    assert expected_calibration_error(confidence[:60], correct) == pytest.approx(few, abs=0.06)
    assert calibrated_error(np.ones(30)) == 0
    assert np.isnan(calibrated_error([]))
