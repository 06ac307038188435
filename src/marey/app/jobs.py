"""Training jobs of the app: files hold their orders and states, so that a reload of the page loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

import filelock

from marey.app.storage import new_folder
from marey.atomic import write_atomic
from marey.errors import UsageError
from marey.training import DEFAULT_RECIPE, load_recipe

Kind = Literal["waiting", "running", "stopped", "failed", "done"]

_STATE: Final = "state.json"
_ORDER: Final = "order.json"
_EXIT_TIME: Final = 30.0  # s
_CLOSED: Final = ".closed"
_STARTED: dict[Path, subprocess.Popen[bytes]] = {}
"""The processes of this server, by their job's folder."""


@dataclass(frozen=True, slots=True)
class Order:
    """Arguments of a training.

    Attributes:
        data: the manifest.
        out: folder of the run.
        recipe: name of a recipe.
        changes: changes to the recipe, `key=value`.
        folds: as for `marey train`.
        exclude: quarantine list.
    """

    data: Path
    out: Path
    recipe: str = DEFAULT_RECIPE
    changes: tuple[str, ...] = ()
    folds: str | None = None
    exclude: Path | None = None


@dataclass(frozen=True, slots=True)
class State:
    """State of a training.

    Attributes:
        kind: a "stopped" training can be resumed; a "failed" one has an `error`.
        stage: name of the running stage.
        done: finished steps of the stage.
        total: steps of the stage.
        note: shown beside the count.
        messages: messages of the training.
        error: why it failed.
        notes: notes on the result.
    """

    kind: Kind
    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    messages: tuple[str, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()

    def changed(self, **values: Any) -> Self:
        """Return the state with other values."""
        return replace(self, **values)


class Job:
    """A training job in a folder.

    Args:
        folder: of its order, state and log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.lock = folder / ".lock"
        self.log = folder / "log.txt"

    def write_order(self, order: Order) -> None:
        """Write the arguments of the training."""
        values = asdict(order)
        for key in ("data", "out", "exclude"):
            values[key] = None if values[key] is None else str(values[key])
        (self.folder / _ORDER).write_text(json.dumps(values, indent=1), encoding="utf-8")

    def order(self) -> Order:
        """Read the arguments of the training."""
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
        """Read the state; a job whose process has ended without a result is stopped."""
        try:
            values = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return State("stopped")
        state = State(**{**values, "messages": tuple(values["messages"]), "notes": tuple(values["notes"])})
        if state.kind in ("waiting", "running") and not self._alive():
            return state.changed(kind="stopped")
        return state

    def write(self, state: State) -> None:
        """Write a state atomically."""
        write_atomic(self.folder / _STATE, json.dumps(asdict(state)))

    def start(self) -> None:
        """Start the training, or resume it.

        Raises:
            UsageError: it is running.
        """
        if self._alive():
            self._await_end()
        if self._alive():
            raise UsageError(f"the training '{self.name}' is already running")
        self.write(State("waiting", stage="starting"))
        with self.log.open("ab") as log:
            _STARTED[self.folder] = subprocess.Popen(  # noqa: S603 - our own module, in the same Python
                [sys.executable, "-m", "marey.app.training_job", str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        """Ask the process to end: finished parts are kept, and `start` resumes."""
        process = _STARTED.get(self.folder)
        if process is not None and process.stdin is not None:
            process.stdin.close()

    def _await_end(self) -> None:
        """Wait for a process that has written its last state but has not ended yet."""
        process, kind = _STARTED.get(self.folder), self.state().kind
        if process is not None and kind not in ("waiting", "running"):
            with suppress(subprocess.TimeoutExpired):
                process.wait(_EXIT_TIME)

    def close(self) -> None:
        """Remove the job from the page; its files stay."""
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
            return True  # of another server


def call_at_parent_exit(end: Callable[[], None]) -> None:
    """Call a function on a thread when the parent process closes our standard input, or is gone."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):  # unbuffered: the lock of a buffer would be held while Python exits
            pass
        end()

    threading.Thread(target=wait, daemon=True).start()


def new_job(jobs: Path, name: str) -> Job:
    """Return a job in a new folder, without an order."""
    jobs.mkdir(parents=True, exist_ok=True)
    folder = new_folder(jobs, name)
    folder.mkdir()
    return Job(folder)


def find_jobs(jobs: Path) -> list[Job]:
    """Return the jobs with an order that are not closed, newest first."""
    orders = sorted(jobs.glob(f"*/{_ORDER}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [Job(path.parent) for path in orders if not (path.parent / _CLOSED).exists()]


def trainings_done(order: Order) -> int:
    """Return the number of finished trainings of a run: the inner folds', and one for each final model.

    Logistic regressions take no time worth a step: of them the final models are counted.
    """
    if load_recipe(order.recipe, changes=order.changes).training.solver == "logistic":
        return len(list(order.out.glob("folds/*/training.json")))
    return len(list(order.out.glob("folds/**/metrics.csv")))


def running(jobs: Sequence[Job]) -> Job | None:
    """Return the running job, if any."""
    return next((job for job in jobs if job.state().kind in ("waiting", "running")), None)
