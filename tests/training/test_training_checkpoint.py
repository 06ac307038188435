from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from marey.training.checkpoint import QUANTITIES, History, write_logs


def history(epochs: int = 3, *, validated: bool = True) -> History:
    found = {name: [0.5 / (place + 1) + epoch for epoch in range(epochs)] for place, name in enumerate(QUANTITIES)}
    return found if validated else found | {name: [] for name in found if name.startswith("val_")}


def test_tensorboard_reads_every_quantity_of_every_epoch(tmp_path: Path) -> None:
    write_logs(history(), tmp_path / "fit", steps=4)
    events = EventAccumulator(str(tmp_path / "fit")).Reload()
    assert set(events.Tags()["scalars"]) == set(QUANTITIES)
    for name in QUANTITIES:
        assert [event.value for event in events.Scalars(name)] == pytest.approx(history()[name])
        assert [event.step for event in events.Scalars(name)] == [3, 7, 11]


def test_without_tensorboard_the_table_is_written_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    write_logs(history(), tmp_path, steps=4)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_the_table_has_a_row_an_epoch_and_no_column_without_values(tmp_path: Path) -> None:
    write_logs(history(validated=False), tmp_path, steps=2)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "step", "train_loss", "train_accuracy", "learning_rate"]
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [float(row["train_loss"]) for row in rows] == history()["train_loss"]


def test_what_an_earlier_try_has_left_is_replaced(tmp_path: Path) -> None:
    write_logs(history(5), tmp_path, steps=1)
    for old in tmp_path.glob("events*"):
        old.rename(tmp_path / "events.out.tfevents.1.other.2")
    write_logs(history(2), tmp_path, steps=1)
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3
