"""The training of one network on pictures, on Lightning."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from marey.models import Classifier
from marey.training.batches import ClipSet, TrainingBatches
from marey.training.checkpoint import CHECKPOINT
from marey.training.logs import History
from marey.training.module import HeadTraining, KeepState
from marey.training.recipe import Training

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


def train_network(
    classifier: Classifier,
    batches: TrainingBatches,
    training: Training,
    *,
    seed: int,
    validation: ClipSet | None,
    log_dir: Path | None,
    device: str,
) -> tuple[History, int]:
    """Train a classifier in place; its history, and how many epochs led to it."""
    module = HeadTraining(classifier, batches, training, seed=seed, held_out=validation)
    checkpoint = log_dir / CHECKPOINT if log_dir is not None else None
    with torch.random.fork_rng(), _quiet(), _interruptible(), _runs_in(training.precision):
        trainer = pl.Trainer(
            accelerator="gpu" if device.startswith("cuda") else "cpu",
            devices=1,
            precision="bf16-mixed" if training.precision == "bfloat16" else "32-true",
            max_epochs=training.epochs,
            logger=_loggers(log_dir),
            callbacks=[KeepState(checkpoint)] if checkpoint is not None else [],
            enable_checkpointing=checkpoint is not None,  # else it would write into ./checkpoints
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
    course = module.course
    if course.state is not None:
        classifier.load_state_dict(course.state)
    course.require_finite_weights(classifier)
    return course.history, course.done if course.state is None else course.epoch + 1


def _loggers(log_dir: Path | None) -> list[Logger] | bool:
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
def _runs_in(precision: str) -> Iterator[None]:
    """Without oneDNN where it has no bfloat16 for the processor: its LSTM then ends in an error, PyTorch's is slow."""
    if precision == "float32" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")  # said of every processor
        with torch.backends.mkldnn.flags(enabled=False):
            yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice on loaders and devices is not for the people who train a head."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
