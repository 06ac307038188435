"""The screen: sentences and progress while a command runs, and its answer at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import singledispatchmethod
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from marey.cli.plain_text import visible
from marey.commands.registry import Line
from marey.commands.registry import Table as PlainTable
from marey.commands.steps.live import LivePredictions
from marey.progress import SILENT, Reporter, Stage

_STYLES: Final = {"plain": "", "strong": "bold", "note": "dim", "good": "green", "warning": "yellow", "fault": "red"}
_LONGEST_PATH: Final = 26  # columns of a terminal


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="cyan")


class _Bar(Stage):
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, done: int, note: str = "") -> None:
        self._progress.update(self._task, completed=done, note=visible(note))


class _TerminalReporter(Reporter):
    """Prints sentences and progress bars to standard error; standard output is for the answer."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, sentence: str) -> None:
        self._console.print(Text(visible(sentence), style="dim"), soft_wrap=True)

    def warn(self, sentence: str) -> None:
        self._console.print(Text(visible(f"warning: {sentence}"), style="yellow"), soft_wrap=True)

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )
        silent = not self._console.is_terminal  # a log file would get an empty line per stage
        with Progress(*columns, console=self._console, transient=True, disable=silent) as progress:
            yield _Bar(progress, progress.add_task(visible(title), total=total, note=""))


class Screen:
    """Standard output for answers, standard error for the rest.

    Args:
        quiet: print nothing but the answer.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._out = Console(highlight=False)

    def reporter(self) -> Reporter:
        """Return the reporter of the commands."""
        return SILENT if self._quiet else _TerminalReporter(Console(stderr=True, highlight=False))

    def show(self, items: Iterable[Any]) -> None:
        """Show the lines, tables and results that a command made of its answer."""
        for item in items:
            self._draw(item)

    def show_written(self, paths: Iterable[Path]) -> None:
        """Show the files that were written."""
        self.show(f"written   {path}" for path in paths)

    @singledispatchmethod
    def _draw(self, item: Any) -> None:
        """Draw a result for which there is a table; its class needs the heavy packages."""
        from marey.cli.tables import comparison_table, metrics_table, untrimmed_table
        from marey.evaluation import Metrics

        if isinstance(item, Metrics):
            self._print_table(metrics_table(item))
        elif isinstance(item, tuple):
            self._print_table(comparison_table(item))
        else:
            self._print_table(untrimmed_table(item))

    @_draw.register
    def _(self, item: str) -> None:
        self._draw(Line(item))

    @_draw.register
    def _(self, item: Line) -> None:
        self._out.print(_text(item), soft_wrap=True)  # a path broken over lines cannot be copied

    @_draw.register
    def _(self, item: PlainTable) -> None:
        table = Table()
        terminal = self._out.is_terminal
        rows = [[_text(cell) for cell in row] for row in item.rows]
        if terminal and item.path is not None:
            place = item.columns.index(item.path)
            for cells in rows:
                cells[place] = _shortened(cells[place])
        one_line = item.one_line and terminal
        sizes = [max(len(text) for text in (name, *column)) for name, *column in zip(item.columns, *rows, strict=True)]
        kept = [column in item.whole or column == item.path for column in item.columns]
        room = self._out.width - 1 - 3 * len(kept) - sum(size for size, keep in zip(sizes, kept, strict=True) if keep)
        for column, keep in zip(item.columns, kept, strict=True):
            table.add_column(
                Text(visible(column)),
                overflow="ellipsis" if one_line else "fold",
                no_wrap=one_line or column in item.whole,
                justify="right" if column in item.right else "left",
                max_width=max(4, room // kept.count(False)) if one_line and not keep else item.widths.get(column),
            )
        for cells in rows:
            table.add_row(*cells)
        self._print_table(table)

    @_draw.register
    def _(self, item: LivePredictions) -> None:
        from marey.reports import NONE, confidence_text
        from marey.reports.style import clock_text

        before: str | None = ""
        try:
            with Live(console=self._out, auto_refresh=False, transient=True) as line:
                for found in item.predictions:
                    text = visible(
                        f"{clock_text(found.time)}  {found.label or NONE}  {confidence_text(found.confidence)}"
                    )
                    if found.label != before:
                        self._out.print(Text(text), soft_wrap=True)
                        before = found.label
                    dropped = f"  {found.dropped} dropped" if found.dropped else ""
                    speed = f"  {found.rate:.1f} frames/s  latency {1000 * found.latency:.0f} ms{dropped}"
                    if self._out.is_terminal:
                        line.update(Text(text + speed, style="dim"), refresh=True)
        finally:  # a source that breaks off leaves its files too
            self.show_written(item.written)

    def _print_table(self, table: Table) -> None:
        if self._out.is_terminal:
            self._out.print(table)
        else:
            # A pipe has no width: no cell is cut.
            Console(highlight=False, width=max(200, self._out.measure(table).maximum)).print(table)


def _text(cell: str | Line) -> Text:
    if isinstance(cell, Line):
        return Text(visible(cell.text), style=_STYLES[cell.style])
    return Text(visible(cell))


def _shortened(path: Text) -> Text:
    """Return a path without its beginning, if it is too long for a narrow terminal."""
    return path if len(path) <= _LONGEST_PATH else Text("…" + path.plain[1 - _LONGEST_PATH :], style=path.style)
