"""Every registered head on features: trained beside others it becomes what it becomes alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from marey.models import Classifier, HeadSpec, head_names
from marey.training import FeatureSet, Fit, Task, Training, checkpoint, fit_many, together
from marey.training.checkpoint import CHECKPOINT, write_checkpoint
from marey.training.course import Course
from marey.training.stack import is_stackable

CLASSES, LENGTH, DIM = 3, 5, 8
SMALL = {"hidden": 8, "dense": 8, "heads": 2}
PLAIN = Training(epochs=4, batch_size=8, learning_rate=0.01, patience=3, warmup=0.2, weight_decay=0.1)
LIVELY = PLAIN.model_copy(update={"mixup": 0.3, "time_jitter": 1, "frame_drop": 0.3})

QUICK = ("mean", "lstm", "attention")
"""One that is trained together with others, one by itself, and one with masks; the others are long."""

every_head = pytest.mark.parametrize(
    "head", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in head_names("features")]
)


def toy(count: int, *, seed: int, noise: float = 1.0, views: int = 2) -> FeatureSet:
    """Clips whose class is a direction in the space of features, under noise, each in several views."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    centres = 2 * torch.eye(CLASSES, DIM)[labels].view(1, count, 1, DIM)
    values = centres + noise * torch.randn(views, count, LENGTH, DIM, generator=chance)
    return FeatureSet({"a": values, "b": -values}, labels, CLASSES, LENGTH)


def task(head: str, number: int, *, validated: bool = True, log_dir: Path | None = None, **changes: object) -> Task:
    """A task among several: clips, their number, validation clips and seed are its own."""
    clips = toy(18 + 2 * (number % 3), seed=number)
    spec = HeadSpec(name=head, options={name: value for name, value in SMALL.items() if name in options_of(head)})
    with torch.random.fork_rng():
        torch.manual_seed(number)
        classifier = Classifier(spec, {"a": (DIM,), "b": (DIM,)}, CLASSES)
    classifier.prepare(clips.all_views())
    validation = toy(7 + number, seed=100 + number, noise=4.0, views=1) if validated else None
    return Task(classifier, clips, number // 2, validation=validation, log_dir=log_dir, **changes)  # type: ignore[arg-type]


def options_of(head: str) -> set[str]:
    from marey.models import head_options

    return set(head_options(head))


def alone(tasks: Sequence[Task], training: Training) -> list[Fit]:
    return [found for each in tasks for found in fit_many([each], training)]


def assert_alike(left: Sequence[Fit], right: Sequence[Fit], *, within: float = 2e-5) -> None:
    for one, other in zip(left, right, strict=True):
        assert one.epochs == other.epochs
        assert one.history.keys() == other.history.keys()
        for name, values in one.history.items():
            assert values == pytest.approx(other.history[name], abs=within), name
        ours, theirs = one.classifier.state_dict(), other.classifier.state_dict()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], atol=within, rtol=1e-4)


@every_head
@pytest.mark.parametrize("training", [PLAIN, pytest.param(LIVELY, marks=pytest.mark.long)], ids=["plain", "lively"])
def test_a_head_becomes_beside_others_what_it_becomes_alone(head: str, training: Training) -> None:
    beside = list(fit_many([task(head, number) for number in range(3)], training))
    by_itself = alone([task(head, number) for number in range(3)], training)
    assert_alike(beside, by_itself)
    losses = {found.history["train_loss"][-1] for found in beside}
    assert len(losses) == 3  # each has learnt from its own


@every_head
def test_without_validation_each_runs_its_own_number_of_epochs(head: str) -> None:
    def tasks() -> list[Task]:
        return [task(head, number, validated=False, epochs=2 + number) for number in range(3)]

    beside = list(fit_many(tasks(), PLAIN))
    assert [found.epochs for found in beside] == [len(found.history["train_loss"]) for found in beside] == [2, 3, 4]
    assert_alike(beside, alone(tasks(), PLAIN))


def test_heads_stop_each_at_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    training = PLAIN.model_copy(update={"epochs": 40, "patience": 3})
    calls = watch(monkeypatch)
    beside = list(fit_many([task("mean", number) for number in range(6)], training))
    assert calls == [6]
    assert len({len(found.history["train_loss"]) for found in beside}) > 2
    assert_alike(beside, alone([task("mean", number) for number in range(6)], training))


def test_the_rate_falls_for_each_when_its_own_validation_stops_improving() -> None:
    training = PLAIN.model_copy(update={"epochs": 15, "patience": 14, "schedule": "plateau", "warmup": 0.0})
    beside = list(fit_many([task("mean", number) for number in range(5)], training))
    assert len({tuple(found.history["learning_rate"]) for found in beside}) > 1
    assert_alike(beside, alone([task("mean", number) for number in range(5)], training))


def watch(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many heads are trained in each computation."""
    from importlib import import_module

    module = import_module("marey.training.fit")
    calls: list[int] = []

    def counted(tasks: Sequence[together.HeadTask], *, device: str) -> list[Course]:
        calls.append(len(tasks))
        return together.train_together(tasks, device=device)

    monkeypatch.setattr(module, "train_together", counted)
    return calls


class Held(Classifier):
    """A classifier that is held small."""

    def penalty(self) -> torch.Tensor:
        return 10 * torch.stack([values.square().sum() for values in self.parameters()]).sum()


def test_what_a_head_adds_to_its_loss_is_learnt_and_not_reported_as_loss() -> None:
    def held() -> list[Task]:
        tasks = [task("mean", number) for number in range(3)]
        for each in tasks:
            each.classifier.__class__ = Held
        return tasks

    beside, free = list(fit_many(held(), PLAIN)), list(fit_many([task("mean", number) for number in range(3)], PLAIN))
    assert_alike(beside, alone(held(), PLAIN))
    for one, other in zip(beside, free, strict=True):
        small, large = (
            sum(float(values.detach().square().sum()) for values in found.classifier.parameters())
            for found in (one, other)
        )
        assert small < 0.9 * large
        assert one.history["train_loss"][0] < 3.0


def test_an_epoch_of_the_same_score_is_kept_and_is_no_better_one() -> None:
    progress = Course(10)
    kept = []
    for score in (0.5, 0.7, 0.7, 0.6, 0.7):
        progress.history["train_loss"].append(0.0)
        kept.append(progress.note(score, patience=4))
    assert kept == [True, True, True, False, True]
    assert (progress.epoch, progress.waited, progress.epochs) == (4, 3, 10)
    progress.history["train_loss"].append(0.0)
    progress.note(0.7, patience=4)
    assert progress.epochs == 6


@every_head
def test_heads_are_trained_together_unless_chance_or_layers_forbid_it(
    monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    calls = watch(monkeypatch)
    tasks = [task(head, number) for number in range(2)]
    list(fit_many(tasks, PLAIN.model_copy(update={"epochs": 1})))
    by_themselves = {"lstm", "bilstm", "gru", "lrcn", "bilstm-dense", "lstm-dense", "attention", "transformer"}
    assert is_stackable(tasks[0].classifier) == (head not in by_themselves)
    assert calls == ([1, 1] if head in by_themselves else [2])


def test_those_that_differ_are_not_mixed_and_the_order_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def tasks() -> list[Task]:
        few = Task(task("mean", 3).classifier, toy(6, seed=3), 3, validation=toy(6, seed=4))  # a step an epoch, not 3
        return [task("mean", 0), task("mean", 1), few, task("frame-average", 2), task("mean", 2, validated=False)]

    calls = watch(monkeypatch)
    beside = list(fit_many(tasks(), PLAIN))
    assert calls == [2, 1, 1, 1]
    assert_alike(beside, alone(tasks(), PLAIN))


def test_no_more_are_taken_up_at_once_than_memory_is_meant_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = watch(monkeypatch)
    taken: list[int] = []

    def tasks() -> list[Task]:
        return [task("mean", number) for number in range(6)]

    size = max(together.HeadTask.size.fget(head) for head in prepared(tasks()))  # type: ignore[attr-defined]
    monkeypatch.setitem(together.TOGETHER, "cpu", 2 * size)
    for found, number in zip(fit_many((taken.append(1) or each for each in tasks()), PLAIN), range(1, 7), strict=True):  # type: ignore[func-returns-value]
        assert found.epochs
        assert len(taken) <= number + 2
    assert calls == [2, 2, 2]


def prepared(tasks: Sequence[Task]) -> list[together.HeadTask]:
    from importlib import import_module

    return [import_module("marey.training.fit")._prepared(each, PLAIN) for each in tasks]


def test_several_that_are_interrupted_go_on_to_the_same_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    training = PLAIN.model_copy(update={"epochs": 30, "patience": 6})

    def tasks() -> list[Task]:
        return [task("mean", number, log_dir=tmp_path / str(number)) for number in range(4)]

    whole = list(fit_many([task("mean", number) for number in range(4)], training))
    assert len({len(found.history["train_loss"]) for found in whole}) > 1
    monkeypatch.setattr(checkpoint, "CHECKPOINT_EVERY", 0.0)
    kept: list[int] = []

    def stopping(state: dict[str, object], path: Path) -> None:
        write_checkpoint(state, path)
        kept.append(len(state["going"]))  # type: ignore[arg-type]
        if kept[-1] < 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(together, "write_checkpoint", stopping)
    with pytest.raises(KeyboardInterrupt):
        list(fit_many(tasks(), training))
    monkeypatch.setattr(together, "write_checkpoint", write_checkpoint)
    assert [path.parent.name for path in tmp_path.rglob(CHECKPOINT)] == ["0"]
    calls = len(kept)
    again = list(fit_many(tasks(), training))
    assert len(kept) == calls
    assert_alike(again, whole, within=0.0)
    for one, other in zip(again, whole, strict=True):
        ours, theirs = one.classifier.state_dict(), other.classifier.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "text"])
def test_a_checkpoint_that_is_damaged_or_anothers_is_not_taken_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str
) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_EVERY", 0.0)
    (whole,) = fit_many([task("mean", 0, log_dir=tmp_path / "a")], PLAIN)
    path = tmp_path / "a" / CHECKPOINT
    data = {"cut": path.read_bytes()[:-100], "empty": b"", "other": path.read_bytes(), "text": b"not a checkpoint"}
    path.write_bytes(data[damage])
    number = 2 if damage == "other" else 0
    (again,) = fit_many([task("mean", number, log_dir=tmp_path / "a")], PLAIN)
    (fresh,) = fit_many([task("mean", number)], PLAIN)
    assert_alike([again], [fresh], within=0.0)
    assert (again.history == whole.history) == (damage != "other")


@pytest.mark.long
def test_heads_on_features_are_trained_without_lightning(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path; import test_together as t\n"
        "list(t.fit_many([t.task('mean', 0, log_dir=Path(sys.argv[1])), t.task('lstm', 1)], t.PLAIN))\n"
        "print({'lightning', 'torch.utils.tensorboard'} & sys.modules.keys() or 'none')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "none"
    assert (tmp_path / "metrics.csv").is_file()
