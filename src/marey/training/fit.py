"""One training of one head, on Lightning."""

from __future__ import annotations

import logging
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor
from torch.nn.functional import cross_entropy, nll_loss
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from marey.evaluation import macro_f1_of
from marey.models import Classifier, fuse
from marey.training.batches import Batch, FeatureSet, TrainingBatches
from marey.training.recipe import Training
from marey.training.schedule import schedule

CHECKPOINT: Final = "last.ckpt"
CHECKPOINT_EVERY: Final = 30.0  # s
_NAMES: Final = ("train_loss", "val_loss", "val_macro_f1", "learning_rate")

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
    clips: FeatureSet,
    training: Training,
    *,
    seed: int,
    validation: FeatureSet | None = None,
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
        validation: what chooses the epoch; without it all epochs are run and the last one is taken.
        epochs: in place of `training.epochs`, with a schedule of that length; for a fit on more clips than chose them.
        log_dir: where TensorBoard and CSV logs go, and the checkpoint from which an interrupted training goes on;
            the caller removes it when nothing can be interrupted any more.
        device: "cpu" or "cuda".
    """
    training = training if epochs is None else training.model_copy(update={"epochs": epochs})
    held_out = validation.summarised(classifier).plain() if validation is not None else None
    if not training.changes_frames:
        clips = clips.summarised(classifier)
    module = _Module(classifier, clips, training, seed=seed, held_out=held_out)
    best = _KeepBest()
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
        callbacks.append(_KeepState(checkpoint))
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


class _Module(pl.LightningModule):
    def __init__(
        self,
        classifier: Classifier,
        clips: FeatureSet,
        training: Training,
        *,
        seed: int,
        held_out: Batch | None,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.training_recipe = training
        self.batches = TrainingBatches(clips, training, seed=seed)
        self.history: History = {name: [] for name in _NAMES}
        self._seed = seed
        self._held_out = held_out
        weights = torch.ones(clips.classes)
        if training.class_weights == "balanced":
            counts = torch.bincount(clips.labels, minlength=clips.classes)
            present = counts > 0
            weights[present] = len(clips) / (present.sum() * counts[present])
        self.register_buffer("class_weights", weights, persistent=False)

    def on_train_epoch_start(self) -> None:
        self.batches.epoch = self.current_epoch
        torch.manual_seed(self._seed * 1_000_003 + self.current_epoch)  # dropout: the same after a resume
        self._losses: list[Tensor] = []

    def training_step(self, batch: Batch, _: int) -> Tensor:
        summaries, targets = batch.features, batch.targets
        if self.training_recipe.changes_frames:
            summaries = self.classifier.summarise(summaries, batch.mask)
        logits = self.classifier.head_logits(summaries, batch.mask)
        loss = torch.stack(
            [
                cross_entropy(
                    head,
                    targets,
                    weight=self.class_weights,  # type: ignore[arg-type]
                    label_smoothing=self.training_recipe.label_smoothing,
                )
                for head in logits
            ]
        ).mean()
        self._losses.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        rate = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        values = {"train_loss": float(torch.stack(self._losses).mean()), "learning_rate": float(rate)}
        if self._held_out is not None:
            values |= self._validate(self._held_out)
        for name, value in values.items():
            self.history[name].append(value)
        self.log_dict(values)

    @torch.no_grad()
    def _validate(self, batch: Batch) -> dict[str, float]:
        """Lightning's loop over validation batches takes longer than the one batch that there is."""
        self.classifier.eval()
        summaries = {name: values.to(self.device) for name, values in batch.features.items()}
        logits = fuse(self.classifier.head_logits(summaries, batch.mask.to(self.device))).cpu()
        self.classifier.train()
        labels, predicted = batch.targets.argmax(1), logits.argmax(1)
        counts = (
            torch.bincount(found, minlength=logits.shape[1]).numpy()
            for found in (labels[labels == predicted], labels, predicted)
        )
        return {"val_loss": float(nll_loss(logits, labels)), "val_macro_f1": float(macro_f1_of(*counts))}

    def configure_optimizers(self) -> Any:
        training = self.training_recipe
        optimizer = torch.optim.AdamW(
            self.classifier.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        steps = len(self.batches) * training.epochs
        factor = LambdaLR(optimizer, schedule(training, steps))
        schedulers: list[dict[str, Any]] = [{"scheduler": factor, "interval": "step"}]
        if training.schedule == "plateau" and self._held_out is not None:
            plateau = ReduceLROnPlateau(optimizer, mode="max", patience=max(1, training.patience // 2))
            schedulers = [{"scheduler": plateau, "interval": "epoch", "monitor": "val_macro_f1"}]
        return [optimizer], schedulers

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = {name: list(values) for name, values in checkpoint["history"].items()}


class _KeepBest(Checkpoint):
    """The classifier of the best epoch, in memory: heads are small, and a file an epoch costs more than the epoch.

    A dozen validation clips give a dozen values of F1. Among epochs of the same F1 the later one is taken: a learning
    rate that has come further down its schedule generalises better than one cut off on the way.
    """

    def __init__(self) -> None:
        self.state: dict[str, Tensor] | None = None
        self.score = float("-inf")
        self.epoch = -1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if "val_macro_f1" not in trainer.callback_metrics:
            return
        score = float(trainer.callback_metrics["val_macro_f1"])
        if score >= self.score:
            assert isinstance(pl_module, _Module)  # noqa: S101
            self.score, self.epoch = score, trainer.current_epoch
            self.state = deepcopy(pl_module.classifier.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state, "score": self.score, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state, self.score, self.epoch = (state_dict[name] for name in ("state", "score", "epoch"))


class _KeepState(Checkpoint):
    """Keeps the state of the training at the end of an epoch, where the last time is a while ago."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if time.monotonic() - self._last >= CHECKPOINT_EVERY:
            trainer.save_checkpoint(self._path)
            self._last = time.monotonic()


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
