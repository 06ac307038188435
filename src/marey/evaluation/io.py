"""Files of an evaluation: `predictions.csv`, a row a clip, and `metrics.json`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from marey.atomic import atomic_file, write_atomic
from marey.data.csv_cells import CsvWriter, as_written
from marey.errors import REASONS, DatasetError, Reason
from marey.evaluation.evaluation import ClipResult, Evaluation
from marey.evaluation.scoring import Metrics

COLUMNS = (
    "clip",
    "path",
    "label",
    "group",
    "fold",
    "predicted",
    "confidence",
    "correct",
    "reason",
    "detail",
)
PROBABILITY = "p_"
UNCALIBRATED = "uncalibrated"


def write_metrics(metrics: Metrics, path: str | Path) -> None:
    """Write `metrics.json`; the same metrics give the same bytes."""
    text = json.dumps(metrics.as_dict(), ensure_ascii=False, allow_nan=False, indent=2)
    # a file name that is not valid text becomes a \udcXX escape, which JSON can read back
    write_atomic(Path(path), text.encode("utf-8", "backslashreplace") + b"\n")


def write_predictions(evaluation: Evaluation, path: str | Path) -> None:
    """Write `predictions.csv`: the columns of `COLUMNS`, `p_<label>` for each label, and `uncalibrated` where known.

    Probabilities read back to the last bit; a clip that failed has a reason and no numbers.
    """
    with (
        atomic_file(Path(path)) as part,
        part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = CsvWriter(file)
        known = any(row.uncalibrated is not None for row in evaluation.rows)
        last = [UNCALIBRATED] if known else []
        table.writerow([*COLUMNS, *(PROBABILITY + label for label in evaluation.labels), *last])
        for row in evaluation.rows:
            predicted = evaluation.predicted(row)
            table.writerow(
                [
                    row.clip,
                    row.path,
                    row.label,
                    row.group if row.group is not None else "",
                    row.fold if row.fold is not None else "",
                    predicted if predicted is not None else "",
                    repr(float(row.confidence)) if row.confidence is not None else "",
                    "true" if predicted == row.label else "false",
                    row.reason or "",
                    row.detail,
                    *(
                        [""] * len(evaluation.labels)
                        if row.probabilities is None
                        else [repr(float(value)) for value in row.probabilities]
                    ),
                    *(["" if row.uncalibrated is None else repr(float(row.uncalibrated))] if known else []),
                ]
            )


def read_predictions(path: str | Path) -> tuple[tuple[str, ...], tuple[ClipResult, ...]]:
    """Read `predictions.csv`: the labels, and a row a clip.

    Raises:
        DatasetError: the file is missing, or a line of it is not what `write_predictions` writes.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            lines = [[as_written(cell) for cell in line] for line in csv.reader(file)]
    except (OSError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as a table of predictions: {error}") from error
    head = lines[0] if lines else []
    known = head[-1:] == [UNCALIBRATED]  # earlier versions have not written it
    names = head[len(COLUMNS) : -1 if known else None]
    if tuple(head[: len(COLUMNS)]) != COLUMNS or not all(name.startswith(PROBABILITY) for name in names):
        raise DatasetError(
            f"{path}: its first line is not that of predictions.csv; it has to begin with {','.join(COLUMNS)}"
        )
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            rows.append(_row(line, columns=len(head), known=known))
        except ValueError as error:
            raise DatasetError(f"{path}: row {number}: {error}") from error
    return tuple(name.removeprefix(PROBABILITY) for name in names), tuple(rows)


def _row(line: list[str], *, columns: int, known: bool) -> ClipResult:
    if len(line) != columns:
        raise ValueError(f"{len(line)} values in {columns} columns")
    value = dict(zip(COLUMNS, line, strict=False))
    given = line[len(COLUMNS) : -1 if known else None]
    return ClipResult(
        clip=value["clip"],
        path=value["path"],
        label=value["label"],
        group=value["group"] or None,
        fold=int(value["fold"]) if value["fold"] else None,
        probabilities=None if value["reason"] else tuple(float(p) for p in given),
        reason=_reason(value["reason"]),
        detail=value["detail"],
        uncalibrated=float(line[-1]) if known and line[-1] else None,
    )


def _reason(word: str) -> Reason | None:
    if not word:
        return None
    for reason in REASONS:
        if word == reason:
            return reason
    raise ValueError(f"'{word}' is not a reason code; known are {', '.join(REASONS)}")
