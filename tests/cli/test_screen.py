from __future__ import annotations

import pytest
from rich.console import Console

from marey.cli.screen import Screen
from marey.commands import COMMANDS, Reporter
from marey.commands.registry import Line, Table
from marey.commands.steps.predictions import Predictions
from marey.prediction import Prediction
from marey.progress import AUTO, SILENT, resolve


def drawn(items: object, *, width: int = 80, terminal: bool = True) -> list[str]:
    screen = Screen(quiet=True)
    screen._out = Console(width=width, force_terminal=terminal, highlight=False, color_system=None)
    with screen._out.capture() as captured:
        screen.show(items)  # type: ignore[arg-type]
    return captured.get().splitlines()


def test_predictions_take_one_line_a_clip_in_80_columns_and_name_unusable_files_below() -> None:
    labels = ("handclapping", "handwaving", "jogging")
    clips = [
        Prediction(f"/data/sets/embedded/handclapping/person{i:02d}_d1.mp4", labels, (0.6, 0.3, 0.1)) for i in range(3)
    ]
    bad = Prediction("/data/broken.mp4", (), (), "not_video", "no format is known that starts like this")
    lines = drawn(COMMANDS["predict"].show(Predictions((*clips, bad), 3)))
    rows = [line for line in lines if "person" in line]
    assert len(rows) == 3
    assert all(f"person{i:02d}_d1.mp4" in row and "handclapping" in row for i, row in enumerate(rows))
    assert max(map(len, lines[: lines.index(rows[-1]) + 2])) <= 80
    assert lines[-2] == "1 file of 4 cannot be used:"
    assert lines[-1].startswith("/data/broken.mp4: not_video: ")


def test_tables_in_a_pipe_are_cut_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(("file", "label"), one_line=True, path="file")
    table.add("/a/very/long/path/" * 9 + "clip.mp4", Line("walking", "fault"))
    Screen(quiet=True).show([table])
    assert "/a/very/long/path/" * 9 + "clip.mp4" in capsys.readouterr().out


def test_warnings_are_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Screen(quiet=False).reporter()
    reporter.say("12 clips of 2 classes")
    reporter.warn("2 files cannot be used")
    assert capsys.readouterr().err.splitlines() == ["12 clips of 2 classes", "warning: 2 files cannot be used"]


def test_python_reports_progress_in_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(AUTO) is SILENT
    own = Reporter()
    assert resolve(own) is own
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert resolve(AUTO) is not SILENT
