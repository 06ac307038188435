"""Pool of actors: items out, results back; an item that kills its actor is found, and costs only itself.

Plain actors, and not Ray Data: there a block whose actor dies is tried again as it is, until the job fails or the block
is dropped, and nothing says which of its rows was at fault. Here what a dead actor had in hand is tried item by item.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic

from marey.cluster.connection import Connection
from marey.cluster.worker import Batch, Item, Refusal, Result, Started, Work, Worker
from marey.errors import InputError, MareyError, UsageError, first_line
from marey.version import __version__

_AHEAD: Final = 2  # batches an actor has in hand: the second hides the way there and back
_LARGEST: Final = 64  # items of a batch
_BATCH_SECONDS: Final = 0.5  # what a batch shall take
_TRIES_ALONE: Final = 2  # one may be killed for another reason than its item
_START_FAILURES: Final = 3  # in a row, after which no more actors are started
_LOOK: Final = 5.0  # s between two looks at the size of the cluster
_PATIENCE: Final = 30.0  # s after which it is said that no actor has started
_NODE_DIED: Final = "its node has died"  # words of Ray
_NODE_GONE: Final = "its node is gone"
_PASSED_ON: Final = ("MAREY_REMOTE_HASH", "MAREY_PLUGINS")


@dataclass(frozen=True, slots=True)
class Crashed:
    """The result of an item that killed its actor, alone as well.

    Attributes:
        detail: what is known of it.
    """

    detail: str


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a node that an actor takes.

    Attributes:
        cpus: cores, each with a thread that decodes.
        gpus: 0 to encode on the CPU; 0.5 for two actors a GPU.
    """

    cpus: int = 1
    gpus: float = 0.0

    def actors_on(self, cpus: float, gpus: float) -> int:
        """Return how many actors fit on a node."""
        by_cpu = int(cpus // self.cpus)
        return min(by_cpu, int(gpus / self.gpus + 1e-6)) if self.gpus else by_cpu


@dataclass(eq=False, slots=True)
class _Actor:
    """An actor and what it has in hand.

    Attributes:
        handle: of Ray.
        starting: the call that loads the encoder; None once it is ready.
        node: where it runs; empty until it is ready.
        tasks: call -> places of its items.
        alone: True if it has one item that is tried alone.
    """

    handle: Any
    starting: Any | None
    node: str = ""
    tasks: dict[Any, list[int]] = field(default_factory=dict)
    alone: bool = False


class Pool(Generic[Item, Result]):
    """Actors of one kind on a cluster.

    Args:
        connection: to the cluster.
        make: makes the work of an actor, there.
        share: what an actor takes of its node.
        actors: how many; by default as many as fit, also as nodes come.
        say: called with remarks for the user, such as that no actor has started yet.

    Attributes:
        lost: number of actors that died.
    """

    def __init__(
        self,
        connection: Connection,
        make: Callable[[], Work[Item, Result]],
        *,
        share: Share = Share(),
        actors: int | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._connection = connection
        self._ray = connection.ray
        settings = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        options: dict[str, float] = {"num_cpus": share.cpus, "max_restarts": 0, "max_task_retries": 0}
        if share.gpus:
            options["num_gpus"] = share.gpus
        self._remote = self._ray.remote(Worker).options(**options)
        self._arguments = self._ray.put(make), settings
        self._share = share
        self._asked = actors
        self._say = say
        self._said: set[str] = set()
        self._actors: list[_Actor] = []
        self._tries: dict[int, int] = {}
        self._suspects: deque[int] = deque()
        self._seconds = 0.0  # an item, of late; 0 until the first batch is back
        self._failures = 0
        self._looked = -_LOOK
        self._wanted = 0
        self.lost = 0

    def run(self, items: Sequence[Item]) -> Generator[tuple[int, Result | Crashed], None, None]:
        """Yield each item's place with its result, as they come.

        Memory holds what the actors have in hand, whatever the number of items.

        Raises:
            UsageError: no node can hold an actor; marey differs there; or wrong use that only an actor sees.
            InputError: the actors do not start, or an actor found an input that stops the run.
        """
        rest: Iterator[int] = iter(range(len(items)))
        left = len(items)
        began = time.monotonic()
        try:
            while left:
                self._grow(left)
                rest = self._submit(rest, items, left)
                calls = {call: actor for actor in self._actors for call in (actor.starting, *actor.tasks) if call}
                ready, _ = self._ray.wait(list(calls), num_returns=1, timeout=_LOOK)
                if not ready and time.monotonic() - began > _PATIENCE and all(each.starting for each in self._actors):
                    self._remark("no actor has started yet: the cluster may be busy with other work (`ray status`)")
                for call in ready:
                    actor = calls[call]
                    if actor not in self._actors:
                        continue
                    for place, result in self._take(actor, call):
                        left -= 1
                        yield place, result
        finally:
            self.close()

    def close(self) -> None:
        """End all actors."""
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._actors.clear()

    def _grow(self, left: int) -> None:
        """Start actors up to the number that the cluster holds."""
        now = time.monotonic()
        if now - self._looked >= _LOOK:
            self._looked = now
            nodes = self._connection.nodes()
            fits = sum(self._share.actors_on(node.cpus, node.gpus) for node in nodes)
            if not fits and self._asked is None and not self._wanted:
                gpus = f" and {self._share.gpus:g} GPU" if self._share.gpus else ""
                raise UsageError(
                    f"none of the {len(nodes)} nodes of the cluster has {self._share.cpus} CPUs{gpus} for an actor: "
                    "start nodes that have them (`ray start --num-cpus N`), or change --device and --gpu-share"
                )
            self._wanted = self._asked or max(fits, 1)
        while len(self._actors) < min(self._wanted, left) and self._failures < _START_FAILURES:
            handle = self._remote.remote(*self._arguments)
            self._actors.append(_Actor(handle, handle.start.remote()))

    def _submit(self, rest: Iterator[int], items: Sequence[Item], left: int) -> Iterator[int]:
        """Give the actors work, first what is tried alone; return the iterator of what is left."""
        for actor in self._actors:
            if actor.starting is not None or actor.alone:
                continue
            if self._suspects:
                if not actor.tasks:
                    actor.alone = True
                    self._give(actor, [self._suspects.popleft()], items)
                continue
            while len(actor.tasks) < _AHEAD:
                places = [place for _, place in zip(range(self._size(left)), rest, strict=False)]
                if not places:
                    break
                self._give(actor, places, items)
        return rest

    def _give(self, actor: _Actor, places: list[int], items: Sequence[Item]) -> None:
        actor.tasks[actor.handle.run.remote([items[place] for place in places])] = places

    def _size(self, left: int) -> int:
        """Return the number of items of the next batch: a fair part of what is left at the end."""
        few = self._share.cpus  # a thread each
        fitting = int(_BATCH_SECONDS / self._seconds) if self._seconds else few
        return max(1, min(_LARGEST, max(few, fitting), left // (2 * _AHEAD * max(1, len(self._actors)))))

    def _take(self, actor: _Actor, call: Any) -> Iterator[tuple[int, Result | Crashed]]:
        """Yield the results of a call that has ended, if it has any; replace an actor that has died."""
        errors = self._ray.exceptions
        try:
            found = self._ray.get(call)
        except errors.RayTaskError as error:
            if type(error.cause).__name__ != "OutOfMemory":
                if _is_stale(error):
                    raise _no_marey(error) from error
                raise
            yield from self._lose(actor, f"out of memory: {first_line(error.cause)}")
            return
        except errors.RayError as error:
            if call == actor.starting:  # a Ray Client gives other objects for the same call
                self._fail_to_start(actor, error)
            else:
                yield from self._lose(actor, _why(error))
            return
        if isinstance(found, Refusal):
            raise (UsageError if found.usage else InputError)(found.text)
        if call == actor.starting:  # a Ray Client gives other objects for the same call
            self._begin(actor, found)
            return
        places = actor.tasks.pop(call)
        actor.alone = False
        yield from zip(places, self._results(found, len(places)), strict=True)

    def _begin(self, actor: _Actor, started: Started) -> None:
        if started.version != __version__:
            raise UsageError(
                f"a node of the cluster has marey {started.version}, and this is {__version__}: install the same there"
            )
        actor.starting, actor.node = None, started.node
        self._failures = 0
        if started.note:
            self._remark(started.note)

    def _results(self, batch: Batch[Result], count: int) -> Sequence[Result]:
        each = batch.seconds / count
        self._seconds = each if not self._seconds else 0.5 * (self._seconds + each)
        return batch.results

    def _fail_to_start(self, actor: _Actor, error: Exception) -> None:
        self._drop(actor)
        if _is_stale(error):
            raise _no_marey(error)
        self._failures += 1
        if self._failures >= _START_FAILURES and not self._actors:
            raise InputError(
                f"{self._failures} actors in a row died while they loaded the encoder ({_why(error)}): mostly the node "
                "has too little memory for so many; take fewer with --actors N"
            )

    def _lose(self, actor: _Actor, why: str) -> Iterator[tuple[int, Crashed]]:
        """Forget a dead actor; what it had in hand is tried alone, and given up after that."""
        self.lost += 1
        self._drop(actor)
        blamed = actor.alone and why != _NODE_GONE and self._is_alive(actor.node)
        for place in (place for places in actor.tasks.values() for place in places):
            if blamed:
                self._tries[place] = self._tries.get(place, 0) + 1
                if self._tries[place] >= _TRIES_ALONE:
                    yield place, Crashed(f"the process that read it alone died {_TRIES_ALONE} times: {why}")
                    continue
            self._suspects.append(place)

    def _drop(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        self._ray.kill(actor.handle)  # it may only be out of reach
        self._looked = -_LOOK  # its node may be gone

    def _is_alive(self, node: str) -> bool:
        return any(each.id == node for each in self._connection.nodes())

    def _remark(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def _why(error: Exception) -> str:
    """Return the cause of a death in a line."""
    if _NODE_DIED in str(error):
        return _NODE_GONE
    if type(error).__name__ == "OutOfMemoryError":
        return "out of memory"
    return "it ended as after a segmentation fault, or for lack of memory"


def _is_stale(error: Exception) -> bool:
    return "No module named 'marey" in str(error)


def _no_marey(error: Exception) -> MareyError:
    return UsageError(
        "a node of the cluster cannot import marey: install it there, in the environment that `ray start` runs in, in "
        "the same version"
    )
