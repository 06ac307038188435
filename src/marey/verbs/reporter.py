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


SILENT = Reporter()
