from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from marey.cli.command import command, read_docstring


@dataclass(frozen=True)
class Answer:
    given: dict[str, Any]
    usable: bool = True

    def as_dict(self) -> dict[str, Any]:
        return self.given


def measure(
    data: str,
    *,
    out: Path,
    share: float = 0.25,
    order: Literal["given", "turned"] = "given",
    set: list[str] | None = None,
) -> Answer:
    """Measure something.

    In more words.

    Args:
        data: what to measure,
            on two lines.
        out: where to.
        share: how much: a number.
        order: the order.
        set: may be repeated.

    Returns:
        Something that is not of the arguments.
    """
    return Answer({"data": data, "out": str(out), "share": share, "order": order, "set": set}, usable=share < 1)


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(command(measure))
    return app


def test_parameters_by_place_become_arguments_and_keyword_only_ones_options(app: typer.Typer) -> None:
    ended = CliRunner().invoke(app, ["x", "--out", "y", "--share", "0.5", "--set", "a=1", "--set", "b=2", "--json"])
    assert ended.exit_code == 0
    assert '"share": 0.5' in ended.output
    assert '"order": "given"' in ended.output
    assert '"a=1",\n    "b=2"' in ended.output


def test_an_answer_of_nothing_usable_ends_with_3(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["x", "--out", "y", "--share", "1", "--json"]).exit_code == 3


def test_a_choice_that_is_none_of_the_literals_ends_with_2(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["x", "--out", "y", "--order", "mixed"]).exit_code == 2


def test_the_docstring_gives_the_help_of_the_verb_and_of_each_parameter() -> None:
    summary, helps = read_docstring(inspect.getdoc(measure) or "")
    assert summary == "Measure something.\n\nIn more words."
    assert helps == {
        "data": "What to measure, on two lines.",
        "out": "Where to.",
        "share": "How much: a number.",
        "order": "The order.",
        "set": "May be repeated.",
    }


def test_a_docstring_without_arguments_is_all_summary() -> None:
    assert read_docstring("Look around.") == ("Look around.", {})
