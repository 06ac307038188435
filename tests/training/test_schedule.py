from __future__ import annotations

import itertools

import pytest

from marey.training import Training
from marey.training.schedule import TrainingState, equal_epochs, schedule, warmup_cosine, warmup_only


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


@pytest.mark.parametrize("name", ["cosine", "plateau"])
def test_a_whole_schedule_equals_itself(name: str) -> None:
    training = Training.model_validate({"epochs": 40, "schedule": name})
    factor = schedule(training, 40)
    rates = [training.learning_rate * factor(step) for step in range(40)]
    assert equal_epochs(rates, training) == 40


def test_a_cosine_that_was_cut_off_while_it_was_high_takes_more_epochs_of_its_own() -> None:
    training = Training(epochs=100, warmup=0.0)
    factor = schedule(training, 100)
    rates = [training.learning_rate * factor(step) for step in range(20)]
    epochs = equal_epochs(rates, training)
    assert 20 < epochs <= 40
    own = schedule(training.model_copy(update={"epochs": epochs}), epochs)
    assert training.learning_rate * sum(own(step) for step in range(epochs)) == pytest.approx(sum(rates), rel=0.05)


def test_no_fewer_than_one_epoch_and_no_more_than_the_recipes_are_run() -> None:
    training = Training(epochs=10)
    assert equal_epochs([0.0], training) == 1
    assert equal_epochs([training.learning_rate] * 10, training) == 10


def test_a_plateau_falls_to_a_tenth_once_the_score_has_not_risen_for_longer_than_its_patience() -> None:
    plateau = TrainingState.begin(Training(schedule="plateau", patience=5), validated=True).plateau
    assert plateau is not None
    factors = []
    for score in (0.5, 0.6, 0.6, 0.5, 0.4, 0.7, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1):
        plateau.step(score, counts=True)
        factors.append(plateau.factor)
    assert factors == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001])


def test_a_plateau_is_multiplied_by_the_factor_that_is_asked_for() -> None:
    training = Training(schedule="plateau", patience=6, plateau_factor=0.5)
    plateau = TrainingState.begin(training, validated=True).plateau
    assert plateau is not None
    factors = []
    for score in (0.5, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4):
        plateau.step(score, counts=True)
        factors.append(plateau.factor)
    assert factors == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_before_the_least_steps_neither_patience_nor_plateau_count() -> None:
    state = TrainingState.begin(Training(schedule="plateau", patience=4, epochs=30), validated=True)

    def update(patience: int | None) -> None:
        state.update({"train_loss": 0.0, "learning_rate": 0.1, "val_macro_f1": 0.5}, patience=patience)

    for _ in range(20):
        update(None)
    assert (state.waited, state.epochs, state.lr_scale) == (0, 30, 1.0)
    for _ in range(4):
        update(4)
    assert (state.is_over, state.epochs, state.lr_scale) == (True, 24, 0.1)


def test_an_epoch_of_the_same_score_is_kept_and_is_no_better_one() -> None:
    state = TrainingState(10)

    def update(score: float) -> bool:
        return state.update({"train_loss": 0.0, "learning_rate": 0.1, "val_macro_f1": score}, patience=4)

    assert [update(score) for score in (0.5, 0.7, 0.7, 0.6, 0.7)] == [True, True, True, False, True]
    assert (state.best_epoch, state.waited, state.epochs) == (4, 3, 10)
    update(0.7)
    assert state.epochs == 6
    assert state.is_over
