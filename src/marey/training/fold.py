"""The training of one fold: its result, and its files."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from marey.atomic import write_atomic
from marey.data.hashing import values_hash
from marey.errors import ModelFormatError, UsageError, first_line
from marey.evaluation import StreamSelection
from marey.models import ActionModel, load_model, save_model
from marey.training.checkpoint import History, remove_checkpoints

_RECORD: Final = "training.json"
_MEMBERS: Final = 1_000_000  # beyond the numbers of folds
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldResult:
    """The trained model of a fold.

    Attributes:
        model: ready to predict.
        histories: of the trainings that chose the epoch, one an inner fold and seed, or of the only one.
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
    values["hash"] = values_hash(values)
    write_atomic(out / _RECORD, json.dumps(values, indent=1) + "\n", single_writer=True)
    remove_checkpoints(out)


def read_fold(out: Path) -> FoldResult | None:
    """Return the training that was written into a folder; None where none is finished, or its files are damaged."""
    if not ((out / "model").is_dir() and (out / _RECORD).is_file()):
        return None
    try:
        values = json.loads((out / _RECORD).read_text(encoding="utf-8"))
        if "hash" in values and values.pop("hash") != values_hash(values):  # those of earlier versions have none
            raise ValueError(f"{out / _RECORD} is not the file that was written")
        selection = StreamSelection.from_dict(values["selection"]) if "selection" in values else None
        histories, notes = tuple(values["histories"]), tuple(values["notes"])
        return FoldResult(load_model(out / "model"), histories, values["epochs"], notes, selection)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ModelFormatError) as error:
        if isinstance(error, UsageError):  # a package that is missing
            raise
        _LOG.warning("%s is damaged (%s), and is trained again", out, first_line(error))
        return None


def member_seed(seed: int, number: int) -> int:
    """Return the seed of a member of an average, drawn from the seed of a training; the first one has that seed."""
    return seed if number == 0 else fold_seed(seed, _MEMBERS + number)


def fold_seed(seed: int, number: int) -> int:
    """Return the seed of a fold, drawn from the seed of the run."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) % 2**31
