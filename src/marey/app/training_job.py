"""Process of one training job, which the page starts, watches and stops: `python -m marey.app.training_job JOB`."""

from __future__ import annotations

import _thread
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import filelock

from marey.app.jobs import Job, State, call_at_parent_exit
from marey.commands.train import train
from marey.errors import MareyError
from marey.progress import Reporter, Stage

_INTERVAL: Final = 0.2  # s between two states on disk
_GRACE: Final = 20.0  # s for an orderly end
_MOST_MESSAGES: Final = 40


class _StateWriter(Reporter):
    """Reporter that writes the state of the job to disk."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._noted = 0.0
        self.state = State("running", stage="starting")

    def say(self, sentence: str) -> None:
        self.note(self.state.changed(messages=(*self.state.messages, sentence)[-_MOST_MESSAGES:]))

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        self.note(self.state.changed(stage=title, done=0, total=total, note=""))
        yield _StageWriter(self)

    def note(self, state: State, *, at_once: bool = True) -> None:
        self.state = state
        if at_once or time.monotonic() - self._noted > _INTERVAL:
            self._noted = time.monotonic()
            self._job.write(state)


class _StageWriter(Stage):
    def __init__(self, reporter: _StateWriter) -> None:
        self._reporter = reporter

    def advance(self, done: int, note: str = "") -> None:
        state = self._reporter.state
        self._reporter.note(state.changed(done=done, note=note), at_once=done >= state.total)


def run(job: Job) -> State:
    """Train as the order says, and write the final state."""
    order = job.order()
    reporter = _StateWriter(job)
    reporter.note(reporter.state)
    try:
        result = train(
            str(order.data),
            recipe=order.recipe,
            out=order.out,
            folds=order.folds,
            set=list(order.changes),
            exclude=order.exclude,
            reporter=reporter,
        )
    except KeyboardInterrupt:
        ended = reporter.state.changed(kind="stopped")
    except (MareyError, OSError) as error:
        ended = reporter.state.changed(kind="failed", error=str(error))
    except Exception as error:
        traceback.print_exc()
        ended = reporter.state.changed(kind="failed", error=f"a bug in marey: {error!r}; see {job.log}")
    else:
        ended = reporter.state.changed(kind="done", notes=result.notes)
    reporter.note(ended)
    return ended


def _stop() -> None:
    """Interrupt the training, and exit if that takes too long."""
    _thread.interrupt_main()
    time.sleep(_GRACE)
    os._exit(130)


def main() -> None:
    """Run the job in the folder of the first argument, unless another process runs it."""
    job = Job(Path(sys.argv[1]))
    call_at_parent_exit(_stop)
    try:
        with filelock.FileLock(job.lock, timeout=0):
            run(job)
    except filelock.Timeout:
        sys.exit(f"{job.folder} is already running")


if __name__ == "__main__":
    main()
