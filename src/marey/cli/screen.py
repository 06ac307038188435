"""What a person sees: sentences and progress while it runs, a table at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import singledispatchmethod
from pathlib import Path
from typing import Any

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

from marey.app.command import Served
from marey.verbs.compare import Comparison
from marey.verbs.data import DataSet, NamedDataSets, Scan
from marey.verbs.demo import Demonstration
from marey.verbs.doctor import Health
from marey.verbs.exchange import Exported
from marey.verbs.extract import Extraction
from marey.verbs.live import LivePredictions
from marey.verbs.models import ModelRow, ModelTable
from marey.verbs.predict import Predictions, Timelines
from marey.verbs.quantise import Quantised
from marey.verbs.reporter import SILENT, Reporter, Stage
from marey.verbs.serve import Serving
from marey.verbs.tune import Tuning
from marey.verbs.untrimmed import UntrimmedResult


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="cyan")


class _Bar(Stage):
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, done: int, note: str = "") -> None:
        self._progress.update(self._task, completed=done, note=note)


class _TerminalReporter(Reporter):
    """Sentences and progress bars on standard error: standard output is the answer's."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, sentence: str) -> None:
        self._console.print(Text(sentence, style="dim"), soft_wrap=True)

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        silent = not self._console.is_terminal  # a log file would get an empty line a stage
        with Progress(*columns, console=self._console, transient=True, disable=silent) as progress:
            yield _Bar(progress, progress.add_task(title, total=total, note=""))


class Screen:
    """Standard output for answers, standard error for the rest.

    Args:
        quiet: whether nothing but the answer shall be said.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._out = Console(highlight=False)

    def reporter(self) -> Reporter:
        """Where verbs say what they are doing."""
        return SILENT if self._quiet else _TerminalReporter(Console(stderr=True, highlight=False))

    def _print(self, what: Any) -> None:
        if not isinstance(what, Table):
            self._out.print(what, soft_wrap=True)  # a path that is broken over lines cannot be copied
        elif self._out.is_terminal:
            self._out.print(what)
        else:
            # A pipe has no width: cells are not to be cut for the sake of one.
            Console(highlight=False, width=max(200, self._out.measure(what).maximum)).print(what)

    @singledispatchmethod
    def show(self, answer: Any) -> None:
        """Show what a verb answered: the result of `train` and `evaluate`, which need the heavy rooms."""
        from marey.cli.tables import metrics_table
        from marey.reports import answer as sentence
        from marey.reports import frame_order

        self._print(metrics_table(answer.metrics))
        self._print(Text(sentence(answer.metrics), style="bold"))
        if answer.frame_order is not None:
            self._print(Text(frame_order(answer.frame_order), style="bold"))
        self._print(Text(f"model   {answer.model}"))
        self._print(Text(f"report  {answer.report}"))

    @show.register
    def _(self, answer: UntrimmedResult) -> None:
        from marey.cli.tables import untrimmed_table
        from marey.reports import untrimmed_answer

        self._print(untrimmed_table(answer.evaluation))
        self._print(Text(untrimmed_answer(answer.evaluation), style="bold"))
        for note in answer.evaluation.notes:
            self._print(Text(note, style="dim"))
        self._print(Text(f"model   {answer.model}"))
        self._print(Text(f"report  {answer.report}"))

    @show.register
    def _(self, answer: Demonstration) -> None:
        self.show(answer.result)
        self._print(Text("\nClips of someone whom the model has never seen:"))
        self.show(answer.new_clips)

    @show.register
    def _(self, answer: Comparison) -> None:
        from marey.cli.tables import comparison_table
        from marey.reports import answer_of

        self._print(comparison_table(answer.entries))
        for entry in answer.entries:
            if entry.failure is not None:
                self._print(Text(f"{entry.recipe}: {entry.failure}", style="red"))
        self._print(Text(answer_of([entry for entry in answer.entries if entry.failure is None]), style="bold"))
        for note in answer.notes:
            self._print(Text(note, style="dim"))
        self._print(Text(f"page   {answer.page}"))

    @show.register
    def _(self, answer: ModelTable) -> None:
        about = _table("recipe", "weights", "what it is")
        about.columns[0].no_wrap = True
        about.columns[1].max_width = 18
        costs = _table("recipe", "trained", "frozen", "GFLOPs a clip", "input")
        for column in costs.columns:
            column.no_wrap = column not in costs.columns[3:]
            column.justify = "right" if column in costs.columns[1:4] else "left"
        for row in answer.rows:
            about.add_row(row.name, Text(str(row.weights)), Text(row.description))
            costs.add_row(row.name, *_costs(row))
        if answer.layers:
            layers = _table("layer", "kind", "output", "parameters")
            layers.columns[3].justify = "right"
            for layer in answer.layers:
                layers.add_row(layer.name, layer.kind, " x ".join(map(str, layer.output)), f"{layer.parameters:,}")
            self._print(layers)
        self._print(about)
        self._print(costs)
        for row in answer.rows:
            if row.counts is None:
                self._print(Text(f"{row.name} is not counted: {row.fault}"))
            elif answer.layers:
                every, statistics = row.counts.parameters, row.counts.statistics
                self._print(Text(f"encoder {row.encoder}, head {row.head}"))
                self._print(f"{every:,} parameters, {statistics:,} of them statistics of batch normalisation")
        self._print("weights: with marey, downloaded once (sizes are approximate), or none: trained from nothing")
        self._print(f"with {answer.classes} classes; an LSTM's second biases are not counted, as in Keras")

    @show.register
    def _(self, answer: Tuning) -> None:
        table = _table("key", "best", "importance")
        for key, value in answer.best.parameters.items():
            said = f"{value:.3g}" if isinstance(value, float) else str(value)
            share = f"{answer.importances[key]:.2f}" if key in answer.importances else ""
            table.add_row(Text(key), Text(said), share)
        self._print(table)
        for note in answer.notes:
            self._print(Text(note, style="dim"))
        self.show(answer.result)
        self._print(Text(f"recipe  {answer.recipe}"))
        self._print(Text(f"page    {answer.page}"))

    @show.register
    def _(self, answer: Quantised) -> None:
        table = _table("encoder in", "accuracy", "clips a second", "MB", "run by")
        for column in table.columns[1:4]:
            column.justify = "right"
        for name, found in (("float32", answer.float32), ("int8", answer.int8)):
            numbers = (f"{found.accuracy:.3f}", f"{found.clips_per_second:.2f}", f"{found.megabytes:.1f}")
            table.add_row(name, *numbers, found.engine)
        self._print(table)
        verdict = f"int8 changes the accuracy by {answer.difference:+.3f}: {answer.changed} of {answer.clips} held-out"
        self._print(Text(f"{verdict} clips get another label", style="bold"))
        for note in answer.notes:
            self._print(Text(note, style="dim"))
        self._print(Text(f"model   {answer.model}"))

    @show.register
    def _(self, answer: Predictions) -> None:
        from marey.reports import NONE, confidence_text

        table = _table("source", "label", "confidence", "then")
        for prediction in answer.predictions:
            if prediction.reason is not None:
                table.add_row(
                    Text(prediction.source), Text(prediction.reason, style="red"), "", Text(prediction.detail)
                )
                continue
            none = prediction.label is None
            top = [(label, confidence_text(value)) for label, value in prediction.top(answer.top)]
            label, confidence = (NONE, "") if none else top[0]
            others = ", ".join(" ".join(pair) for pair in (top if none else top[1:]))
            table.add_row(Text(prediction.source), Text(label), confidence, Text(others))
        self._print(table)
        self.show_written(answer.written)

    @show.register
    def _(self, answer: Timelines) -> None:
        from marey.reports import NONE, confidence_text
        from marey.reports.style import clock_text

        table = _table("source", "from", "to", "label", "confidence")
        for timeline in answer.timelines:
            for segment in timeline.segments:
                ends = (clock_text(segment.start), clock_text(segment.end))
                table.add_row(Text(timeline.source), *ends, Text(segment.label), confidence_text(segment.confidence))
            if not timeline.segments:
                table.add_row(Text(timeline.source), clock_text(0.0), clock_text(timeline.duration), NONE, "")
        for failed in answer.failed:
            table.add_row(Text(failed.source), "", "", Text(str(failed.reason), style="red"), Text(failed.detail))
        self._print(table)
        self.show_written(answer.written)

    @show.register
    def _(self, answer: LivePredictions) -> None:
        from marey.reports import NONE, confidence_text
        from marey.reports.style import clock_text

        before: str | None = ""
        try:
            with Live(console=self._out, auto_refresh=False, transient=True) as line:
                for said in answer.predictions:
                    text = f"{clock_text(said.time)}  {said.label or NONE}  {confidence_text(said.confidence)}"
                    if said.label != before:
                        self._out.print(Text(text), soft_wrap=True)
                        before = said.label
                    dropped = f"  {said.dropped} dropped" if said.dropped else ""
                    speed = f"  {said.rate:.1f} frames/s  latency {1000 * said.latency:.0f} ms{dropped}"
                    if self._out.is_terminal:
                        line.update(Text(text + speed, style="dim"), refresh=True)
        finally:  # a source that breaks off leaves its files too
            self.show_written(answer.written)

    def show_written(self, paths: Iterable[Path]) -> None:
        """Show which files were written."""
        for path in paths:
            self._print(Text(f"written   {path}"))

    @show.register
    def _(self, answer: Extraction) -> None:
        for clip, why in answer.failed.items():
            self._print(Text(f"{clip}: {why}", style="red"))
        self._print(f"{answer.clips} clips, {len(answer.failed)} unusable, {answer.pictures} pictures encoded now")
        self._print(Text(f"cache   {answer.cache}"))

    @show.register
    def _(self, answer: Scan) -> None:
        table = _table("file", "reason", "detail")
        for row in answer.rows:
            if not row.ok:
                table.add_row(Text(row.name), Text(str(row.reason), style="red"), Text(row.detail))
        if table.row_count:
            self._print(table)
        faulty = [row for row in answer.rows if row.ok and row.info is not None and row.info.faults]
        for row in faulty:
            self._print(Text(f"{row.name}: usable, but {'; '.join(row.info.faults if row.info else ())}", style="dim"))
        usable = sum(row.ok for row in answer.rows)
        self._print(f"{usable} of {len(answer.rows)} usable")
        if answer.quarantine is not None:
            self._print(Text(f"quarantine list   {answer.quarantine}"))

    @show.register
    def _(self, answer: NamedDataSets) -> None:
        table = _table("name", "here", "what", "folder, or how to get it")
        for named in answer.sets:
            place = str(named.folder) if named.is_here else named.way_to_get
            table.add_row(named.name, "yes" if named.is_here else "no", named.summary, Text(place))
        self._print(table)

    @show.register
    def _(self, answer: DataSet) -> None:
        clips = answer.manifest.clips
        table = _table("class", "clips", "train", "val", "test")
        for label in answer.manifest.labels:
            of_label = [clip for clip in clips if clip.label == label]
            parts = [str(sum(clip.split == part for clip in of_label) or "") for part in ("train", "val", "test")]
            table.add_row(Text(label), str(len(of_label)), *parts)
        self._print(table)
        for note in answer.notes:
            self._print(Text(note, style="dim"))
        self._print(Text(f"manifest   {answer.path}"))

    @show.register
    def _(self, answer: Exported) -> None:
        table = _table("stream", "clips", "frames", "numbers")
        frames = " or ".join(map(str, answer.files.lengths))
        for stream, dim in answer.files.dims.items():
            table.add_row(Text(stream), str(len(answer.files.manifest.clips)), frames, str(dim))
        self._print(table)
        for note in answer.notes:
            self._print(Text(note, style="dim"))
        self._print(Text(f"features   {answer.files.path}"))

    @show.register
    def _(self, answer: Served) -> None:
        self._print(f"the page at {answer.url} is closed")

    @show.register
    def _(self, answer: Serving) -> None:
        served = answer.served
        self._print(f"{served.address} answered {served.requests} requests in {served.seconds:.0f} s")

    @show.register
    def _(self, answer: Health) -> None:
        table = _table("what", "", "found")
        colours = {"ok": "green", "missing": "yellow", "fault": "red"}
        for finding in answer.findings:
            table.add_row(finding.name, Text(finding.state, style=colours[finding.state]), Text(finding.detail))
        self._print(table)
        lines = [(finding.name, finding.install) for finding in answer.findings if finding.install is not None]
        if lines:
            self._print("What is missing is optional. To install it:")
        for name, line in lines:
            self._print(Text(f"  {name:<12}  {line}"))


def _costs(row: ModelRow) -> tuple[str, str, str, Text]:
    """Return the cells of what a recipe trains, keeps frozen, takes a clip, and sees."""
    counts = row.counts
    if counts is None:
        extra = row.weights.extra
        return "", "", "", Text("not counted" if extra is None else f"needs the extra {extra}", style="red")
    streams = f"{len(row.streams)} x " if len(row.streams) > 1 else ""
    trained, frozen = (f"{number / 1e6:.2f} M" for number in (counts.trained, counts.frozen))
    return trained, frozen, f"{counts.flops / 1e9:.2f}", Text(streams + "x".join(map(str, counts.input)))


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
