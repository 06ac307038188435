"""The training of one fold: its result, and its files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marey.atomic import write_atomic
from marey.evaluation import StreamSelection
from marey.models import ActionModel, load_model, save_model
from marey.training.checkpoint import CHECKPOINT, History


@dataclass(frozen=True)
class FoldResult:
    """The trained model of a fold.

    Attributes:
        model: ready to predict.
        histories: of the trainings that chose the epoch, one an inner fold, or of the only one.
        epochs: number of epochs it was trained for.
        notes: differences from the recipe, a sentence each.
        selection: strengths and streams that the inner folds chose, where the heads are linear.
    """

    model: ActionModel
    histories: tuple[History, ...]
    epochs: int
    notes: tuple[str, ...] = ()
    selection: StreamSelection | None = None


def write_fold(trained: FoldResult, out: Path) -> None:
    """Write a training into a folder, and remove the checkpoints that an interrupted run goes on from."""
    save_model(trained.model, out / "model")
    values: dict[str, Any] = {"epochs": trained.epochs, "notes": trained.notes, "histories": trained.histories}
    if trained.selection is not None:
        values["selection"] = trained.selection.as_dict()
    write_atomic(out / "training.json", json.dumps(values, indent=1) + "\n", single_writer=True)
    for checkpoint in out.rglob(CHECKPOINT):
        checkpoint.unlink()


def read_fold(out: Path) -> FoldResult | None:
    """Return the training that was written into a folder; None where none is finished."""
    if not ((out / "model").is_dir() and (out / "training.json").is_file()):
        return None
    values = json.loads((out / "training.json").read_text(encoding="utf-8"))
    selection = StreamSelection.from_dict(values["selection"]) if "selection" in values else None
    return FoldResult(
        load_model(out / "model"), tuple(values["histories"]), values["epochs"], tuple(values["notes"]), selection
    )


def fold_seed(seed: int, number: int) -> int:
    """Return the seed of a fold, drawn from the seed of the run."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) % 2**31
