"""Bounds on wrong answers and sets of labels, from a trained model to the outputs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey.errors import ModelFormatError, UsageError
from marey.evaluation import control_risk
from marey.models import ActionModel, HeldOutAnswers, load_model, save_model
from marey.prediction import Predictor


@pytest.fixture(scope="module")
def model(small_run: Path) -> ActionModel:
    return load_model(small_run)


def test_a_model_keeps_its_answers_for_held_out_clips(model: ActionModel, tmp_path: Path) -> None:
    kept = model.held_out
    assert kept is not None
    assert kept.config == model.config.held_out
    assert kept.config.clips == len(kept.own) == len(kept.groups)
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model").held_out
    assert again is not None
    assert all(np.array_equal(getattr(kept, name), getattr(again, name)) for name in ("own", "above", "rank", "groups"))


def test_a_table_that_does_not_fit_its_counts_is_refused(model: ActionModel, tmp_path: Path) -> None:
    kept = model.held_out
    assert kept is not None
    damaged = replace(kept, groups=kept.groups + 1)
    save_model(replace(model, held_out=damaged), tmp_path / "model")
    with pytest.raises(ModelFormatError, match="held_out"):
        load_model(tmp_path / "model")


def test_clips_get_sets_that_begin_with_their_label(small_run: Path, small_set: Path) -> None:
    for found in Predictor(small_run).predict(small_set, sets=0.5, unknown="never"):
        assert found.label_set[0] == found.label
        values = found.as_dict(1)
        assert (values["set"], values["set_level"]) == (list(found.label_set), 0.5)


def test_a_risk_sets_the_threshold(model: ActionModel, small_set: Path) -> None:
    assert model.held_out is not None
    control = control_risk(model.held_out, 0.3)
    for found in Predictor(model).predict(small_set, risk=0.3, unknown="never"):
        assert found.threshold == control.threshold
        assert (found.label is None) == (found.probabilities[0] < control.threshold)
        assert found.as_dict(1)["risk"]["guaranteed"] is control.guaranteed


def test_a_model_without_held_out_answers_promises_nothing(model: ActionModel, small_set: Path) -> None:
    with pytest.raises(UsageError, match="keeps none: train it again"):
        Predictor(replace(model, held_out=None)).predict(small_set, risk=0.05)


def test_the_command_writes_sets_and_says_what_they_are_worth(
    call_marey: Callable[..., Any], small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    told = call_marey("predict", small_run, small_set, "--sets", "0.9", "--risk", "0.05", "--csv", table)
    assert told.code == 0
    words = " ".join(told.out.split())
    assert "The sets are not guaranteed: 90 % takes 9 held-out groups" in words
    assert "takes 45 held-out groups without an error" in words or "No answer is given" in words
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert all(row["set"].split("|")[0] and row["set_level"] == "0.9" for row in rows)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sets", "90"), "sets=90"),
        (("--risk", "0.05", "--threshold", "0.5"), "leave one out"),
        (("--risk", "0.05", "--mode", "window"), "whole clips"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    call_marey: Callable[..., Any], small_run: Path, small_set: Path, options: tuple[str, ...], words: str
) -> None:
    told = call_marey("predict", small_run, small_set, *options)
    assert told.code != 0
    assert words in " ".join(told.err.split())


def test_a_run_measures_its_sets(small_run: Path) -> None:
    values = json.loads((small_run / "guarantees.json").read_text(encoding="utf-8"))
    sets = values["sets"]
    assert sets["coverage"] >= sets["accuracy"]
    assert sum(sets["sizes"].values()) == sets["clips"] == len(sets["of_clips"])
    assert "Sets of labels" in (small_run / "report.html").read_text(encoding="utf-8")


def test_groups_are_counted_once_where_the_clips_are_spans_of_files() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    kept = HeldOutAnswers.of(probabilities, [0, 0, 0], ["a", "a", "b"], grouped=False)
    assert (kept.config.groups, kept.unit) == (2, "clip")
    assert kept.weights.tolist() == [0.25, 0.25, 0.5]
    assert kept.correct.tolist() == [True, False, True]
    assert kept.above.tolist() == [0.0, 0.8, 0.0]
