"""What Lightning is handed for one training: the steps, and what it keeps on the way."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor
from torch.nn.functional import cross_entropy, nll_loss

from marey.atomic import whole_file
from marey.evaluation import macro_f1_of
from marey.models import Classifier, fuse
from marey.training.batches import Batch, ClipSet, TrainingBatches
from marey.training.checkpoint import Pace
from marey.training.course import Course
from marey.training.recipe import Training
from marey.training.schedule import schedule


class HeadTraining(pl.LightningModule):
    """The training of a classifier, epoch by epoch.

    Attributes:
        classifier: what is trained.
        batches: what from.
        course: how it goes.
    """

    def __init__(
        self,
        classifier: Classifier,
        batches: TrainingBatches,
        training: Training,
        *,
        seed: int,
        held_out: ClipSet | None,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.training_recipe = training
        self.batches = batches
        self.course = Course.of(training, validated=held_out is not None)
        self._seed = seed
        self._held_out = held_out
        self._factor = schedule(training, len(batches) * training.epochs)
        self.register_buffer("class_weights", batches.class_weights, persistent=False)

    def on_train_start(self) -> None:
        if self.course.over:  # it was stopped between its last epoch and what comes after
            self.trainer.should_stop = True

    def on_train_epoch_start(self) -> None:
        self.batches.epoch = self.current_epoch
        torch.manual_seed(self._seed * 1_000_003 + self.current_epoch)  # dropout: the same after a resume
        self._losses: list[Tensor] = []

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = self._rate()

    def training_step(self, batch: Batch, _: int) -> Tensor:
        targets = batch.targets
        summaries = self.classifier.summarise(batch.features, batch.mask)
        logits = self.classifier.head_logits(summaries, batch.mask)
        loss = torch.stack(
            [
                cross_entropy(
                    head.float(),
                    targets,
                    weight=self.class_weights,  # type: ignore[arg-type]
                    label_smoothing=self.training_recipe.label_smoothing,
                )
                for head in logits
            ]
        ).mean()
        self._losses.append(loss.detach())
        penalty = self.classifier.penalty()
        return loss if penalty is None else loss + penalty

    def on_train_epoch_end(self) -> None:
        values = {"train_loss": float(torch.stack(self._losses).mean()), "learning_rate": self._rate()}
        if self._held_out is not None:
            values |= self._validate(self._held_out)
        for name, value in values.items():
            self.course.history[name].append(value)
        self.course.require_finite()
        self.log_dict(values)
        patience = self.training_recipe.patience
        if self._held_out is not None and self.course.note(values["val_macro_f1"], patience=patience):
            self.course.state = deepcopy(self.classifier.state_dict())
        if self.course.over:
            self.trainer.should_stop = True

    @torch.no_grad()
    def _validate(self, clips: ClipSet) -> dict[str, float]:
        """Lightning's loop over validation batches takes longer than the one batch of features that there is."""
        self.classifier.eval()
        found = []
        for batch in clips.plain():
            summaries = {name: values.to(self.device) for name, values in batch.features.items()}
            found.append(fuse(self.classifier.head_logits(summaries, batch.mask.to(self.device))).cpu())
        self.classifier.train()
        logits, labels = torch.cat(found), clips.labels
        predicted = logits.argmax(1)
        counts = (
            torch.bincount(found, minlength=logits.shape[1]).numpy()
            for found in (labels[labels == predicted], labels, predicted)
        )
        return {"val_loss": float(nll_loss(logits, labels)), "val_macro_f1": round(float(macro_f1_of(*counts)), 6)}

    def configure_optimizers(self) -> Any:
        training = self.training_recipe
        return torch.optim.AdamW(
            self.classifier.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )

    def _rate(self) -> float:
        """The learning rate of the step that comes next."""
        return self.training_recipe.learning_rate * self._factor(self.global_step) * self.course.fallen

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["course"] = asdict(self.course)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.course = Course.read(checkpoint["course"])


class KeepState(Checkpoint):
    """Keeps the state of the training at the end of an epoch, where the last time is a while ago."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pace = Pace()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._pace.due():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._path, alone=True) as part:
                trainer.save_checkpoint(part)
