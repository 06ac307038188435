"""Start of the processes that train together: by torchrun, by SLURM, or by the command itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Final, NamedTuple

from marey.cores import usable_cores
from marey.errors import LostProcessError, UsageError

_READY: Final = "ready"
_STARTED: Final = "MAREY_TRAINS_ALONG"


class Place(NamedTuple):
    """The place of a process among those that train together.

    Attributes:
        rank: its number, from 0.
        size: number of processes.
        local_rank: its number on its machine.
        local_size: number of processes on each machine.
        address: of the machine of rank 0.
        port: there.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int

    @property
    def node(self) -> int:
        """Return the number of its machine, from 0."""
        return self.rank // self.local_size

    @property
    def threads(self) -> int:
        """Return the number of threads of each process on this machine, where all compute on its CPU."""
        return max(1, usable_cores() // self.local_size)


def several_started() -> bool:
    """Return whether torchrun started this process among several."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1") and "MASTER_ADDR" in os.environ


def given_place(devices: int | None, nodes: int) -> Place | None:
    """Return the place that torchrun or SLURM gives this process; None where neither has started several."""
    from_env = os.environ.get
    try:
        size = int(from_env("WORLD_SIZE", "1"))
        if size > 1 and "MASTER_ADDR" in os.environ:
            local_size = int(from_env("LOCAL_WORLD_SIZE", str(devices or size)))
            place = Place(
                int(os.environ["RANK"]),
                size,
                int(from_env("LOCAL_RANK", "0")),
                local_size,
                os.environ["MASTER_ADDR"],
                int(os.environ["MASTER_PORT"]),
            )
        elif devices is not None and int(from_env("SLURM_NTASKS", "1")) > 1:
            from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

            slurm = SLURMEnvironment(auto_requeue=False)
            size = slurm.world_size()
            place = Place(slurm.global_rank(), size, slurm.local_rank(), devices, slurm.main_address, slurm.main_port)
        else:
            return None
    except (KeyError, ValueError) as error:
        raise UsageError(f"the launcher's variables RANK, WORLD_SIZE and so on are not whole ({error})") from error
    if devices is not None and devices * nodes != place.size:
        raise UsageError(
            f"the launcher started {place.size} processes, and --devices {devices} --nodes {nodes} ask for "
            f"{devices * nodes}"
        )
    return place


def say_ready() -> None:
    """Tell the process that started this one, if one of this command did, that it is about to join."""
    if os.environ.get(_STARTED) == "1":
        print(_READY, flush=True)


class OtherProcess:
    """Another process of this machine, which runs the same command.

    Args:
        place: of that process.
        command: such as "marey", "train", ….
    """

    def __init__(self, place: Place, command: Sequence[str]) -> None:
        variables = {
            "RANK": place.rank,
            "LOCAL_RANK": place.local_rank,
            "WORLD_SIZE": place.size,
            "LOCAL_WORLD_SIZE": place.local_size,
            "MASTER_ADDR": place.address,
            "MASTER_PORT": place.port,
            "OMP_NUM_THREADS": place.threads,
            _STARTED: 1,
        }
        self._rank = place.rank
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by end
        self.process = subprocess.Popen(  # noqa: S603 - this command itself
            [sys.executable, "-m", *command],
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def wait_until_ready(self) -> None:
        """Wait until the process is about to join.

        Raises:
            LostProcessError: it has ended instead.
        """
        assert self.process.stdout is not None  # noqa: S101 - a pipe
        for line in self.process.stdout:
            if line.strip() == _READY:
                return
        raise LostProcessError(f"a process that was to train along has ended{self.fate()}")

    def fate(self) -> str:
        """Say how the process has ended; nothing where it is at work."""
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return ""
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        return f"; process {self._rank} ended with {code}" + (f" and said: {said[-1]}" if said else "")

    def end(self) -> None:
        """Stop the process, if it is still at work."""
        self.process.kill()
        self.process.communicate()
        self._errors.close()


def start_others(size: int, command: Sequence[str]) -> tuple[Place, list[OtherProcess]]:
    """Start all processes but rank 0 on this machine, and wait until each is ready to join.

    Returns:
        The place of this process, of rank 0, and the others.
    """
    place = Place(0, size, 0, size, "127.0.0.1", _free_port())
    others: list[OtherProcess] = []
    try:
        others += [OtherProcess(place._replace(rank=rank, local_rank=rank), command) for rank in range(1, size)]
        for other in others:
            other.wait_until_ready()
    except BaseException:
        for other in others:
            other.end()
        raise
    return place, others


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
