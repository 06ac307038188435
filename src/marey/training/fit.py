"""Trainings: what is asked for, and what they leave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from marey.models import Classifier
from marey.training.augmentation import Augmentation
from marey.training.batches import ClipSet, FeatureSet, TrainingBatches
from marey.training.feed import Source
from marey.training.logs import History, write_logs
from marey.training.recipe import Training
from marey.training.together import TOGETHER, HeadTask, train_together


@dataclass(frozen=True)
class Task:
    """A training that is asked for.

    Attributes:
        classifier: untrained; it is trained in place.
        clips: what to learn from.
        seed: of order, augmentation and dropout.
        validation: what chooses the epoch; without it all epochs are run and the last one is taken.
        epochs: in place of the recipe's, with a schedule of that length; for a fit on more clips than chose them.
        log_dir: where TensorBoard and CSV logs go, and the checkpoint from which an interrupted training goes on;
            the caller removes it when nothing can be interrupted any more.
    """

    classifier: Classifier
    clips: ClipSet
    seed: int
    validation: ClipSet | None = None
    epochs: int | None = None
    log_dir: Path | None = None


@dataclass(frozen=True)
class Fit:
    """What a training leaves.

    Attributes:
        classifier: of the best epoch, in evaluation mode; of the last one where nothing was validated.
        history: of each epoch.
        epochs: how many led to the classifier.
    """

    classifier: Classifier
    history: History
    epochs: int


def fit(task: Task, training: Training, *, augmentation: Augmentation = Augmentation(), device: str = "cpu") -> Fit:  # noqa: B008 - frozen
    """Train one classifier, see `fit_many`."""
    (found,) = fit_many([task], training, augmentation=augmentation, device=device)
    return found


def fit_many(
    tasks: Iterable[Task],
    training: Training,
    *,
    augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
    device: str = "cpu",
) -> Iterator[Fit]:
    """Train classifiers, one after the other or several at once.

    Heads on features that follow each other and agree in their shapes are trained in one computation, as many as
    `TOGETHER` allows; each has its own clips, order, chance, schedule and end, and comes to what it would have come
    to by itself, to the rounding of sums. Recurrent heads and those with attention are trained one by one, and so are
    networks on pictures, on Lightning.

    Args:
        tasks: what is asked for; taken one by one, so that memory holds those that are trained together.
        training: how.
        augmentation: what is done to pictures.
        device: "cpu" or "cuda".

    Yields:
        What each task leaves, in their order.
    """
    waiting: list[HeadTask] = []
    size = 0
    for task in tasks:
        recipe = training if task.epochs is None else training.model_copy(update={"epochs": task.epochs})
        if not isinstance(task.clips, FeatureSet):
            yield _fit_network(task, recipe, augmentation=augmentation, device=device)
            continue
        head = _prepared(task, recipe)
        most = TOGETHER["cuda" if device.startswith("cuda") else "cpu"]
        if waiting and (size + head.size > most or not head.fits_beside(waiting[0])):
            yield from _fit_heads(waiting, device=device)
            waiting, size = [], 0
        waiting.append(head)
        size += head.size
    if waiting:
        yield from _fit_heads(waiting, device=device)


def _prepared(task: Task, training: Training) -> HeadTask:
    clips, validation = task.clips, task.validation
    assert isinstance(clips, FeatureSet)  # noqa: S101 - asked before
    assert validation is None or isinstance(validation, FeatureSet)  # noqa: S101 - of one experiment
    if validation is not None:
        validation = validation.plainly().summarised(task.classifier)
    if not training.changes_frames:
        clips = clips.summarised(task.classifier)
    source = Source(clips, training, task.seed)
    return HeadTask(task.classifier, source, validation, task.log_dir)


def _fit_heads(tasks: Sequence[HeadTask], *, device: str) -> Iterator[Fit]:
    for task, found in zip(tasks, train_together(tasks, device=device), strict=True):
        assert found.state is not None  # noqa: S101 - every training has a first epoch
        task.classifier.load_state_dict(task.classifier.state_dict() | found.state)
        found.require_finite_weights(task.classifier)
        if task.log_dir is not None:
            write_logs(found.history, task.log_dir, steps=task.steps)
        yield Fit(task.classifier.eval(), found.history, found.epoch + 1)


def _fit_network(task: Task, training: Training, *, augmentation: Augmentation, device: str) -> Fit:
    # Lightning takes seconds to import, and only those who train a network on pictures need it.
    from marey.training.trainer import train_network

    batches = TrainingBatches(task.clips, training, seed=task.seed, augmentation=augmentation)
    history, epochs = train_network(
        task.classifier,
        batches,
        training,
        seed=task.seed,
        validation=task.validation,
        log_dir=task.log_dir,
        device=device,
    )
    if task.log_dir is not None:
        write_logs(history, task.log_dir, steps=len(batches))  # Lightning's begin where a training went on
    return Fit(task.classifier.cpu().eval(), history, epochs)
