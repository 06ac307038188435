"""What is measured, how it is summed up, and on which machine."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Setting:
    """What every benchmark is given.

    Attributes:
        data: the folder of the real clips.
        work: an empty folder, which goes when the run is over.
        repeat: measurements of what takes seconds.
        repeat_cold: measurements of what decodes and encodes the whole data set.
        device: that `gpu` measures.
        quick: whether `gpu` takes the least of everything, to try the way.
        left_out: what could not be measured here, and why; each benchmark writes its own.
    """

    data: Path
    work: Path
    repeat: int
    repeat_cold: int
    device: str = "cuda"
    quick: bool = False
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """One figure, measured once or more.

    Attributes:
        name: what.
        runs: each measurement.
        unit: of the runs.
        at_most: the target, where less is better.
        at_least: the target, where more is better.
        note: what has to be known beside the figure, in a sentence.
    """

    name: str
    runs: tuple[float, ...]
    unit: str = "s"
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)

    @property
    def spread(self) -> float | None:
        """(largest - smallest) / median; None of a single run, which says nothing of it."""
        return (max(self.runs) - min(self.runs)) / self.value if len(self.runs) > 1 else None

    @property
    def target(self) -> float | None:
        """The number that it is held against, if any."""
        return self.at_least if self.at_most is None else self.at_most

    @property
    def holds(self) -> bool:
        """Whether the target is reached."""
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and give its standard output.

    Raises:
        SystemExit: it failed; with what it wrote to standard error.
    """
    done = subprocess.run(  # noqa: S603 - commands of the benchmark itself
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Features are kept in this folder for a while."""
    before = os.environ.get("MAREY_CACHE")
    os.environ["MAREY_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MAREY_CACHE"]
        else:
            os.environ["MAREY_CACHE"] = before


def machine() -> dict[str, Any]:
    """Processor, cores, threads and versions, and how busy others keep the machine."""
    import torch

    from marey.commands.steps.results import versions
    from marey.cores import machine_cores, usable_cores

    return {
        "cpu": _cpu_model(),
        "cores": machine_cores(),
        "cores_allowed": usable_cores(),
        "threads": torch.get_num_threads(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "versions": versions()["versions"],
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
