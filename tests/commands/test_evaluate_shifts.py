"""`marey evaluate --shifts`: the same clips, darker, smaller, faster and recompressed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marey.commands import evaluate
from marey.errors import UsageError
from marey.video import SHIFTS


def test_each_shift_is_a_row_of_screen_json_and_report(
    call_marey: Callable[..., Any], small_run: Path, tmp_path: Path
) -> None:
    told = call_marey("evaluate", small_run, "--shifts", "--out", tmp_path / "held-out")
    assert told.code == 0
    rows = json.loads((tmp_path / "held-out" / "shifts.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in rows] == ["none", *SHIFTS]
    assert all(row["failed"] == 0 for row in rows)
    metrics = json.loads((tmp_path / "held-out" / "metrics.json").read_text(encoding="utf-8"))
    assert rows[0]["accuracy"] == metrics["accuracy"]
    page = (tmp_path / "held-out" / "report.html").read_text(encoding="utf-8")
    for name in SHIFTS:
        assert name in told.out
        assert SHIFTS[name].meaning in page


def test_shifts_are_for_whole_clips_in_their_order(small_run: Path, small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--shifts changes clips"):
        evaluate(small_run, small_set, shifts=True, frame_order="shuffled", out=tmp_path / "a")
