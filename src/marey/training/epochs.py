"""Reports of each epoch of a training, to whoever watches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Epoch:
    """A finished epoch.

    Attributes:
        number: from 1.
        of: the most epochs that there will be.
        values: name of each quantity -> its value, such as "train_loss" and "val_accuracy".
    """

    number: int
    of: int
    values: Mapping[str, float]


OnEpoch = Callable[[Epoch], None]

_WATCHER: Final[ContextVar[OnEpoch | None]] = ContextVar("watcher of the epochs", default=None)


@contextmanager
def watched_epochs(on_epoch: OnEpoch) -> Iterator[None]:
    """Call `on_epoch` after each epoch of all trainings inside the `with`, in this thread.

    A protocol trains many times, several calls below; none of them has to know who watches.
    """
    before = _WATCHER.set(on_epoch)
    try:
        yield
    finally:
        _WATCHER.reset(before)


def report_epoch(number: int, of: int, values: Mapping[str, float]) -> None:
    """Tell whoever watches that an epoch is finished; arguments as the attributes of `Epoch`."""
    watcher = _WATCHER.get()
    if watcher is not None:
        watcher(Epoch(number, of, dict(values)))


def kept_values(history: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the values of the epoch that was kept: the last with the best validation score, or the last of all."""
    scores = history.get("val_macro_f1") or []
    last = len(history["train_loss"]) - 1
    kept = max(range(len(scores)), key=lambda epoch: (scores[epoch], epoch)) if scores else last
    return {name: values[kept] for name, values in history.items() if values}
