from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from marey.cli import screen as screens
from marey.cli.plain_text import visible, visible_json
from marey.cli.screen import Screen
from marey.commands.registry import Line, Table
from marey.json_text import json_text

NAMES = ("\x1b]0;owned\x07.mp4", "a\x9b2Jb", "up\rdown", "\u202egpj.mp4", "[red]not red[/]", "[link=https://a.example]")


@pytest.mark.parametrize("name", NAMES)
def test_no_name_reaches_the_terminal_as_a_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    shown = Screen(quiet=False)
    monkeypatch.setattr(shown, "_out", Console(file=out, force_terminal=True, width=200, color_system=None))
    shown.show([name, Line(name, "warning"), Table(("clip", name), [(name, Line(name, "good"))])])
    reporter = screens._TerminalReporter(Console(file=err, force_terminal=True, width=200, color_system=None))
    reporter.say(name)
    reporter.warn(name)
    with reporter.stage(name, 2) as stage:
        stage.advance(1, note=name)
    for text in (out.getvalue(), err.getvalue().replace("\x1b[", "")):  # the bar moves the cursor itself
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)
        assert visible(name) in text
    assert "\r" not in out.getvalue()


def test_lines_tabs_and_the_letters_of_the_world_stay() -> None:
    text = "Bücken\t走る\nпрыжок \N{WAVING HAND SIGN}"
    assert visible(text) == text
    assert visible("a\x00\x1b\x7f\x85") == "a␀␛␡\\x85"


def test_json_on_the_terminal_means_the_same() -> None:
    values = {"path": "a\x9b2J\x1b\u202e\x7fb", "share": 0.5}
    text = visible_json(json_text(values))
    assert text.isprintable()
    assert json.loads(text) == values


def test_json_has_no_word_for_what_is_no_number() -> None:
    text = json_text({"a": [float("nan"), (1.0, float("-inf"))], "b": {"c": float("inf")}, "d": 1})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, [1.0, None]], "b": {"c": None}, "d": 1}
