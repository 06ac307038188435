"""Worker: the process on a node of the cluster that holds an encoder, and works on clips."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from marey.errors import MareyError, UsageError
from marey.version import __version__

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Work(Protocol[Item_contra, Result_co]):
    """The work on items, with what it holds in memory: an encoder, a model."""

    @property
    def note(self) -> str:
        """A remark for the caller on how it works here; empty if there is none."""

    def run(self, items: Sequence[Item_contra]) -> Sequence[Result_co]:
        """Return the result of each item; a file that cannot be used is a result."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that stops the whole run; the exceptions themselves do not all survive the way back.

    Attributes:
        text: the message.
        usage: True for wrong use, False for an input that cannot be used.
    """

    text: str
    usage: bool


@dataclass(frozen=True, slots=True)
class Started:
    """The state of a worker that is ready.

    Attributes:
        version: of marey on its node.
        node: its node, as Ray calls it.
        note: see `Work`.
    """

    version: str
    node: str
    note: str


@dataclass(frozen=True, slots=True)
class Batch(Generic[Result]):
    """The results of several items.

    Attributes:
        results: in their order.
        seconds: that they took.
    """

    results: Sequence[Result]
    seconds: float


class OutOfMemory(Exception):  # noqa: N818 - it is caught by name
    """Several items together did not fit into memory; one alone may."""


class Worker(Generic[Item, Result]):
    """The actor: it makes its work once, and does it for many items.

    Args:
        make: makes the work: loads the encoder or the model.
        settings: environment variables that decide what is computed, as the caller has them.
    """

    def __init__(self, make: Callable[[], Work[Item, Result]], settings: dict[str, str]) -> None:
        self._make = make
        os.environ.update(settings)
        self._work: Work[Item, Result] | None = None

    def start(self) -> Started | Refusal:
        """Make the work."""
        try:
            self._work = self._make()
        except MareyError as error:
            return _refusal(error)
        ray: Any = sys.modules["ray"]
        return Started(__version__, ray.get_runtime_context().get_node_id(), self._work.note)

    def run(self, items: Sequence[Item]) -> Batch[Result] | Refusal:
        """Return the results of items.

        Raises:
            OutOfMemory: they did not fit.
        """
        assert self._work is not None  # noqa: S101 - started
        began = time.perf_counter()
        try:
            with _memory_faults():
                results = self._work.run(items)
        except MareyError as error:
            return _refusal(error)
        return Batch(results, time.perf_counter() - began)


def _refusal(error: MareyError) -> Refusal:
    return Refusal(str(error), isinstance(error, UsageError))


@contextmanager
def _memory_faults() -> Iterator[None]:
    """Raise what says that memory is full, here or on the GPU, as one exception."""
    torch: Any = sys.modules.get("torch")  # its work has loaded it, or does not need it
    faults = (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
    try:
        yield
    except faults as error:
        raise OutOfMemory(str(error) or type(error).__name__) from error
