from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from marey.errors import DatasetError
from marey.evaluation import ClipResult, Evaluation, read_predictions, write_predictions

LABELS = ('wave, "one hand"', "гулять", "p_x\ny")


def evaluation() -> Evaluation:
    generator = np.random.default_rng(0)
    rows = []
    for clip in range(20):
        # float32 probabilities, as a network gives them, are the hard case of an exact round trip
        given = generator.dirichlet(np.ones(3)).astype(np.float32)
        rows.append(
            ClipResult(
                f"a folder/é{clip}.avi@1.5-2",
                f"/data/{clip}.avi",
                LABELS[clip % 3],
                "p1" if clip % 2 else None,
                clip % 5 if clip % 4 else None,
                tuple(float(value) for value in given),
            )
        )
    rows.append(
        ClipResult("bad\udcff.avi", "bad\udcff.avi", LABELS[0], None, 0, None, "truncated", "ends after 1.2 s, of 4")
    )
    return Evaluation(LABELS, tuple(rows), (), "5 folds", "c0ffee", 0)


def test_predictions_read_back_to_the_last_bit(tmp_path: Path) -> None:
    write_predictions(evaluation(), tmp_path / "predictions.csv")
    labels, rows = read_predictions(tmp_path / "predictions.csv")
    assert labels == LABELS
    assert rows == evaluation().rows


def test_the_probability_before_calibration_reads_back_where_it_is_known(tmp_path: Path) -> None:
    found = evaluation()
    rows = tuple(replace(row, uncalibrated=None if row.reason else 1 / (3 + n)) for n, row in enumerate(found.rows))
    write_predictions(replace(found, rows=rows), tmp_path / "predictions.csv")
    assert read_predictions(tmp_path / "predictions.csv") == (LABELS, rows)


def test_the_table_has_a_row_a_clip_with_its_prediction(tmp_path: Path) -> None:
    write_predictions(evaluation(), tmp_path / "predictions.csv")
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    for written, row in zip(rows, evaluation().rows, strict=True):
        assert written["predicted"] == (evaluation().predicted(row) or "")
        assert written["correct"] == ("true" if evaluation().predicted(row) == row.label else "false")
    assert rows[-1]["reason"] == "truncated"
    assert rows[-1]["confidence"] == ""
    assert float(rows[0]["confidence"]) == max(float(rows[0]["p_" + label]) for label in LABELS)


def test_a_table_that_does_not_hold_predictions_is_refused_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    with pytest.raises(DatasetError, match="cannot be read"):
        read_predictions(path)
    path.write_text("path,label\n")
    with pytest.raises(DatasetError, match="its first line is not"):
        read_predictions(path)
    write_predictions(evaluation(), path)
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    path.write_text(text.replace("truncated", "tired"), encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DatasetError, match=r"row 22: 'tired' is not a reason code"):
        read_predictions(path)
    path.write_text(text + "one,two\n", encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DatasetError, match=r"row 23: 2 values in 13 columns"):
        read_predictions(path)
