"""Files of a training: the checkpoint from which it is resumed, and logs for TensorBoard and as a table."""

from __future__ import annotations

import csv
import io
import logging
import pickle
import time
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch

from marey.atomic import atomic_file, temp_path, write_atomic
from marey.errors import first_line

CHECKPOINT: Final = "last.ckpt"
CHECKPOINT_EVERY: Final = 30.0  # s

QUANTITIES: Final = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "val_macro_f1", "learning_rate")

_PREVIOUS: Final = "previous.ckpt"
_SEAL: Final = b"marey crc32 "
_SEAL_SIZE: Final = len(_SEAL) + 4
_LOG: Final = logging.getLogger(__name__)

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
    """Write tensors and plain values with a checksum; the state before stays, for when this one is damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)  # to a file, it would not say that the disk is full
    seal = _seal(buffer.getbuffer())
    buffer.seek(0, io.SEEK_END)
    buffer.write(seal)
    if path.is_file():
        path.replace(path.with_name(_PREVIOUS))
    write_atomic(path, buffer.getvalue(), single_writer=True)


def read_checkpoint(path: Path, *, of: object) -> dict[str, Any] | None:
    """Read the state in a file, or the one before where it is damaged, which the log says.

    Args:
        path: the file.
        of: the value that has to stand under "of".

    Returns:
        None without a file, or for another training, which then begins anew.
    """
    for place in (path, path.with_name(_PREVIOUS)):
        if (state := _read(place)) is not None:
            return state if state.get("of") == of else None
    return None


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints in a folder and below it, and what a killed process left of one."""
    for name in (CHECKPOINT, _PREVIOUS, temp_path(Path(CHECKPOINT)).name):
        for path in folder.rglob(name):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    mark = data[-_SEAL_SIZE:]
    try:
        if mark.startswith(_SEAL):
            data = data[:-_SEAL_SIZE]
            if mark != _seal(data):
                raise ValueError("its checksum is another")
        state = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        if not isinstance(state, dict):
            raise ValueError("it holds no state")
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        _LOG.warning("%s is damaged (%s): the training goes on from an earlier state", path, first_line(error))
        return None
    return state


def _seal(data: bytes | memoryview) -> bytes:
    """Return the last bytes of a checkpoint; those of earlier versions end without."""
    return _SEAL + zlib.crc32(data).to_bytes(4, "little")


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
