"""The training loop, on features and on frames."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from marey.errors import TrainingError
from marey.models import Classifier, HeadSpec, head_names, head_options
from marey.training import FeatureSet, FitResult, FrameSet, Task, Training, TrainingBatches, checkpoint, fit, loop
from marey.training.checkpoint import CHECKPOINT

CLASSES, LENGTH, DIM = 3, 5, 8
SMALL = {"hidden": 8, "dense": 8, "heads": 2}

LIVELY = Training(
    epochs=8,
    batch_size=8,
    learning_rate=0.01,
    mixup=0.3,
    temporal_jitter=1,
    frame_dropout=0.2,
    patience=50,
    warmup=0.2,
)

QUICK = ("mean", "lstm", "attention")
every_head = pytest.mark.parametrize(
    "head", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in head_names("features")]
)


def toy(count: int = 30, *, seed: int = 0, noise: float = 1.0, rare: bool = False) -> FeatureSet:
    """Clips whose class is a direction in the space of features, under noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    if rare:
        labels = torch.where(torch.arange(count) < count // 10, 1, 0)
    centres = 2 * torch.eye(CLASSES, DIM)[labels].view(1, count, 1, DIM)
    values = centres + noise * torch.randn(1, count, LENGTH, DIM, generator=generator)
    return FeatureSet({"a": values, "b": -values}, labels, CLASSES, LENGTH)


def new(clips: FeatureSet, head: str = "mean") -> Classifier:
    torch.manual_seed(0)
    options: dict[str, bool | int | float | str] = {
        name: value for name, value in SMALL.items() if name in head_options(head)
    }
    classifier = Classifier(HeadSpec(name=head, options=options), {"a": (DIM,), "b": (DIM,)}, CLASSES)
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
    head: str = "mean",
) -> FitResult:
    clips = clips or toy()
    task = Task(new(clips, head), clips, seed, validation=validation, epochs=epochs, log_dir=log_dir)
    return fit(task, training)


def right(result: FitResult, clips: FeatureSet) -> torch.Tensor:
    (batch,) = clips.in_order()
    with torch.inference_mode():
        logits: torch.Tensor = result.classifier(batch.features, batch.mask)
        return logits.argmax(1) == clips.labels


def assert_same(left: FitResult, right: FitResult) -> None:
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


@every_head
@pytest.mark.parametrize("validated", [True, False])
def test_the_same_seed_twice_gives_the_same_bits(head: str, validated: bool) -> None:
    validation = toy(seed=1) if validated else None
    training = LIVELY.model_copy(update={"epochs": 3})
    first = train(training, validation=validation, head=head)
    torch.rand(5)
    assert_same(first, train(training, validation=validation, head=head))
    other = train(training, validation=validation, seed=4, head=head)
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
    (batch,) = validation.in_order()
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


def test_logs_are_left_for_tensorboard_and_as_csv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    result = train(LIVELY, validation=toy(seed=1), log_dir=tmp_path / "choose")
    assert list((tmp_path / "choose").glob("events.out.tfevents.*"))
    with (tmp_path / "choose" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train_loss"]) for row in rows if row.get("train_loss")]
    assert losses == pytest.approx(result.history["train_loss"])
    assert {"val_loss", "val_macro_f1", "learning_rate"} <= rows[0].keys()
    assert not list(tmp_path.rglob("*.ckpt"))


def interrupt_after(monkeypatch: pytest.MonkeyPatch, checkpoints: int) -> list[Path]:
    """Press Ctrl-C after so many checkpoints, one an epoch; list those that were written."""
    monkeypatch.setattr(checkpoint, "CHECKPOINT_EVERY", 0.0)
    written: list[Path] = []

    def write_and_interrupt(state: dict[str, Any], path: Path) -> None:
        checkpoint.write_checkpoint(state, path)
        written.append(path)
        if len(written) == checkpoints:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "write_checkpoint", write_and_interrupt)
    return written


@every_head
def test_a_training_that_is_interrupted_goes_on_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, head: str
) -> None:
    training = LIVELY.model_copy(update={"epochs": 10, "patience": 10})
    validation = toy(seed=1, noise=3.0)
    whole = train(training, validation=validation, head=head)
    handler = signal.getsignal(signal.SIGINT)
    written = interrupt_after(monkeypatch, 6)
    with pytest.raises(KeyboardInterrupt):
        train(training, validation=validation, log_dir=tmp_path / "fit", head=head)
    assert written == [tmp_path / "fit" / CHECKPOINT] * 6
    assert signal.getsignal(signal.SIGINT) is handler
    assert_same(train(training, validation=validation, log_dir=tmp_path / "fit", head=head), whole)
    assert len(written) == 10


def test_a_damaged_checkpoint_costs_an_epoch_and_not_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training = LIVELY.model_copy(update={"epochs": 10, "patience": 10})
    whole = train(training)
    written = interrupt_after(monkeypatch, 6)
    with pytest.raises(KeyboardInterrupt):
        train(training, log_dir=tmp_path)
    path = tmp_path / CHECKPOINT
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    assert_same(train(training, log_dir=tmp_path), whole)
    assert len(written) == 6 + 5  # one more than the four that were left
    assert f"{path} is damaged (its checksum is another): the training goes on from an earlier state" in caplog.text


def test_a_checkpoint_of_an_earlier_version_is_taken_up(tmp_path: Path) -> None:
    state: dict[str, Any] = {"of": [1], "values": torch.arange(3)}
    torch.save(state, tmp_path / CHECKPOINT)
    found = checkpoint.read_checkpoint(tmp_path / CHECKPOINT, of=[1])
    assert found is not None
    assert torch.equal(found["values"], state["values"])
    checkpoint.remove_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "text", "earlier version"])
def test_a_checkpoint_that_is_damaged_or_anothers_is_not_taken_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str
) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_EVERY", 0.0)
    whole = train(LIVELY, log_dir=tmp_path)
    path = tmp_path / CHECKPOINT
    if damage == "earlier version":
        checkpoint.write_checkpoint({"of": [[3, 30, 8]], "epoch": 1, "going": [0], "stack": {}, "found": []}, path)
    elif damage != "other":
        path.write_bytes({"cut": path.read_bytes()[:-100], "empty": b"", "text": b"not a checkpoint"}[damage])
    seed = 4 if damage == "other" else 3
    again = train(LIVELY, log_dir=tmp_path, seed=seed)
    assert_same(again, train(LIVELY, seed=seed))
    assert (again.history == whole.history) == (damage != "other")


class Penalised(Classifier):
    """A classifier whose weights are kept small."""

    def penalty(self) -> torch.Tensor:
        return 10 * torch.stack([values.square().sum() for values in self.parameters()]).sum()


def test_the_penalty_of_a_head_is_trained_on_and_not_reported_as_loss() -> None:
    clips = toy()
    norms = []
    for kind in (Penalised, Classifier):
        classifier = new(clips)
        classifier.__class__ = kind
        result = fit(Task(classifier, clips, 0), LIVELY)
        norms.append(sum(float(values.detach().square().sum()) for values in result.classifier.parameters()))
        assert result.history["train_loss"][0] < 3.0
    assert norms[0] < 0.9 * norms[1]


@pytest.mark.parametrize("weights", ["balanced", "none"])
def test_the_loss_is_pytorchs_cross_entropy_with_smoothing_and_weights(weights: str) -> None:
    clips = toy(rare=True)
    training = LIVELY.model_copy(update={"class_weights": weights})
    batches = TrainingBatches(clips, training, seed=0)
    loss = loop._Loss(new(clips), training, batches.class_weights).eval()
    for batch in batches:
        expected = torch.stack(
            [
                cross_entropy(head, batch.targets, weight=batches.class_weights, label_smoothing=0.1)
                for head in loss.logits(batch)
            ]
        ).mean()
        assert float(loss(batch)[0].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.long
def test_heads_on_features_are_trained_without_importing_lightning() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_loop as t\n"
        "t.train(t.LIVELY); t.train(t.LIVELY, head='lstm')\n"
        "print({'lightning', 'torch._dynamo'} & sys.modules.keys() or 'none')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "none"


def test_a_training_that_diverges_ends_at_once_and_says_what_to_try(tmp_path: Path) -> None:
    training = Training(epochs=50, learning_rate=1e30, warmup=0.0)
    with pytest.raises(TrainingError, match=r"diverged in epoch \d+ of 50, .* up to \S+e\+29: val_loss"):
        train(training, validation=toy(9, seed=1))
    with pytest.raises(TrainingError, match=r"try a lower rate, as in --set training\.learning_rate=0\.001"):
        train(training)


SHAPE = (2, 3, 32, 32)
OPTIONS: dict[str, dict[str, Any]] = {
    "lrcn-small": {"width": 2, "hidden": 4},
    "convlstm": {"filters": 2, "layers": 2},
    "c3d-lstm-gru": {"filters": 2, "lstm": 4, "gru": 4},
    "cnn-lstm": {"filters": 4, "narrow": 4, "hidden": 4, "dense": 4},
}
ON_FRAMES = Training(epochs=5, batch_size=4, learning_rate=0.003, patience=20, warmup=0.2)


def frames(count: int = 8, *, seed: int = 0) -> FrameSet:
    """Clips that are dark or bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    clips = [
        {"a": (torch.randint(0, 100, SHAPE, generator=generator) + 120 * int(label)).to(torch.uint8)}
        for label in labels
    ]
    return FrameSet((tuple(clips),), labels, 2, SHAPE[0], 4)


def train_network(
    training: Training = ON_FRAMES,
    *,
    validation: FrameSet | None = None,
    log_dir: Path | None = None,
    seed: int = 0,
    name: str = "lrcn-small",
) -> FitResult:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(HeadSpec(name=name, options=OPTIONS[name]), {"a": SHAPE}, 2)
    return fit(Task(classifier, frames(), seed, validation=validation, log_dir=log_dir), training)


def test_a_network_tells_dark_from_bright_and_the_same_seed_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = train_network(validation=frames(seed=1))
    assert result.history["train_loss"][-1] < result.history["train_loss"][0]
    assert len(result.history["val_macro_f1"]) == ON_FRAMES.epochs
    assert not result.classifier.training
    assert_same(train_network(validation=frames(seed=1)), result)
    assert train_network(seed=1).history["train_loss"] != train_network().history["train_loss"]
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", OPTIONS)
def test_in_bfloat16_a_network_learns_nearly_the_same_and_stays_float32(name: str) -> None:
    training = ON_FRAMES.model_copy(update={"epochs": 2, "learning_rate": 1e-4})
    exact = train_network(training, name=name, validation=frames(seed=1))
    half = train_network(training.model_copy(update={"precision": "bfloat16"}), name=name, validation=frames(seed=1))
    assert half.history["train_loss"] != exact.history["train_loss"]
    assert half.history["train_loss"] == pytest.approx(exact.history["train_loss"], rel=0.05)
    assert half.history["val_loss"] == pytest.approx(exact.history["val_loss"], rel=0.05)
    assert {value.dtype for value in half.classifier.state_dict().values()} <= {torch.float32, torch.int64}


def test_a_plateau_has_its_warm_up_and_falls_by_ten() -> None:
    wrong = replace(frames(seed=1), labels=torch.zeros(8, dtype=torch.int64))
    training = ON_FRAMES.model_copy(update={"epochs": 8, "schedule": "plateau", "patience": 7, "warmup": 0.25})
    rates = train_network(training, validation=wrong).history["learning_rate"]
    assert rates[0] == pytest.approx(training.learning_rate * 3 / 5)
    assert max(rates) == pytest.approx(training.learning_rate)
    assert rates[-1] == pytest.approx(training.learning_rate / 10)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "plateau", "patience": 4, "warmup": 0.0},
        {"epochs": 9, "patience": 2, "learning_rate": 0.0},  # stopped early, and interrupted after that
    ],
    ids=["plateau", "early stop"],
)
def test_a_network_that_is_interrupted_goes_on_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any]
) -> None:
    validation = replace(frames(seed=1), labels=torch.zeros(8, dtype=torch.int64))
    training = ON_FRAMES.model_copy(update=changes)
    whole = train_network(training, validation=validation)
    if "epochs" in changes:
        assert len(whole.history["val_macro_f1"]) == whole.epochs == 3  # the last of those that are as good
    else:
        assert whole.history["learning_rate"][-1] == pytest.approx(training.learning_rate / 10)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            train_network(training, validation=validation, log_dir=tmp_path / "fit")
    assert (tmp_path / "fit" / CHECKPOINT).is_file()
    assert_same(train_network(training, validation=validation, log_dir=tmp_path / "fit"), whole)
    with (tmp_path / "fit" / "metrics.csv").open(newline="") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert losses == whole.history["train_loss"]  # those before the interrupt, too
    assert len(list((tmp_path / "fit").glob("events.out.tfevents.*"))) == 1


def test_a_network_that_diverges_ends_at_once() -> None:
    with pytest.raises(TrainingError, match=r"diverged in epoch \d of 5, .* up to \S+e\+29: train_loss"):
        train_network(ON_FRAMES.model_copy(update={"learning_rate": 1e30, "warmup": 0.0}), validation=frames(seed=1))
