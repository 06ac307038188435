"""Data sets that are small, short or uneven: every family of recipes uses them, or says what is missing."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

import marey
from marey import commands
from marey.errors import DatasetError
from marey.training import load_recipe

FAMILIES = ("default-0.1", "lrcn-small", "auto", "transformer", "convlstm", "c3d-lstm-gru")
"""Linear on features; a network from frames; streams that are chosen; and further networks."""
QUICK = {("default-0.1", "one clip in a class"), ("lrcn-small", "a last batch of one")}

Write = Callable[..., str]


@pytest.fixture
def row(small_set: Path) -> Write:
    """A function that returns a row of a manifest: a span of a drawn clip."""

    def write(action: str, actor: int, *, label: str = "", start: str = "", end: str = "", split: str = "") -> str:
        path = small_set / action / f"person{actor:02d}_{action}_d1_uncomp.mp4"
        return f"{path},{label or action},{actor}-{start},{start},{end},{split}"

    return write


def rows_of(case: str, row: Write) -> list[str]:
    both, six = ("boxing", "walking"), range(1, 7)
    match case:
        case "one clip in a class":
            return [row(action, actor) for action in both for actor in range(1, 6)] + [
                row("walking", 6, label="running")
            ]
        case "short":  # a frame and a half each
            return [row(action, actor, start="0.2", end="0.26") for action in both for actor in six]
        case "84 % in a class":
            spans = [("0", "0.4"), ("0.3", "0.7"), ("0.6", "1")]
            many = [row("boxing", actor, start=start, end=end) for actor in six for start, end in spans]
            return many + [row("walking", actor) for actor in (1, 2, 3)]
        case "a last batch of one":  # five clips to train on in batches of four, and one to validate on
            train = [row(action, actor, split="train") for action in both for actor in (1, 2)]
            return [
                *train,
                row("boxing", 3, split="train"),
                row("boxing", 4, split="val"),
                *(row(action, 5, split="test") for action in both),
            ]
    raise AssertionError(case)


CASES = ("one clip in a class", "short", "84 % in a class", "a last batch of one")


def smaller(name: str) -> list[str]:
    """What makes a recipe quick without making it another one."""
    recipe = load_recipe(name)
    size = 32 if recipe.encoder.name in ("pixels", "grey-pixels") else 64
    changes = ["encoder.weights=random", "head.weights=random", "sampling.count=3", f"encoder.size={size}"]
    if recipe.training.solver == "adamw":
        changes += ["training.epochs=1", "training.batch_size=4"]
    return [*changes, "training.inner_folds=1"] if recipe.training.inner_folds > 1 else changes


@pytest.mark.parametrize(
    ("recipe", "case"),
    [
        pytest.param(recipe, case, marks=() if (recipe, case) in QUICK else (pytest.mark.long,))
        for recipe in FAMILIES
        for case in CASES
    ],
)
def test_every_clip_is_trained_or_tested_on(recipe: str, case: str, row: Write, tmp_path: Path) -> None:
    rows = rows_of(case, row)
    listed = tmp_path / "manifest.csv"
    listed.write_text("\n".join(["path,label,group,start,end,split", *rows]) + "\n", encoding="utf-8")
    result = commands.train(str(listed), recipe=recipe, out=tmp_path / "run", set=smaller(recipe))
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        tested = [row["path"] for row in csv.DictReader(file)]
    assert 0 < len(tested) == result.metrics.clips
    assert set(tested) <= {text.split(",")[0] for text in rows}
    known = {text.split(",")[1] for text in rows}
    assert set(marey.Predictor(tmp_path / "run").labels) == known


def test_classes_of_one_clip_each_are_refused_with_the_number_that_it_takes(row: Write, tmp_path: Path) -> None:
    listed = tmp_path / "manifest.csv"
    rows = ["path,label,group,start,end,split", row("boxing", 1), row("walking", 1)]
    listed.write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="each of the 2 classes has one clip: at least two are needed"):
        commands.train(str(listed), recipe="default-0.1", out=tmp_path / "run", set=smaller("default-0.1"))
