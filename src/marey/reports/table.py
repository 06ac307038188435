"""The metrics as a table for a terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from marey.evaluation import Metrics
from marey.reports.phrases import share, span


def metrics_table(metrics: Metrics) -> Table:
    """The main numbers with their intervals; a leaking split says so beside the accuracy."""
    table = Table(title=Text(metrics.protocol) if metrics.protocol else None, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column(f"{metrics.interval.level:.0%} interval")
    leak = Text(f"leaking split: {metrics.leak}", style="bold red") if metrics.leak else None
    accuracy = Text(span(metrics.interval.accuracy, 3))
    table.add_row(
        "accuracy",
        share(metrics.accuracy, 3),
        accuracy if leak is None else Text("\n").join([accuracy, leak]),
    )
    if metrics.view_accuracy is not None:
        table.add_row("accuracy of single views", share(metrics.view_accuracy, 3), "")
    table.add_row("balanced accuracy", share(metrics.balanced_accuracy, 3), "")
    table.add_row("macro precision", share(metrics.macro_precision, 3), "")
    table.add_row("macro recall", share(metrics.macro_recall, 3), "")
    table.add_row("macro F1", share(metrics.macro_f1, 3), Text(span(metrics.interval.macro_f1, 3)))
    table.add_row("calibration error (ECE)", share(metrics.ece, 3), "")
    table.add_row("clips", f"{metrics.clips:,}", "")
    reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(metrics.failed_reasons.items()))
    table.add_row("failed, counted as wrong", str(metrics.failed), Text(reasons))
    if metrics.excluded:
        table.add_row("excluded by name", str(len(metrics.excluded)), "")
    return table
