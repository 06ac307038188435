"""Tables of predictions: a row for each clip, or for each frame of videos."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from marey.atomic import atomic_file, write_atomic
from marey.data.csv_cells import CsvWriter
from marey.evaluation import PROBABILITY
from marey.prediction import Prediction, Timeline
from marey.video import Limits, play

FRAME_COLUMNS: Final = ("source", "frame", "time", "predicted", "confidence")
"""Columns before those of the classes, `p_<label>`."""


def write_label_table(predictions: Sequence[Prediction], path: Path) -> None:
    """Write the label of each clip as CSV, or why there is none.

    Where sets of labels were asked for, `set` holds them, separated by "|", and `set_level` what they promise.
    """
    sets = any(each.level is not None for each in predictions)
    table = io.StringIO()
    rows = CsvWriter(table)
    rows.writerow(("source", "label", "confidence", "reason", "detail", *(("set", "set_level") if sets else ())))
    for each in predictions:
        confidence = "" if each.reason is not None else f"{each.top(1)[0][1]:.6f}"
        held = ("|".join(each.label_set), "" if each.level is None else f"{each.level:g}") if sets else ()
        rows.writerow((each.source, each.label or "", confidence, each.reason or "", each.detail or "", *held))
    write_atomic(path, table.getvalue(), single_writer=True)


def write_frame_table(
    timelines: Sequence[Timeline],
    path: str | Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_row: Callable[[int], None] | None = None,
) -> None:
    """Write a CSV file with a row for each frame of each video, atomically.

    The videos are decoded once more, for the times of their frames: these need not be evenly spaced.

    Args:
        timelines: of one model, one for each video.
        path: the file; its folder is made if it does not exist.
        limits: of decoding.
        on_row: called after each row with the number of rows so far.

    Raises:
        VideoError: a video cannot be read any more.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    labels, written = timelines[0].labels if timelines else (), 0
    with (
        atomic_file(path) as part,
        part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = CsvWriter(file)
        table.writerow([*FRAME_COLUMNS, *(PROBABILITY + label for label in labels)])
        for timeline in timelines:
            with play(timeline.source, limits=limits) as playback:
                for frame in playback:
                    row = timeline.probabilities_at(frame.time)
                    best = int(row.argmax())
                    named = (timeline.source, frame.number, f"{frame.time:.6f}", labels[best], f"{row[best]:.6f}")
                    table.writerow([*named, *(f"{value:.6f}" for value in row)])
                    written += 1
                    if on_row is not None:
                        on_row(written)
