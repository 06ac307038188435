"""One training in a process of its own, which the page starts, watches and stops.

Run as `python -m marey.app.training_job JOB`.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import filelock

from marey.app.jobs import Job, State
from marey.commands.train import train
from marey.errors import MareyError
from marey.progress import Reporter, Stage

_EVERY: Final = 0.2  # s between two notes of how far it is
_GRACE: Final = 20.0  # s for an orderly end
_MOST_SENTENCES: Final = 40


class _Written(Reporter):
    """A reporter that keeps the job's state on disk."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._noted = 0.0
        self.state = State("running", stage="starting")

    def say(self, sentence: str) -> None:
        sentences = (*self.state.sentences, sentence)[-_MOST_SENTENCES:]
        self.note(self.state.changed(sentences=sentences))

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        self.note(self.state.changed(stage=title, done=0, total=total, note=""))
        yield _Counted(self)

    def note(self, state: State, *, at_once: bool = True) -> None:
        self.state = state
        if at_once or time.monotonic() - self._noted > _EVERY:
            self._noted = time.monotonic()
            self._job.write(state)


class _Counted(Stage):
    def __init__(self, reporter: _Written) -> None:
        self._reporter = reporter

    def advance(self, done: int, note: str = "") -> None:
        state = self._reporter.state
        self._reporter.note(state.changed(done=done, note=note), at_once=done >= state.total)


def run(job: Job) -> State:
    """Train as the job's order says, and write down how it ends."""
    order = job.order()
    reporter = _Written(job)
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
        ended = reporter.state.changed(kind="failed", message=str(error))
    except Exception as error:
        traceback.print_exc()
        ended = reporter.state.changed(kind="failed", message=f"a fault of marey: {error!r}; see {job.log}")
    else:
        ended = reporter.state.changed(kind="done", notes=result.notes)
    reporter.note(ended)
    return ended


def _end_with_parent() -> None:
    """Stop when the page closes our standard input, or is no more."""
    while os.read(sys.stdin.fileno(), 1):  # no buffer, whose lock would be held when Python ends
        pass
    _thread.interrupt_main()
    time.sleep(_GRACE)
    os._exit(130)


def main() -> None:
    """Run the job whose folder is the argument, unless another process does."""
    job = Job(Path(sys.argv[1]))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with filelock.FileLock(job.lock, timeout=0):
            run(job)
    except filelock.Timeout:
        sys.exit(f"{job.folder} is at work already")


if __name__ == "__main__":
    main()
