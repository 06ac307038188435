"""The epochs of a training on the screen: loss and accuracy, of training and validation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Final

from marey.progress import Stage
from marey.reports import History
from marey.training import Epoch, kept_values

_INTERVAL: Final = 0.1  # s between two notes: a small head has hundreds of epochs a second


class EpochNotes:
    """Writes each epoch beside the bar of a training, whose steps are the folds.

    Args:
        stage: the bar.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._fold = 0
        self._noted = float("-inf")

    def on_fold(self, done: int, _: int) -> None:
        """Advance the bar by a fold."""
        self._fold = done
        self._stage.advance(done)

    def on_epoch(self, epoch: Epoch) -> None:
        """Note the values of an epoch, a few times a second."""
        now = time.monotonic()
        if now - self._noted >= _INTERVAL or epoch.number == epoch.of:
            self._noted = now
            self._stage.advance(self._fold, f"epoch {epoch.number} of {epoch.of}: {epoch_text(epoch.values)}")


def epoch_text(values: Mapping[str, float]) -> str:
    """Return loss and accuracy of an epoch: "loss 0.412, accuracy 0.881; validation: loss 0.530, accuracy 0.792"."""

    def both(part: str) -> str:
        return f"loss {values[f'{part}_loss']:.3f}, accuracy {values[f'{part}_accuracy']:.3f}"

    return both("train") + (f"; validation: {both('val')}" if "val_loss" in values else "")


def kept_text(histories: Sequence[History]) -> str | None:
    """Return loss and accuracy of the epochs that were kept, the mean of all trainings; None if none had epochs."""
    kept = [kept_values(history) for history in histories]
    if not kept:
        return None
    shared = [name for name in kept[0] if all(name in values for values in kept)]
    mean = {name: statistics.fmean(values[name] for values in kept) for name in shared}
    of = "" if len(kept) == 1 else f", mean of {len(kept)} trainings"
    return f"at the epoch that was kept{of}: {epoch_text(mean)}"
