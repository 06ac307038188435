"""Progress reporting, independent of the user interface."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stage:
    """One piece of work that can be counted."""

    def advance(self, done: int, note: str = "") -> None:
        """Report how much is done; the note is shown beside it."""


class Reporter:
    """Receives the progress of a command; this one discards it."""

    def say(self, sentence: str) -> None:
        """Report something that the user should know."""

    def warn(self, sentence: str) -> None:
        """Report something that the user should act on."""
        self.say(sentence)

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        """Report a piece of work with so many steps."""
        yield Stage()


class Once(Reporter):
    """Passes each sentence on once: for work that is repeated on the same clips.

    Args:
        reporter: receives the sentences and the stages.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._seen: set[str] = set()

    def say(self, sentence: str) -> None:
        """Pass a sentence on, the first time."""
        if sentence not in self._seen:
            self._seen.add(sentence)
            self._reporter.say(sentence)

    def warn(self, sentence: str) -> None:
        """Pass a warning on, the first time."""
        if sentence not in self._seen:
            self._seen.add(sentence)
            self._reporter.warn(sentence)

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        """Pass a stage on."""
        with self._reporter.stage(title, total) as stage:
            yield stage


SILENT = Reporter()
"""Discards all progress."""

AUTO = Reporter()
"""The default of the commands: progress bars in a terminal or a notebook, nothing elsewhere."""

_interactive: Callable[[], Reporter] = lambda: SILENT  # noqa: E731 - replaced by the package, which has an interface


def use_interactive(make: Callable[[], Reporter]) -> None:
    """Set what makes the reporter of a terminal or a notebook; nothing here knows one."""
    global _interactive
    _interactive = make


def resolve(reporter: Reporter) -> Reporter:
    """Return the reporter itself, or for AUTO the one that suits where Python runs."""
    if reporter is not AUTO:
        return reporter
    watched = sys.stderr is not None and sys.stderr.isatty()
    return _interactive() if watched or "ipykernel" in sys.modules else SILENT
