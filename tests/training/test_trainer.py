"""Networks on pictures, which are trained on Lightning."""

from __future__ import annotations

import csv
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from marey.errors import TrainingError
from marey.models import Classifier, HeadSpec
from marey.training import Fit, PictureSet, Task, Training, checkpoint, fit, module
from marey.training.checkpoint import CHECKPOINT

CLASSES, SHAPE = 2, (2, 3, 32, 32)
OPTIONS: dict[str, dict[str, Any]] = {
    "lrcn-small": {"width": 2, "hidden": 4},
    "convlstm": {"filters": 2, "layers": 2},
    "c3d-lstm-gru": {"filters": 2, "lstm": 4, "gru": 4},
    "cnn-lstm": {"filters": 4, "narrow": 4, "hidden": 4, "dense": 4},
}
TRAINING = Training(epochs=5, batch_size=4, learning_rate=0.003, patience=20, warmup=0.2)


def pictures(count: int = 8, *, seed: int = 0) -> PictureSet:
    """Clips that are dark or bright."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    clips = [
        {"a": (torch.randint(0, 100, SHAPE, generator=chance) + 120 * int(label)).to(torch.uint8)} for label in labels
    ]
    return PictureSet((tuple(clips),), labels, CLASSES, SHAPE[0], 4)


def train(
    training: Training = TRAINING,
    *,
    validation: PictureSet | None = None,
    log_dir: Path | None = None,
    seed: int = 0,
    name: str = "lrcn-small",
) -> Fit:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        spec = HeadSpec(name=name, options=OPTIONS[name])
        classifier = Classifier(spec, {"a": SHAPE}, CLASSES)
    return fit(Task(classifier, pictures(), seed, validation=validation, log_dir=log_dir), training)


def assert_same(left: Fit, right: Fit) -> None:
    assert (left.history, left.epochs) == (right.history, right.epochs)
    ours, theirs = left.classifier.state_dict(), right.classifier.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_dark_and_bright_are_told_apart_and_the_same_seed_gives_the_same_bits() -> None:
    found = train(validation=pictures(seed=1))
    assert found.history["train_loss"][-1] < found.history["train_loss"][0]
    assert len(found.history["val_macro_f1"]) == TRAINING.epochs
    assert not found.classifier.training
    assert_same(train(validation=pictures(seed=1)), found)
    assert train(seed=1).history["train_loss"] != train().history["train_loss"]


@pytest.mark.parametrize("name", OPTIONS)
def test_in_bfloat16_a_network_learns_nearly_the_same_and_stays_float32(name: str) -> None:
    training = TRAINING.model_copy(update={"epochs": 2, "learning_rate": 1e-4})
    exact = train(training, name=name, validation=pictures(seed=1))
    half = train(training.model_copy(update={"precision": "bfloat16"}), name=name, validation=pictures(seed=1))
    assert half.history["train_loss"] != exact.history["train_loss"]
    assert half.history["train_loss"] == pytest.approx(exact.history["train_loss"], rel=0.05)
    assert half.history["val_loss"] == pytest.approx(exact.history["val_loss"], rel=0.05)
    assert {value.dtype for value in half.classifier.state_dict().values()} <= {torch.float32, torch.int64}


def test_the_rate_rises_then_falls_to_zero_as_it_does_for_heads() -> None:
    rates = train().history["learning_rate"]
    assert rates[0] == pytest.approx(TRAINING.learning_rate)  # two steps of warm-up, and two an epoch
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_a_plateau_has_its_warm_up_and_falls_by_ten() -> None:
    wrong = replace(pictures(seed=1), labels=torch.zeros(8, dtype=torch.int64))
    training = TRAINING.model_copy(update={"epochs": 8, "schedule": "plateau", "patience": 7, "warmup": 0.25})
    rates = train(training, validation=wrong).history["learning_rate"]
    assert rates[0] == pytest.approx(training.learning_rate * 3 / 5)
    assert max(rates) == pytest.approx(training.learning_rate)
    assert rates[-1] == pytest.approx(training.learning_rate / 10)


def test_it_stops_when_validation_has_not_improved_for_so_many_epochs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = replace(pictures(seed=1), labels=torch.zeros(8, dtype=torch.int64))
    training = TRAINING.model_copy(update={"epochs": 9, "patience": 2, "learning_rate": 0.0})
    found = train(training, validation=wrong)
    assert len(found.history["val_macro_f1"]) == 3
    assert found.epochs == 3  # the last of those that are as good

    monkeypatch.setattr(checkpoint, "CHECKPOINT_EVERY", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(module.HeadTraining, "on_train_end", lambda _: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            train(training, validation=wrong, log_dir=tmp_path / "fit")
    assert_same(train(training, validation=wrong, log_dir=tmp_path / "fit"), found)


def losses_in(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


def test_logs_are_left_for_tensorboard_and_as_csv(tmp_path: Path) -> None:
    found = train(log_dir=tmp_path / "fit")
    assert len(list((tmp_path / "fit").glob("events.out.tfevents.*"))) == 1
    assert losses_in(tmp_path / "fit") == pytest.approx(found.history["train_loss"])


# Wherever the interrupt falls, between opening a log and closing it too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_network_that_is_interrupted_goes_on_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    validation = replace(pictures(seed=1), labels=torch.zeros(8, dtype=torch.int64))
    training = TRAINING.model_copy(update={"schedule": "plateau", "patience": 4, "warmup": 0.0})
    whole = train(training, validation=validation)
    assert whole.history["learning_rate"][-1] == pytest.approx(training.learning_rate / 10)
    monkeypatch.setattr(checkpoint, "CHECKPOINT_EVERY", 0.0)
    start = module.HeadTraining.on_train_epoch_start

    def interrupted(self: module.HeadTraining) -> None:
        if self.current_epoch == 3:
            signal.raise_signal(signal.SIGINT)
        start(self)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(module.HeadTraining, "on_train_epoch_start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(training, validation=validation, log_dir=tmp_path / "fit")
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "fit" / CHECKPOINT).is_file()
    assert_same(train(training, validation=validation, log_dir=tmp_path / "fit"), whole)
    assert losses_in(tmp_path / "fit") == whole.history["train_loss"]  # those before the interrupt, too


def test_a_network_that_diverges_ends_at_once() -> None:
    with pytest.raises(TrainingError, match=r"diverged in epoch \d of 5, .* up to \S+e\+29: train_loss"):
        train(TRAINING.model_copy(update={"learning_rate": 1e30, "warmup": 0.0}), validation=pictures(seed=1))
