"""One training of one head, on Lightning."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from marey.models import Classifier
from marey.training.augmentation import Augmentation
from marey.training.batches import ClipSet, FeatureSet, TrainingBatches
from marey.training.recipe import Training

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

CHECKPOINT: Final = "last.ckpt"

History = dict[str, list[float]]
"""Name of a quantity to its value in each epoch."""


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


def fit(
    classifier: Classifier,
    clips: ClipSet,
    training: Training,
    *,
    seed: int,
    augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
    validation: ClipSet | None = None,
    epochs: int | None = None,
    log_dir: Path | None = None,
    device: str = "cpu",
) -> Fit:
    """Train a classifier.

    Args:
        classifier: untrained; it is trained in place.
        clips: what to learn from.
        training: how.
        seed: of order, augmentation and dropout.
        augmentation: what is done to pictures.
        validation: what chooses the epoch; without it all epochs are run and the last one is taken.
        epochs: in place of `training.epochs`, with a schedule of that length; for a fit on more clips than chose them.
        log_dir: where TensorBoard and CSV logs go, and the checkpoint from which an interrupted training goes on;
            the caller removes it when nothing can be interrupted any more.
        device: "cpu" or "cuda".
    """
    # Lightning takes seconds to import, and only those who train need it.
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import EarlyStopping

    from marey.training.module import HeadTraining, KeepBest, KeepState

    training = training if epochs is None else training.model_copy(update={"epochs": epochs})
    if isinstance(validation, FeatureSet):
        validation = validation.summarised(classifier)
    summarised = isinstance(clips, FeatureSet) and not training.changes_frames
    if isinstance(clips, FeatureSet) and summarised:
        clips = clips.summarised(classifier)
    batches = TrainingBatches(clips, training, seed=seed, augmentation=augmentation)
    module = HeadTraining(classifier, batches, training, seed=seed, summarised=summarised, held_out=validation)
    best = KeepBest()
    callbacks: list[pl.Callback] = [best]
    if validation is not None:
        callbacks.append(
            EarlyStopping(
                "val_macro_f1",
                mode="max",
                patience=training.patience,
                check_finite=False,
                check_on_train_epoch_end=True,
            )
        )
    checkpoint = log_dir / CHECKPOINT if log_dir is not None else None
    if checkpoint is not None:
        callbacks.append(KeepState(checkpoint))
    with torch.random.fork_rng(), _quiet(), _interruptible():
        trainer = pl.Trainer(
            accelerator="gpu" if device.startswith("cuda") else "cpu",
            devices=1,
            max_epochs=training.epochs,
            logger=_loggers(log_dir),
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        trainer.fit(
            module,
            module.batches,
            ckpt_path=checkpoint if checkpoint is not None and checkpoint.is_file() else None,
            weights_only=True,
        )
    if best.state is not None:
        classifier.load_state_dict(best.state)
    reached = best.epoch + 1 if best.state is not None else trainer.current_epoch
    return Fit(classifier.cpu().eval(), dict(module.history), reached)


def _loggers(log_dir: Path | None) -> list[Logger] | bool:
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    if log_dir is None:
        return False
    csv = CSVLogger(log_dir.parent, name=log_dir.name, version="", flush_logs_every_n_steps=10**9)
    return [csv, TensorBoardLogger(log_dir.parent, name=log_dir.name, version="")]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning answers Ctrl-C with an exit, deaf to the next one; whoever called is to decide what it means."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice on loaders and devices is not for the people who train a head on cached features."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=r".*lr_scheduler\.step\(\).*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
