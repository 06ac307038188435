"""Trainings that outlive a page: ordered and watched through files, so that a reload loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

import filelock

from marey.app.storage import new_folder
from marey.errors import UsageError
from marey.whole_file import write_whole

Kind = Literal["waiting", "running", "stopped", "failed", "done"]

_STATE: Final = "state.json"
_ORDER: Final = "order.json"
_GOING: Final = 30.0  # s
_CLOSED: Final = ".closed"
_STARTED: dict[Path, subprocess.Popen[bytes]] = {}
"""The processes of this server, by their job's folder."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to train.

    Attributes:
        data: the manifest.
        out: the run's folder.
        recipe: its name.
        changes: key=value, to the recipe.
        folds: as for `marey train`.
        exclude: a quarantine list.
    """

    data: Path
    out: Path
    recipe: str = "default"
    changes: tuple[str, ...] = ()
    folds: str | None = None
    exclude: Path | None = None


@dataclass(frozen=True, slots=True)
class State:
    """How far a training has come.

    Attributes:
        kind: "stopped" ones can go on, "failed" ones say why in `message`.
        stage: what is being done.
        done: steps of that.
        total: steps in all.
        note: what is worth knowing beside the count.
        sentences: what the training has said.
        message: why it failed.
        notes: what should be known beside the result.
    """

    kind: Kind
    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    sentences: tuple[str, ...] = ()
    message: str = ""
    notes: tuple[str, ...] = ()

    def changed(self, **values: Any) -> Self:
        """The same but for the named values."""
        return replace(self, **values)


class Job:
    """A training, in a folder.

    Args:
        folder: with its order, state and log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.lock = folder / ".lock"
        self.log = folder / "log.txt"

    def give(self, order: Order) -> None:
        """Write down what to train."""
        values = asdict(order)
        for key in ("data", "out", "exclude"):
            values[key] = None if values[key] is None else str(values[key])
        (self.folder / _ORDER).write_text(json.dumps(values, indent=1), encoding="utf-8")

    def order(self) -> Order:
        """What is trained."""
        values = json.loads((self.folder / _ORDER).read_text(encoding="utf-8"))
        exclude = values.pop("exclude")
        return Order(
            data=Path(values.pop("data")),
            out=Path(values.pop("out")),
            changes=tuple(values.pop("changes")),
            exclude=None if exclude is None else Path(exclude),
            **values,
        )

    def state(self) -> State:
        """How far it has come; one whose process is gone, whatever ended it, is stopped and not running."""
        try:
            values = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return State("stopped")
        state = State(**{**values, "sentences": tuple(values["sentences"]), "notes": tuple(values["notes"])})
        if state.kind in ("waiting", "running") and not self._alive():
            return state.changed(kind="stopped")
        return state

    def write(self, state: State) -> None:
        """Keep a state, whole."""
        write_whole(self.folder / _STATE, json.dumps(asdict(state)))

    def start(self) -> None:
        """Begin, or go on after a stop.

        Raises:
            UsageError: it is at work already.
        """
        if self._alive():
            self._await_end()
        if self._alive():
            raise UsageError(f"the training '{self.name}' is at work already")
        self.write(State("waiting", stage="starting"))
        with self.log.open("ab") as log:
            _STARTED[self.folder] = subprocess.Popen(  # noqa: S603 - our own module, in the same Python
                [sys.executable, "-m", "marey.app.training_job", str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        """Ask it to end: what is finished is kept, and `start` goes on from there."""
        process = _STARTED.get(self.folder)
        if process is not None and process.stdin is not None:
            process.stdin.close()

    def _await_end(self) -> None:
        """A process that has said how it ends needs a moment to be gone."""
        process, kind = _STARTED.get(self.folder), self.state().kind
        if process is not None and kind not in ("waiting", "running"):
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GOING)

    def close(self) -> None:
        """Take it off the page; its files stay."""
        (self.folder / _CLOSED).touch()

    def _alive(self) -> bool:
        process = _STARTED.get(self.folder)
        if process is not None and process.poll() is None:
            return True
        lock = filelock.FileLock(self.lock, timeout=0)
        try:
            with lock:
                return False
        except filelock.Timeout:
            return True  # a server that was started beside this one


def new_job(jobs: Path, name: str) -> Job:
    """A job with a folder of its own, and no order yet."""
    jobs.mkdir(parents=True, exist_ok=True)
    folder = new_folder(jobs, name)
    folder.mkdir()
    return Job(folder)


def find_jobs(jobs: Path) -> list[Job]:
    """The trainings that were ordered and not closed, the latest first."""
    orders = sorted(jobs.glob(f"*/{_ORDER}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [Job(path.parent) for path in orders if not (path.parent / _CLOSED).exists()]


def trainings_done(order: Order) -> int:
    """How many trainings of a run have ended: one a round, and one more for each model that is handed over."""
    return len(list(order.out.glob("folds/**/metrics.csv")))


def running(jobs: Sequence[Job]) -> Job | None:
    """The one that is at work, if any."""
    return next((job for job in jobs if job.state().kind in ("waiting", "running")), None)
