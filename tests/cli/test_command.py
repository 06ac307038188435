from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

import marey
from marey.cli.app import build
from marey.commands.registry import COMMANDS, Command, Line, Table, command, read_docstring


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
    order: Literal["original", "turned"] = "original",
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
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    own: dict[str, Command] = {}
    monkeypatch.setattr("marey.commands.registry.COMMANDS", own)
    monkeypatch.setattr("marey.cli.app.COMMANDS", own)
    command(
        "measure",
        examples=("measure clips/ --out numbers",),
        renamed={"portion": "share"},
        values={"order": {"given": "original"}},
        aliases=("gauge",),
    )(measure)
    return build()


def test_parameters_by_place_become_arguments_and_keyword_only_ones_options(app: typer.Typer) -> None:
    ended = CliRunner().invoke(
        app, ["measure", "x", "--out", "y", "--share", "0.5", "--set", "a=1", "--set", "b=2", "--json"]
    )
    assert ended.exit_code == 0
    assert '"share": 0.5' in ended.output
    assert '"order": "original"' in ended.output
    assert '"a=1",\n    "b=2"' in ended.output


def test_an_answer_of_nothing_usable_ends_with_3(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["measure", "x", "--out", "y", "--share", "1", "--json"]).exit_code == 3


def test_a_choice_that_is_none_of_the_literals_ends_with_2(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["measure", "x", "--out", "y", "--order", "mixed"]).exit_code == 2


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


def test_an_earlier_name_of_an_option_works_with_a_warning_and_is_not_listed(app: typer.Typer) -> None:
    ended = CliRunner().invoke(app, ["measure", "x", "--out", "y", "--portion", "0.5", "--json"])
    assert ended.exit_code == 0
    assert '"share": 0.5' in ended.stdout
    assert "marey: --portion is now called --share" in ended.stderr
    assert "--portion" not in CliRunner().invoke(app, ["measure", "--help"]).output


def test_an_earlier_value_of_an_option_works_with_a_warning(app: typer.Typer) -> None:
    ended = CliRunner().invoke(app, ["measure", "x", "--out", "y", "--order", "given", "--json"])
    assert ended.exit_code == 0
    assert '"order": "original"' in ended.stdout
    assert "--order given is now --order original" in ended.stderr


def test_an_earlier_name_of_a_command_works_and_is_not_listed(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["gauge", "x", "--out", "y", "--json"]).exit_code == 0
    assert "gauge" not in CliRunner().invoke(app, ["--help"]).output


def test_help_ends_with_examples(app: typer.Typer) -> None:
    assert "$ marey measure clips/ --out numbers" in CliRunner().invoke(app, ["measure", "-h"]).output


def test_a_wrong_choice_is_answered_with_the_nearest(app: typer.Typer) -> None:
    ended = CliRunner().invoke(app, ["measure", "x", "--out", "y", "--order", "turnd"])
    assert ended.exit_code == 2
    assert "did you mean 'turned'?" in " ".join(ended.stderr.replace("│", " ").split())


@dataclass(frozen=True)
class Tally:
    words: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"words": list(self.words)}


def test_a_new_command_needs_one_decorator_for_python_the_command_line_and_the_screen() -> None:
    def show(answer: Tally) -> list[str | Line | Table]:
        table = Table(("word", "letters"))
        for word in answer.words:
            table.add(word, str(len(word)))
        return [table, Line(f"{len(answer.words)} words", "strong")]

    @command("tally", examples=("tally a b",), show=show)
    def tally(words: list[str]) -> Tally:
        """Count letters.

        Args:
            words: the words to count.
        """
        return Tally(tuple(words))

    try:
        assert marey.tally is tally
        assert "tally" in dir(marey)
        ended = CliRunner().invoke(build(), ["tally", "march", "gait"])
        listed = CliRunner().invoke(build(), ["--help"]).output
    finally:
        del COMMANDS["tally"]
    assert ended.exit_code == 0
    assert "march" in ended.output
    assert "2 words" in ended.output
    assert "Count letters." in listed


def test_earlier_keywords_work_in_python_with_a_warning(app: typer.Typer) -> None:
    from marey.commands import registry

    function = registry.COMMANDS["measure"].function
    with pytest.warns(FutureWarning, match="portion= is now called share="):
        assert function("x", out="y", portion=0.5).given["share"] == 0.5
    with pytest.warns(FutureWarning, match="order='given' is now order='original'"):
        assert function("x", out="y", order="given").given["order"] == "original"


def test_a_name_that_marey_lacks_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'trian'; did you mean 'train'"):
        _ = marey.trian
    assert {"train", "predict", "Predictor"} <= set(dir(marey))


def test_help_in_python_explains_shared_options() -> None:
    text = marey.train.__doc__ or ""
    for name in ("data", "recipe", "out", "set", "group_regex", "device", "engine"):
        assert f"    {name}: " in text
