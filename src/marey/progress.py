"""How long work says where it is, without knowing a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Stage:
    """One piece of work that can be counted."""

    def advance(self, done: int, note: str = "") -> None:
        """So much is done; the note says what is worth knowing beside it."""


class Reporter:
    """Hears what a verb is doing; this one keeps it to itself."""

    def say(self, sentence: str) -> None:
        """Something that the person should know."""

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        """A piece of work with so many steps."""
        yield Stage()


class Once(Reporter):
    """Passes each sentence on once: for work that is done several times over on the same clips.

    Args:
        reporter: who hears it.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._said: set[str] = set()

    def say(self, sentence: str) -> None:
        """Something that the person should know."""
        if sentence not in self._said:
            self._said.add(sentence)
            self._reporter.say(sentence)

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        """A piece of work with so many steps."""
        with self._reporter.stage(title, total) as stage:
            yield stage


SILENT = Reporter()
