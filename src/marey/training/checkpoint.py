"""The state of a training on disk, from which an interrupted one goes on."""

from __future__ import annotations

import io
import pickle
import time
from pathlib import Path
from typing import Any, Final

import torch

from marey.atomic import write_whole

CHECKPOINT: Final = "last.ckpt"
CHECKPOINT_EVERY: Final = 30.0  # s


class Pace:
    """Whether the last checkpoint is a while ago."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> bool:
        """True once in `CHECKPOINT_EVERY` seconds."""
        if time.monotonic() - self._last < CHECKPOINT_EVERY:
            return False
        self._last = time.monotonic()
        return True


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Keep tensors and plain values; who reads finds this state or the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)  # to a file, it would answer a full disk with an error that does not say so
    write_whole(path, buffer.getvalue(), alone=True)


def read_checkpoint(path: Path, *, of: object) -> dict[str, Any] | None:
    """The state in a file; None where there is none, or one of another training: then it begins anew.

    Args:
        path: the file.
        of: what has to stand under "of" in it.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
        return None
    return state if isinstance(state, dict) and state.get("of") == of else None
