"""Processes that train one model together, each on a device of its own.

One of them, of rank 0, runs the command; the others read the same clips, and take part in each of its trainings.
"""

from __future__ import annotations

import logging
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from types import ModuleType
from typing import Any, Final, Literal

import torch
from torch import Tensor

from marey.errors import LostProcessError, UsageError, first_line
from marey.extras import install_command
from marey.training.batches import Part
from marey.training.launcher import OtherProcess, Place, given_place, say_ready, start_others

FABRIC_PRECISION: Final[dict[str, Literal["32-true", "bf16-mixed"]]] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",
}
"""Precision of a recipe -> its name in Lightning Fabric."""

_WAIT: Final = timedelta(days=30)  # of the others for rank 0, which reads clips, tests and writes between trainings
_LEAVE: Final = 30.0  # s
_LOST: Final = ("connection closed", "connection reset", "gloo", "nccl", "broken pipe")


class ProcessGroup:
    """Processes that train together, over Lightning Fabric.

    Args:
        place: of this process.
        device: "cpu", or "cuda" for the GPU of the local rank.
        precision: "float32" or "bfloat16".

    Attributes:
        rank: the number of this process; 0 decides, and writes.
        size: number of processes.
        part: of the clips of every batch that is this process's.
        device: of this process, such as "cuda:1".
        fabric: Lightning Fabric, launched.
        has_clips: whether this process has clips of its own in the batch at hand.
    """

    def __init__(self, place: Place, *, device: str, precision: str) -> None:
        fabric = lightning_fabric()
        from lightning.fabric.strategies.ddp import DDPStrategy

        self.rank, self.size = place.rank, place.size
        self.part = Part(place.rank, place.size)
        self.device = f"cuda:{place.local_rank}" if device == "cuda" else device
        self.has_clips = True
        self._place = place
        self._threads = torch.get_num_threads()
        if device == "cpu":
            torch.set_num_threads(place.threads)
        try:
            self.fabric = fabric.Fabric(
                accelerator="gpu" if device == "cuda" else "cpu",
                devices=place.local_size,
                num_nodes=place.size // place.local_size,
                strategy=DDPStrategy(static_graph=True),
                precision=FABRIC_PRECISION[precision],
                plugins=[_environment(place)],
            )
            with silent_lightning():
                self.fabric.launch()
            self._control: Any = torch.distributed.new_group(backend="gloo", timeout=_WAIT)
        except (RuntimeError, ValueError) as error:
            raise UsageError(
                f"process {place.rank} of {place.size} cannot join the others at {place.address}:{place.port} "
                f"({first_line(error)})"
            ) from error

    def seed_of(self, seed: int) -> int:
        """Return the seed of this process from that of all, so that dropout differs; rank 0 has that of one process."""
        return seed + self.rank * 7_919_000_003

    def send(self, value: Any) -> None:
        """Hand a value to all others."""
        self._broadcast([value])

    def receive(self) -> Any:
        """Return the value that rank 0 sends, however long that takes."""
        received: list[Any] = [None]
        self._broadcast(received)
        return received[0]

    def share(self, value: Any) -> Any:
        """Return the value of rank 0 in all processes."""
        if self.rank:
            return self.receive()
        self.send(value)
        return value

    def require_same(self, name: str, value: object) -> None:
        """Compare what all processes have read.

        Raises:
            UsageError: one has read something else.
        """
        each = self.gather(value)
        for rank, found in enumerate(each):
            if found != each[0]:
                raise UsageError(
                    f"process {rank} has other {name} than process 0: on all machines the same files must lie there"
                )

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in the order of their ranks, in each."""
        found: list[Any] = [None] * self.size
        with fault_of_others():
            torch.distributed.all_gather_object(found, value, group=self._control)
        return found

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the processes, on the CPU."""
        total = values.detach().cpu().double()
        with fault_of_others():
            torch.distributed.all_reduce(total, group=self._control)
        return total

    def finish(self, result: Any) -> None:
        """Tell all others that no training follows, and hand them the result."""
        self.send(None)
        self.send(result)

    @contextmanager
    def take_turns(self) -> Iterator[None]:
        """Wait for the turn of this process to read: rank 0, one process of each other machine, then all others.

        So what is not in a cache yet is computed once on each machine, or once in all where the cache is shared.
        """
        turn = 2 if self._place.local_rank else min(self._place.node, 1)
        for _ in range(turn):
            self._wait_for_all()
        yield
        for _ in range(2 - turn):
            self._wait_for_all()

    def close(self) -> None:
        """Leave the group."""
        torch.distributed.destroy_process_group()
        torch.set_num_threads(self._threads)

    def _wait_for_all(self) -> None:
        with fault_of_others():
            torch.distributed.barrier(group=self._control)

    def _broadcast(self, values: list[Any]) -> None:
        with fault_of_others():
            torch.distributed.broadcast_object_list(values, src=0, group=self._control)


@contextmanager
def process_group(
    *, devices: int | None, nodes: int, device: str, precision: str, command: Sequence[str]
) -> Iterator[ProcessGroup | None]:
    """Join the processes that train together; None where this one trains alone.

    torchrun and SLURM (`srun`) start the processes themselves. Otherwise this one is of rank 0, and starts the others
    on this machine with the same command; they end with it.

    Args:
        devices: number of processes on each machine; by default as many as torchrun started, else one.
        nodes: number of machines.
        device: "cpu" or "cuda".
        precision: "float32" or "bfloat16".
        command: of this call, such as "marey", "train", ….

    Raises:
        UsageError: the numbers cannot be had.
        LostProcessError: one of the others has ended.
    """
    for name, value in (("--devices", devices), ("--nodes", nodes)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: at least 1 is needed")
    place = given_place(devices, nodes)
    if place is None and nodes > 1:
        raise UsageError(
            f"--nodes {nodes} needs a launcher that starts the command on each machine: "
            f"torchrun --nnodes {nodes} --nproc-per-node {devices or 1} … -m marey train …, or srun"
        )
    if place is None and (devices is None or devices == 1):
        yield None
        return
    local = place.local_size if place is not None else int(devices or 1)
    if device == "cuda" and local > torch.cuda.device_count():
        raise UsageError(
            f"--devices {local}, and PyTorch sees {torch.cuda.device_count()} GPUs here: write at most so many, "
            "or --device cpu"
        )
    others: list[OtherProcess] = []
    if place is None:
        place, others = start_others(local, command)
    else:
        say_ready()
    group = None
    try:
        group = ProcessGroup(place, device=device, precision=precision)
        yield group
        for other in others:
            with suppress(subprocess.TimeoutExpired):
                other.process.wait(_LEAVE)
    except LostProcessError as error:
        raise LostProcessError(f"{error}{''.join(other.fate() for other in others)}") from error
    finally:
        for other in others:
            other.end()
        if group is not None:
            group.close()


@contextmanager
def taking_turns(group: ProcessGroup | None) -> Iterator[None]:
    """Read, inside the `with`, when it is this process's turn; see `ProcessGroup.take_turns`."""
    with nullcontext() if group is None else group.take_turns():
        yield


def _environment(place: Place) -> Any:
    """Return what Fabric asks about the place of this process."""
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment

    class Environment(LightningEnvironment):
        creates_processes_externally = True
        main_address = place.address
        main_port = place.port

        def local_rank(self) -> int:
            return place.local_rank

        def node_rank(self) -> int:
            return place.node

        def teardown(self) -> None:
            """Leave the variables of this process as they are."""

    return Environment()


@contextmanager
def fault_of_others() -> Iterator[None]:
    """Turn the error of a connection that is cut into one that says so.

    Raises:
        LostProcessError: another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if isinstance(error, torch.distributed.DistError) or any(word in text for word in _LOST):
            raise LostProcessError(
                "another process of this training has ended; the same command goes on from the last checkpoint"
            ) from error
        raise


def lightning_fabric() -> ModuleType:
    """Return Lightning Fabric.

    Raises:
        UsageError: it is not installed; the message has the line that installs it.
    """
    try:
        import lightning.fabric
    except ImportError as error:
        raise UsageError(
            f"networks on frames are trained on Lightning Fabric, which is not installed: {install_command('networks')}"
        ) from error
    return lightning.fabric


@contextmanager
def silent_lightning() -> Iterator[None]:
    """Hide Lightning's advice on devices and precision, and what it says of processes."""
    lightning_fabric()  # which sets the levels
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
