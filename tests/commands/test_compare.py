from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marey import commands
from marey.commands.compare import Comparison
from marey.errors import UnknownNameError, UsageError
from marey.evaluation import read_predictions
from marey.progress import Reporter
from said import Said

LONG = """
name: long
description: Wants clips of four seconds, and none is as long.
sampling: {kind: dense, rate: 1, short: error}
streams: {appearance: {kind: appearance}}
head: {name: mean}
"""


class StoppedError(Exception):
    """What stops a comparison in a test."""


class StopAt(Reporter):
    """Stops where a sentence begins so."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def say(self, sentence: str) -> None:
        if sentence.startswith(self._sentence):
            raise StoppedError


@pytest.fixture(scope="module")
def changes(small_changes: list[str]) -> list[str]:
    return [*small_changes, "training.inner_folds=1", "training.epochs=5"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, small_set: Path, changes: list[str]) -> Comparison:
    """Two recipes with two seeds, and one that cannot be run; not to be changed."""
    folder = tmp_path_factory.mktemp("comparison")
    (folder / "long.yaml").write_text(LONG, encoding="utf-8")
    recipes = f"default-0.1,order-blind,{folder / 'long.yaml'}"
    return commands.compare(str(small_set), recipes=recipes, out=folder / "out", seeds=2, set=changes)


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-*/**/*") if path.is_file()}


def accuracies(folder: Path) -> dict[str, str]:
    with (folder / "compare.csv").open(newline="", encoding="utf-8") as file:
        return {row["recipe"]: row["accuracy"] for row in csv.DictReader(file)}


def test_every_run_is_the_one_that_train_makes(
    compared: Comparison, small_set: Path, changes: list[str], tmp_path: Path
) -> None:
    commands.train(str(small_set), recipe="order-blind", out=tmp_path / "run", set=[*changes, "seed=1"])
    run = compared.folder / "order-blind" / "seed-1"
    for name in ("metrics.json", "predictions.csv"):
        assert (run / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    assert (run / "model" / "model.safetensors").is_file()
    assert (run / "report.html").is_file()


def test_the_table_holds_what_the_runs_hold(compared: Comparison) -> None:
    by_name = {entry.recipe: entry for entry in compared.entries}
    assert set(by_name) == {"default-0.1", "order-blind", "long"}
    for name in ("default-0.1", "order-blind"):
        entry = by_name[name]
        right = []
        for seed in (0, 1):
            run = compared.folder / name / f"seed-{seed}"
            metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
            assert entry.seeds[seed] == (metrics["accuracy"], metrics["macro_f1"])
            labels, rows = read_predictions(run / "predictions.csv")
            right += [labels[max(range(2), key=(row.probabilities or ()).__getitem__)] == row.label for row in rows]
        assert entry.pooled is not None
        assert entry.pooled.accuracy == pytest.approx(sum(right) / len(right))
    best, second, _ = compared.entries
    assert best.behind is None
    assert second.behind is not None
    assert best.pooled is not None
    assert second.pooled is not None
    assert second.behind.accuracy == pytest.approx(best.pooled.accuracy - second.pooled.accuracy)
    assert second.p == second.behind.p  # one comparison: nothing to correct
    for name in ("compare.html", "compare.json", "compare.csv", "compare.png"):
        assert (compared.folder / name).stat().st_size > 0


def test_a_recipe_that_cannot_be_run_is_a_row_with_its_reason(compared: Comparison) -> None:
    failed = compared.entries[-1]
    assert (failed.recipe, failed.pooled) == ("long", None)
    assert failed.failure is not None
    assert "none of the 12 clips can be used" in failed.failure
    assert compared.usable


def test_costs_are_those_of_the_model_and_of_this_machine(compared: Comparison) -> None:
    (row,) = commands.list_models(str(compared.folder / "default-0.1" / "seed-0" / "recipe.yaml"), classes=2).rows
    entry = next(entry for entry in compared.entries if entry.recipe == "default-0.1")
    cost, time = entry.cost, entry.time
    assert cost is not None
    assert row.counts is not None
    assert (cost.trained, cost.frozen, cost.flops) == (row.counts.trained, row.counts.frozen, row.counts.flops)
    assert cost.clips_per_second is not None
    assert cost.clips_per_second > 0.1
    assert time is not None
    assert time.training > 0 < time.reading
    assert time.whole


def test_times_stand_in_run_json_and_in_no_file_that_has_to_be_the_same_again(compared: Comparison) -> None:
    run = compared.folder / "default-0.1" / "seed-0"
    times = json.loads((run / "run.json").read_text(encoding="utf-8"))["times"]
    assert set(times) == {"reading", "training", "images", "device"}
    assert "reading" not in (run / "metrics.json").read_text(encoding="utf-8")


@pytest.mark.long
def test_started_again_it_takes_all_runs_and_adds_another_recipe(
    compared: Comparison, small_set: Path, changes: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = commands.compare(str(small_set), recipes="order-blind", out=out, seeds=1, set=changes)
    before, cost = written(out), (out / "order-blind" / "cost.json").read_bytes()
    again = commands.compare(str(small_set), recipes="order-blind,default-0.1", out=out, seeds=1, set=changes)
    assert {path: time for path, time in written(out).items() if path in before} == before
    assert (out / "order-blind" / "cost.json").read_bytes() == cost
    found = {entry.recipe: entry for entry in again.entries}
    assert found["order-blind"].seeds == first.entries[0].seeds
    assert found["default-0.1"].seeds[0] == next(e for e in compared.entries if e.recipe == "default-0.1").seeds[0]


@pytest.mark.long
def test_what_was_interrupted_goes_on_to_the_same_numbers(
    compared: Comparison, small_set: Path, changes: list[str], tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "recipes": "default-0.1,order-blind",
        "out": tmp_path / "out",
        "seeds": 2,
        "set": changes,
    }
    with pytest.raises(StoppedError):
        commands.compare(str(small_set), reporter=StopAt("default-0.1, seed 1"), **options)
    before = written(tmp_path / "out")
    assert len({path.parts[-3:-1] for path in before if path.name == "metrics.json"}) == 2
    commands.compare(str(small_set), **options)
    assert {path: time for path, time in written(tmp_path / "out").items() if path in before} == before
    whole = accuracies(compared.folder)
    assert accuracies(tmp_path / "out") == {name: whole[name] for name in ("default-0.1", "order-blind")}


@pytest.mark.long
def test_what_is_so_for_all_runs_is_said_once(small_set: Path, changes: list[str], tmp_path: Path) -> None:
    said = Said()
    options: dict[str, Any] = {"recipes": "order-blind", "out": tmp_path / "out", "seeds": 2, "set": changes}
    commands.compare(str(small_set), reporter=said, **options)
    assert len(said.sentences) == len(set(said.sentences))
    assert len([sentence for sentence in said.sentences if "groups by the pattern" in sentence]) == 1
    assert [sentence for sentence in said.sentences if sentence.startswith("order-blind, seed 1")]


@pytest.mark.long
def test_a_run_that_was_stopped_half_way_says_so_beside_its_time(
    small_set: Path, changes: list[str], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"recipes": "order-blind", "out": tmp_path / "out", "seeds": 1, "set": changes}
    with pytest.raises(StoppedError):
        commands.compare(str(small_set), reporter=StopAt("reading clips"), **options)
    (entry,) = commands.compare(str(small_set), **options).entries
    assert entry.time is not None
    assert not entry.time.whole
    assert "interrupted" in (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")


def test_other_runs_in_its_place_are_not_mixed_with_it(
    compared: Comparison, small_set: Path, changes: list[str]
) -> None:
    before = written(compared.folder)
    with pytest.raises(UsageError, match="holds a run that differs in its recipe"):
        commands.compare(
            str(small_set), recipes="default-0.1", out=compared.folder, seeds=2, set=[*changes, "training.epochs=6"]
        )
    assert written(compared.folder) == before


@pytest.mark.parametrize(
    ("recipes", "seeds", "error", "sentence"),
    [
        ("default-0.1,order-blnd", 2, UnknownNameError, "no recipe is called 'order-blnd'; did you mean 'order-blind'"),
        ("default-0.1,default-0.1", 2, UsageError, "two recipes are called 'default-0.1'"),
        (" , ", 2, UsageError, "no recipe is named; write --recipes auto,order-blind"),
        ("default-0.1", 0, UsageError, "seeds=0: at least one run of each recipe is needed"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_trained(
    small_set: Path, tmp_path: Path, recipes: str, seeds: int, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        commands.compare(str(small_set), recipes=recipes, out=tmp_path / "out", seeds=seeds)
    assert not (tmp_path / "out").exists()


def test_the_program_prints_a_table_and_ends_with_3_where_nothing_could_be_run(
    call_marey: Callable[..., Any], small_set: Path, changes: list[str], tmp_path: Path, compared: Comparison
) -> None:
    words = [word for change in changes for word in ("--set", change)]
    asked = ["--recipes", "default-0.1,order-blind", "--out", compared.folder, "--seeds", "2"]
    ended = call_marey("compare", small_set, *asked, *words)
    assert ended.code == 0
    assert "order-blind" in ended.out
    assert str(compared.folder / "compare.html") in ended.out
    (tmp_path / "long.yaml").write_text(LONG, encoding="utf-8")
    asked = ["--recipes", tmp_path / "long.yaml", "--out", tmp_path / "out", "--seeds", "1"]
    failed = call_marey("compare", small_set, *asked, *words, "--json")
    assert failed.code == 3
    (answer,) = json.loads(failed.out)["recipes"]
    assert "can be used" in answer["failure"]
