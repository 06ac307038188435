"""Tests of what is told of each epoch of a training."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marey import commands
from marey.commands.steps.epochs import EpochNotes, epoch_text, kept_text
from marey.progress import Reporter, Stage
from marey.training import Epoch, kept_values, watched_epochs
from marey.training.epochs import report_epoch

HISTORY = {
    "train_loss": [1.0, 0.5, 0.25, 0.125],
    "train_accuracy": [0.5, 0.75, 0.875, 1.0],
    "val_loss": [1.25, 0.75, 0.5, 1.5],
    "val_accuracy": [0.25, 0.5, 0.5, 0.25],
    "val_macro_f1": [0.25, 0.5, 0.5, 0.25],
    "learning_rate": [0.1] * 4,
}


class Heard(Reporter, Stage):
    """Keeps sentences and notes."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.notes: list[tuple[int, str]] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def advance(self, done: int, note: str = "") -> None:
        self.notes.append((done, note))

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        yield self if title == "training" else Stage()


def test_training_says_loss_and_accuracy_of_training_and_validation_while_it_runs_and_at_its_end(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    heard = Heard()
    commands.train(small_set, recipe="default-0.1", out=tmp_path / "run", set=small_changes, reporter=heard)
    notes = [note for _, note in heard.notes if note]
    number = r"\d+\.\d{3}"
    both = f"loss {number}, accuracy {number}"
    assert re.fullmatch(rf"epoch \d+ of \d+: {both}; validation: {both}", notes[0])
    (kept,) = (each for each in heard.sentences if each.startswith("at the epoch that was kept"))
    assert re.search(rf": {both}; validation: {both}$", kept)
    tables = sorted((tmp_path / "run" / "folds" / "01" / "choose").rglob("metrics.csv"))
    with tables[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {f"{float(row['train_accuracy']):.3f}" for row in rows} >= {notes[0].split("accuracy ")[1][:5]}


def test_the_note_of_an_epoch_names_the_fold_that_the_bar_stands_at() -> None:
    heard = Heard()
    notes = EpochNotes(heard)
    notes.on_fold(3, 5)
    with watched_epochs(notes.on_epoch):
        report_epoch(2, 2, {"train_loss": 0.5, "train_accuracy": 0.75})
    report_epoch(1, 2, {"train_loss": 0.5, "train_accuracy": 0.75})  # nobody watches any more
    assert heard.notes == [(3, ""), (3, "epoch 2 of 2: loss 0.500, accuracy 0.750")]


def test_hundreds_of_epochs_a_second_are_noted_a_few_times_and_the_last_always() -> None:
    heard = Heard()
    notes = EpochNotes(heard)
    values = {"train_loss": 0.5, "train_accuracy": 0.75}
    for number in range(1, 301):
        notes.on_epoch(Epoch(number, 300, values))
    assert len(heard.notes) < 150
    assert heard.notes[-1][1].startswith("epoch 300 of 300")


def test_the_kept_epoch_is_the_last_of_those_with_the_best_score() -> None:
    assert kept_values(HISTORY)["val_loss"] == 0.5
    plain = {name: values for name, values in HISTORY.items() if not name.startswith("val")}
    assert kept_values({**plain, "val_macro_f1": []})["train_loss"] == 0.125
    assert kept_text([]) is None
    assert kept_text([HISTORY]) == (
        "at the epoch that was kept: loss 0.250, accuracy 0.875; validation: loss 0.500, accuracy 0.500"
    )
    assert "mean of 2 trainings" in str(kept_text([HISTORY, HISTORY]))


def test_values_of_validation_are_left_out_where_there_are_none() -> None:
    assert epoch_text({"train_loss": 1.0, "train_accuracy": 0.5}) == "loss 1.000, accuracy 0.500"


def test_a_watcher_that_fails_is_not_watched_by_the_next_training() -> None:
    def fail(_: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), watched_epochs(fail):
        report_epoch(1, 1, {})
    report_epoch(1, 1, {})
