"""Base of all engines: a frozen network at work, on all cores for one caller, or on one core each for several."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import ClassVar, Final

import torch
from torch import Tensor

from marey.cores import usable_cores
from marey.errors import UnknownNameError

ENGINES: Final = ("auto", "pytorch", "openvino", "onnxruntime", "cuda")
"""Names of engines: "auto" is the fastest of those that are installed and agree with PyTorch."""


class Engine(ABC):
    """Runs a frozen network; several threads may call it at once.

    A caller has as many cores as PyTorch has threads in its thread (`torch.get_num_threads()`). With one, the caller's
    own thread does the work. With more, the batch is cut into pieces, and each core takes whole pieces: one layer over
    several cores spends a part of them on waiting for each other. Where there are fewer pieces than half the cores,
    the cores work on each piece together.

    Attributes:
        name: as users write it.
        largest: inputs a piece at most.
    """

    name: ClassVar[str]
    largest: int = 1

    def run(self, batch: Tensor) -> Tensor:
        """Return the features of a batch: uint8 (N, ...), N at least 1, to float32 (N, ...) on the CPU."""
        cores = torch.get_num_threads()
        pieces = batch.split(max(1, min(self.largest, -(-len(batch) // cores))))
        if cores == 1:
            found = [self.compute(piece, cores=1) for piece in pieces]
        elif 2 * len(pieces) <= cores:
            found = [self.compute(piece, cores=cores) for piece in pieces]
        else:
            found = list(_one_core_each(cores).map(lambda piece: self.compute(piece, cores=1), pieces))
        return found[0] if len(found) == 1 else torch.cat(found)

    @abstractmethod
    def compute(self, piece: Tensor, *, cores: int) -> Tensor:
        """Return the features of one piece: uint8 (n, ...) to float32 (n, ...) on the CPU.

        Args:
            piece: at most `largest` inputs.
            cores: that work on it.
        """


def engine_name(asked: str | None) -> str:
    """Return the engine of that name; of None the variable MAREY_ENGINE, else "auto".

    Raises:
        UnknownNameError: there is no engine of that name.
    """
    name = asked or os.environ.get("MAREY_ENGINE") or "auto"
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    return name


@cache
def fit_threads() -> int:
    """Lower PyTorch's threads to the usable cores, once a process, and return how many there are.

    PyTorch counts the cores of the affinity alone: in a container with a quota of 2 cores on a machine of 64 it starts
    64 threads, which wait for each other. A set OMP_NUM_THREADS is left as it is.
    """
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())
    return torch.get_num_threads()


@contextmanager
def one_core() -> Iterator[None]:
    """Give the calling thread one core: for work that is too short for several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _one_core_each(cores: int) -> ThreadPoolExecutor:
    """Return a pool of threads in which PyTorch has one thread each."""
    together = threading.Barrier(cores + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        together.wait()

    pool = ThreadPoolExecutor(cores, thread_name_prefix="marey-engine")
    for _ in range(cores):
        pool.submit(begin)
    together.wait()
    torch.set_num_threads(cores)  # what the last one sets is what new threads elsewhere begin with
    return pool
