from __future__ import annotations

import io

from rich.console import Console

from marey.cli.tables import metrics_table
from marey.data import Leak
from marey.evaluation import ClipResult, Evaluation, Metrics


def rendered(metrics: Metrics) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(metrics_table(metrics))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def metrics(*leaks: Leak, protocol: str = "leave one group out") -> Metrics:
    rows = (
        ClipResult("1", "1.avi", "a", "p1", None, (0.9, 0.1)),
        ClipResult("2", "2.avi", "b", "p2", None, (0.9, 0.1)),
        ClipResult("3", "3.avi", "b", "p3", None, None, "timeout", "more than 60 s"),
    )
    return Evaluation(("a", "b"), rows, leaks, protocol, "c0ffee", 0).metrics


def test_the_table_of_metrics_shows_the_main_numbers() -> None:
    text = rendered(metrics())
    assert "leave one group out" in text
    assert "0.333" in text
    assert "timeout 1" in text
    assert "leaking" not in text


def test_the_table_of_metrics_shows_a_leak_beside_the_accuracy() -> None:
    text = rendered(metrics(Leak("group", "[bold]p1[/]", ("1.avi",), ("2.avi",))))
    head = text.split("balanced accuracy")[0]
    assert "leaking split" in head
    assert "[bold]p1[/]" in head


def test_the_table_of_metrics_reads_no_name_as_markup() -> None:
    assert "[red]x[/nonsense]" in rendered(metrics(protocol="[red]x[/nonsense]"))
