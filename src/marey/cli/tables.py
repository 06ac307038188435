"""Tables of metrics for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from marey.cli.plain_text import visible

if TYPE_CHECKING:
    from marey.evaluation import MetricRow, Metrics, UntrimmedEvaluation
    from marey.reports import Entry


def metrics_table(metrics: Metrics) -> Table:
    """Return the metrics with their intervals; a leaking split is named beside the accuracy."""
    from marey.reports.phrases import seeds_alone

    leak = f"leaking split: {metrics.leak}" if metrics.leak else None
    table = _table_of(metrics.rows, metrics.protocol, metrics.interval.level, warned="accuracy", warning=leak)
    table.add_row("clips", f"{metrics.clips:,}", "")
    reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(metrics.failed_reasons.items()))
    table.add_row("failed, counted as wrong", str(metrics.failed), Text(reasons))
    if metrics.seeds is not None:
        table.add_row("seeds averaged", str(len(metrics.seeds.accuracy)), Text(seeds_alone(metrics.seeds)))
    elif metrics.interval.seeds == 1 and metrics.interval.accuracy is not None:
        table.add_row("seed of the training", "kept", Text("the intervals do not hold how much another would change"))
    if metrics.excluded:
        table.add_row("excluded by name", str(len(metrics.excluded)), "")
    return table


def untrimmed_table(evaluation: UntrimmedEvaluation) -> Table:
    """Return the metrics of untrimmed video with their intervals; a leak is named beside F1@50."""
    from marey.reports.style import clock_text

    scores = evaluation.scores
    leak = f"leak: {evaluation.leak}" if evaluation.leak else None
    table = _table_of(scores.rows, evaluation.protocol, scores.interval.level, warned="f1_50", warning=leak)
    table.add_row("segments, true and predicted", f"{scores.segments:,} and {scores.found:,}", "")
    table.add_row("videos", f"{len(scores.videos):,}", Text(f"{clock_text(scores.seconds, digits=0)} in all"))
    for video in evaluation.failed:
        table.add_row("without segments", Text(str(video.reason), style="red"), Text(visible(video.name)))
    return table


def _table_of(rows: Sequence[MetricRow], title: str, level: float, *, warned: str, warning: str | None) -> Table:
    from marey.reports.phrases import share, span

    table = Table(title=Text(visible(title)) if title else None, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column(f"{level:.0%} interval")
    for row in rows:
        interval = Text(span(row.interval, 3))
        if warning and row.name == warned:
            interval = Text("\n" if interval else "").join([interval, Text(visible(warning), style="bold red")])
        table.add_row(Text(visible(row.title)), share(row.value, 3), interval)
    return table


def comparison_table(entries: Sequence[Entry]) -> Table:
    """Return the main numbers of each recipe."""
    from marey.reports.comparison import SIGNIFICANCE, other_metrics, seconds, short, signed
    from marey.reports.phrases import share, span

    table = Table()
    table.add_column("recipe", overflow="fold")
    others = other_metrics([entry for entry in entries if entry.pooled is not None], headline=True)
    further = iter(zip(*(values for _, values in others), strict=True))
    titles = [metric.title for metric, _ in others]
    for column in (
        "accuracy",
        "macro F1",
        *titles,
        "to the best",
        "p",
        "trained",
        "FLOPs a clip",
        "clips/s",
        "training",
    ):
        table.add_column(Text(visible(column)), justify="right")
    for entry in entries:
        pooled, behind, cost = entry.pooled, entry.behind, entry.cost
        if pooled is None:
            table.add_row(Text(visible(entry.recipe)), Text("could not be run", style="red"))
            continue
        rate = cost.clips_per_second if cost is not None else None
        table.add_row(
            Text(visible(entry.recipe)),
            Text(f"{share(pooled.accuracy, 3)} {span(pooled.interval.accuracy)}"),
            Text(f"{share(pooled.macro_f1, 3)} {span(pooled.interval.macro_f1)}"),
            *(share(value, 3) for value in next(further, ())),
            signed(-behind.accuracy, 3) if behind is not None and behind.accuracy is not None else "",
            Text(f"{entry.p:.2g}", style="bold" if entry.p < SIGNIFICANCE else "") if entry.p is not None else "",
            short(cost.trained if cost is not None else None),
            short(cost.flops if cost is not None else None),
            f"{rate:.3g}" if rate is not None else "–",
            seconds(entry.time.training if entry.time is not None else None),
        )
    return table
