"""Tests that no probability is shown as certain."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from marey.cli.screen import Screen
from marey.commands import COMMANDS
from marey.commands.steps.predictions import Predictions, Timelines
from marey.data import Segment
from marey.evaluation import ClipResult, Evaluation
from marey.prediction import Prediction, Timeline
from marey.reports import (
    Caption,
    confidence_text,
    confidence_texts,
    draw_caption,
    percent_text,
    write_report,
    write_segments,
)
from marey.reports.phrases import remarks

HIGH = 0.9999999


@pytest.mark.parametrize(
    ("probability", "text", "percent"),
    [
        (1.0, ">0.99", ">99 %"),
        (0.9951, ">0.99", ">99 %"),
        (0.9949, "0.99", "99 %"),
        (0.87, "0.87", "87 %"),
        (0.294, "0.29", "29 %"),
        (0.0051, "0.01", "1 %"),
        (0.0049, "<0.01", "<1 %"),
        (0.0, "<0.01", "<1 %"),
        (float("nan"), "nan", "nan %"),
    ],
)
def test_a_probability_has_two_digits_and_is_never_certain(probability: float, text: str, percent: str) -> None:
    assert confidence_text(probability) == text
    assert percent_text(probability) == percent


def test_other_probabilities_are_rounded_as_numbers() -> None:
    for value in np.linspace(0.0051, 0.9949, 2000).tolist():
        assert confidence_text(value) == f"{value:.2f}"
        assert percent_text(value) == f"{100 * round(value, 2):.0f} %"


def timeline(*segments: Segment) -> Timeline:
    return Timeline("a.mp4", 4.0, ("x", "y"), np.array([2.0]), np.array([[HIGH, 0]], np.float32), segments, 1.0)


def test_no_table_shows_certainty(capsys: pytest.CaptureFixture[str]) -> None:
    screen, show = Screen(quiet=False), COMMANDS["predict"].show
    screen.show(show(Predictions((Prediction("a.mp4", ("x", "y"), (HIGH, 1 - HIGH)),), 2)))
    screen.show(show(Timelines((timeline(Segment(0.0, 4.0, "x", HIGH)), timeline()), ())))
    out = capsys.readouterr().out
    assert out.count(">0.99") == 2
    assert "y <0.01" in out
    assert not re.search(r"1\.0|0\.00", out)


def test_a_clip_below_the_threshold_has_its_probabilities_in_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = Predictions((Prediction("a.mp4", ("x", "y"), (0.6, 0.4), threshold=0.7),), 2)
    Screen(quiet=False).show(COMMANDS["predict"].show(answer))
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "a.mp4" in line)
    assert [cell.strip() for cell in row.split("\N{BOX DRAWINGS LIGHT VERTICAL}")[1:-1]] == [
        "a.mp4",
        "none of these",
        "",
        "x 0.60, y 0.40",
    ]


def test_no_caption_shows_certainty() -> None:
    def drawn(confidence: float, *top: tuple[str, float]) -> bytes:
        grey = np.full((480, 640, 3), 110, np.uint8)
        return draw_caption(grey, Caption("x", confidence, top, 0.0, None)).tobytes()

    assert drawn(0.9951) == drawn(HIGH) == drawn(1.0) != drawn(0.99)
    assert drawn(0.5, ("y", 0.0)) == drawn(0.5, ("y", 0.00001)) != drawn(0.5, ("y", 0.01))


def test_no_subtitle_shows_certainty_and_files_for_programs_keep_the_number(tmp_path: Path) -> None:
    found = [timeline(Segment(0.0, 4.0, "x", 0.999875))]
    for suffix, text in {"vtt": "\nx &gt;0.99\n", "csv": ",0.999875\n", "json": '"confidence": 0.999875'}.items():
        write_segments(found, tmp_path / f"s.{suffix}")
        assert text in (tmp_path / f"s.{suffix}").read_text(encoding="utf-8")


def test_no_report_shows_certainty(tmp_path: Path) -> None:
    rows = tuple(
        ClipResult(str(clip), "", "a" if clip else "b", f"p{clip}", None, (HIGH, 1 - HIGH)) for clip in range(8)
    )
    evaluation = Evaluation(("a", "b"), rows, (), "one split", "", 0)
    assert any("Mean confidence is >0.99 and accuracy 0.88" in remark for remark in remarks(evaluation))
    text = write_report(evaluation, tmp_path, title="t").read_text(encoding="utf-8")
    assert "confidence &gt;0.99" in text


@pytest.mark.parametrize(
    ("probabilities", "threshold", "texts"),
    [
        ((0.434, 0.431, 0.135), 0.0, ["43.4 %", "43.1 %", "13.5 %"]),
        ((0.43449, 0.43441), 0.0, ["43.45 %", "43.44 %"]),
        ((0.5, 0.5), 0.0, ["0.50", "0.50"]),
        ((0.597, 0.403), 0.6, ["59.7 %", "40.3 %"]),
        ((0.62, 0.38), 0.6, ["0.62", "0.38"]),
        ((0.997, 0.003), 0.0, [">0.99", "<0.01"]),
        ((), 0.5, []),
    ],
)
def test_as_many_digits_are_shown_as_decided(
    probabilities: tuple[float, ...], threshold: float, texts: list[str]
) -> None:
    assert confidence_texts(probabilities, threshold=threshold) == texts
