from __future__ import annotations

import csv
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from marey.errors import TrainingError
from marey.models import Classifier, HeadSpec
from marey.training import FeatureSet, Fit, Task, Training, checkpoint, fit, together
from marey.training.checkpoint import CHECKPOINT

CLASSES, LENGTH, DIM = 3, 5, 8

LIVELY = Training(
    epochs=8, batch_size=8, learning_rate=0.01, mixup=0.3, time_jitter=1, frame_drop=0.2, patience=50, warmup=0.2
)


def toy(count: int = 30, *, seed: int = 0, noise: float = 1.0, rare: bool = False) -> FeatureSet:
    """Clips whose class is a direction in the space of features, under noise."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    if rare:
        labels = torch.where(torch.arange(count) < count // 10, 1, 0)
    centres = 2 * torch.eye(CLASSES, DIM)[labels].view(1, count, 1, DIM)
    values = centres + noise * torch.randn(1, count, LENGTH, DIM, generator=chance)
    return FeatureSet({"a": values, "b": -values}, labels, CLASSES, LENGTH)


def new(clips: FeatureSet, head: str = "mean") -> Classifier:
    torch.manual_seed(0)
    classifier = Classifier(HeadSpec(name=head, options={}), {"a": (DIM,), "b": (DIM,)}, CLASSES)
    classifier.prepare(clips.all_views())
    return classifier


def train(
    training: Training,
    *,
    clips: FeatureSet | None = None,
    validation: FeatureSet | None = None,
    epochs: int | None = None,
    seed: int = 3,
    log_dir: Path | None = None,
) -> Fit:
    clips = clips or toy()
    task = Task(new(clips), clips, seed, validation=validation, epochs=epochs, log_dir=log_dir)
    return fit(task, training)


def right(result: Fit, clips: FeatureSet) -> torch.Tensor:
    (batch,) = clips.plain()
    with torch.inference_mode():
        logits: torch.Tensor = result.classifier(batch.features, batch.mask)
        return logits.argmax(1) == clips.labels


def assert_same(left: Fit, right: Fit) -> None:
    assert left.history == right.history
    assert left.epochs == right.epochs
    ours, theirs = left.classifier.state_dict(), right.classifier.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_can_be_told_apart_is_learnt() -> None:
    result = train(Training(epochs=15, batch_size=8, learning_rate=0.01), validation=toy(seed=1))
    assert float(right(result, toy(60, seed=2)).float().mean()) >= 0.95
    assert result.history["train_loss"][-1] < 0.7 * result.history["train_loss"][0]
    assert not result.classifier.training


@pytest.mark.parametrize("validated", [True, False])
def test_the_same_seed_twice_gives_the_same_bits(validated: bool) -> None:
    validation = toy(seed=1) if validated else None
    first = train(LIVELY, validation=validation)
    torch.rand(5)
    assert_same(first, train(LIVELY, validation=validation))
    other = train(LIVELY, validation=validation, seed=4)
    assert other.history["train_loss"] != first.history["train_loss"]


def test_a_training_leaves_the_chance_of_its_caller_alone() -> None:
    clips = toy()
    classifier = new(clips)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(Task(classifier, clips, 0), Training(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_without_validation_every_epoch_is_run_and_the_last_one_taken() -> None:
    result = train(LIVELY)
    assert result.epochs == LIVELY.epochs == len(result.history["train_loss"])
    assert result.history["val_macro_f1"] == []


def test_the_epoch_of_the_best_validation_score_is_kept() -> None:
    validation = toy(seed=1, noise=3.0)
    result = train(LIVELY, validation=validation)
    scores = result.history["val_macro_f1"]
    assert scores[result.epochs - 1] == max(scores) > min(scores)
    (batch,) = validation.plain()
    with torch.inference_mode():
        logits = result.classifier(batch.features, batch.mask)
    loss = float(torch.nn.functional.nll_loss(logits, validation.labels))
    assert loss == pytest.approx(result.history["val_loss"][result.epochs - 1], rel=1e-5)


def test_training_stops_when_validation_has_not_improved_for_so_many_epochs() -> None:
    clips, validation = toy(), toy(seed=1)
    wrong = FeatureSet(validation.features, (validation.labels + 1) % CLASSES, CLASSES, LENGTH)
    result = train(Training(epochs=60, patience=3, learning_rate=0.01), clips=clips, validation=wrong)
    scores = result.history["val_macro_f1"]
    assert len(scores) == 1 + scores.index(max(scores)) + 3 < 60


def test_a_given_number_of_epochs_takes_the_place_of_the_recipes() -> None:
    part = train(LIVELY, epochs=3)
    assert part.epochs == len(part.history["train_loss"]) == 3
    assert_same(part, train(LIVELY.model_copy(update={"epochs": 3})))


def test_the_rate_rises_then_falls_to_zero() -> None:
    rates = train(LIVELY).history["learning_rate"]
    assert rates[0] < max(rates) <= LIVELY.learning_rate
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_plateau_divides_the_rate_by_ten_where_validation_does_not_improve() -> None:
    validation = toy(seed=1)
    wrong = FeatureSet(validation.features, (validation.labels + 1) % CLASSES, CLASSES, LENGTH)
    training = Training(epochs=12, schedule="plateau", patience=4, learning_rate=0.01, warmup=0.0)
    rates = train(training.model_copy(update={"patience": 11}), validation=wrong).history["learning_rate"]
    assert rates[0] == pytest.approx(0.01)
    assert min(rates) == pytest.approx(0.001)
    level = train(training).history["learning_rate"]  # nothing is validated: level
    assert level == pytest.approx([0.01] * 12)


def test_a_rare_class_is_heard_when_classes_are_weighed() -> None:
    clips, test = toy(60, rare=True, noise=3.0), toy(600, rare=True, noise=3.0, seed=9)
    heard = {}
    for weights in ("balanced", "none"):
        training = Training(epochs=20, learning_rate=0.01).model_copy(update={"class_weights": weights})
        heard[weights] = float(right(train(training, clips=clips), test)[test.labels == 1].float().mean())
    assert heard["balanced"] > heard["none"] + 0.1


def test_logs_are_left_for_tensorboard_and_as_csv(tmp_path: Path) -> None:
    result = train(LIVELY, validation=toy(seed=1), log_dir=tmp_path / "choose")
    assert list((tmp_path / "choose").glob("events.out.tfevents.*"))
    with (tmp_path / "choose" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train_loss"]) for row in rows if row.get("train_loss")]
    assert losses == pytest.approx(result.history["train_loss"])
    assert {"val_loss", "val_macro_f1", "learning_rate"} <= rows[0].keys()
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_training_that_is_interrupted_goes_on_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_EVERY", 0.0)
    training = LIVELY.model_copy(update={"epochs": 20, "patience": 20})
    validation = toy(seed=1, noise=3.0)
    whole = train(training, validation=validation)

    kept = 0

    def keep_and_interrupt(state: dict[str, Any], path: Path) -> None:
        nonlocal kept
        checkpoint.write_checkpoint(state, path)
        kept += 1
        if kept == 7:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(together, "write_checkpoint", keep_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(training, validation=validation, log_dir=tmp_path / "fit")
    assert kept == 7
    assert (tmp_path / "fit" / CHECKPOINT).is_file()
    assert signal.getsignal(signal.SIGINT) is handler
    assert_same(train(training, validation=validation, log_dir=tmp_path / "fit"), whole)


def test_a_training_that_diverges_ends_at_once_and_says_what_to_try(tmp_path: Path) -> None:
    training = Training(epochs=50, learning_rate=1e30, warmup=0.0)
    with pytest.raises(TrainingError, match=r"diverged in epoch \d+ of 50, .* up to \S+e\+29: val_loss"):
        train(training, validation=toy(9, seed=1))
    with pytest.raises(TrainingError, match=r"try a lower rate, as in --set training\.learning_rate=0\.001"):
        train(training)
