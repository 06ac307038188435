"""`predict --out FILE.parquet`: a row a clip or a window, and what a second run adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from marey import commands
from marey.commands.steps.label_answer import LabelledRows
from marey.errors import UsageError

pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def rows(path: Path) -> list[dict[str, object]]:
    import pyarrow.parquet as pq

    found: list[dict[str, object]] = pq.read_table(path).to_pylist()
    return found


def label(run: Path, videos: list[Path], out: Path, **options: object) -> LabelledRows:
    done = commands.predict(run, videos, out=out, **options)  # type: ignore[arg-type]
    assert isinstance(done, LabelledRows)
    return done


def test_clips_have_a_row_each_and_a_second_run_adds_the_rest(small_run: Path, small_set: Path, tmp_path: Path) -> None:
    videos = [*sorted(small_set.rglob("*.mp4"))[:3], tmp_path / "missing.mp4"]
    out = tmp_path / "rows.parquet"
    assert label(small_run, videos[1:], out).done_before == 0
    again = label(small_run, videos, out)
    assert (again.clips, again.done_before, list(again.failed)) == (4, 2, [str(videos[-1])])
    found = rows(out)
    assert [row["source"] for row in found] == [str(video) for video in videos]
    for row, prediction in zip(found, commands.predict(small_run, videos).predictions, strict=True):  # type: ignore[union-attr]
        assert (row["label"], row["confidence"], row["reason"]) == (
            prediction.label,
            prediction.confidence,
            prediction.reason,
        )
        assert row["time"] is None
    whole = tmp_path / "whole.parquet"
    label(small_run, videos, whole)
    assert whole.read_bytes() == out.read_bytes()
    assert label(small_run, videos[:3], out, threshold=0.9).done_before == 0  # other rules, other rows


def test_windows_have_a_row_each(small_run: Path, small_set: Path, tmp_path: Path) -> None:
    videos = sorted(small_set.rglob("*.mp4"))[:2]
    out = tmp_path / "rows.parquet"
    label(small_run, videos, out, mode="window", window=0.5)
    found = rows(out)
    timelines = commands.predict(small_run, videos, mode="window", window=0.5).timelines  # type: ignore[union-attr]
    assert [row["time"] for row in found] == [float(at) for each in timelines for at in each.times]
    assert label(small_run, videos, out, mode="window", window=0.5).done_before == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "rows.csv"}, "ends in .parquet"),
        ({"out": "rows.parquet", "csv": "rows.csv"}, "--csv is made from the video here"),
        ({"out": "rows.parquet", "verbose": True}, "leave out --labels"),
        ({"on": "ray"}, "add --out"),
    ],
)
def test_what_does_not_go_with_rows_is_refused(
    small_run: Path, small_set: Path, options: dict[str, object], message: str
) -> None:
    if "on" in options:
        pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(UsageError, match=message):
        commands.predict(small_run, [next(small_set.rglob("*.mp4"))], **options)  # type: ignore[arg-type]
