"""Files of a training: the checkpoint from which it is resumed, and logs for TensorBoard and as a table."""

from __future__ import annotations

import csv
import io
import pickle
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch

from marey.atomic import atomic_file, write_atomic

CHECKPOINT: Final = "last.ckpt"
CHECKPOINT_EVERY: Final = 30.0  # s

QUANTITIES: Final = ("train_loss", "val_loss", "val_macro_f1", "learning_rate")

History = dict[str, list[float]]
"""Values of each quantity, one an epoch."""


class Throttle:
    """Timer that lets a checkpoint through every `CHECKPOINT_EVERY` seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> bool:
        """Return True once in that time."""
        if time.monotonic() - self._last < CHECKPOINT_EVERY:
            return False
        self._last = time.monotonic()
        return True


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values; a reader finds this state or the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)  # to a file, it would not say that the disk is full
    write_atomic(path, buffer.getvalue(), single_writer=True)


def read_checkpoint(path: Path, *, of: object) -> dict[str, Any] | None:
    """Read the state in a file; None without a file, or for another training, which then begins anew.

    Args:
        path: the file.
        of: the value that has to stand under "of".
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
        return None
    return state if isinstance(state, dict) and state.get("of") == of else None


def write_logs(history: History, folder: Path, *, steps: int) -> None:
    """Write `metrics.csv`, and a file for TensorBoard where it is installed: it shows the same values.

    Args:
        history: values of each epoch; quantities without values are left out.
        folder: the place; logs of an earlier attempt are replaced.
        steps: number of steps in an epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    known = {name: values for name, values in history.items() if values}
    last_steps = [steps * (epoch + 1) - 1 for epoch in range(len(history["train_loss"]))]
    with atomic_file(folder / "metrics.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["epoch", "step", *known])
        for epoch, step in enumerate(last_steps):
            table.writerow([epoch, step, *(values[epoch] for values in known.values())])
    if find_spec("tensorboard") is None:
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder) as writer:
        for name, values in known.items():
            for step, value in zip(last_steps, values, strict=True):
                writer.add_scalar(name, value, step)
