from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marey import commands
from marey.commands.tune import Tuning
from marey.data import load_data
from marey.errors import UsageError
from marey.extras import install_command
from marey.training import load_recipe, make_splits
from marey.training.tune import sole_use

SPACE = (
    "search={head.options.dropout: {low: 0.0, high: 0.8}, training.learning_rate: {low: 1e-4, high: 1e-1, log: true}}"
)


@pytest.fixture(scope="module")
def changes(small_changes: list[str]) -> list[str]:
    return [*small_changes, "training.inner_folds=1", "training.epochs=5", SPACE]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, small_set: Path, changes: list[str]) -> Tuning:
    """A search of three trials; not to be changed."""
    out = tmp_path_factory.mktemp("tuning") / "out"
    return commands.tune(str(small_set), recipe="default-0.1", out=out, trials=3, folds="2", set=changes)


def tried(found: Tuning) -> list[tuple[dict[str, Any], float | None]]:
    return [(trial.parameters, trial.score) for trial in found.trials if trial.state != "failed"]


def test_the_best_recipe_is_written_out_and_trains_as_it_is(tuned: Tuning, small_set: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tuned.recipe)
    assert recipe.name == "default-0.1-tuned"
    assert recipe.training.learning_rate == tuned.best.parameters["training.learning_rate"]
    assert recipe.head.options["dropout"] == tuned.best.parameters["head.options.dropout"]
    commands.train(str(small_set), recipe=str(tuned.recipe), out=tmp_path / "run")
    for name in ("metrics.json", "predictions.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tuned.folder / "best" / name).read_bytes()


def test_the_first_trial_is_the_recipe_as_it_is_and_the_best_is_no_worse(tuned: Tuning) -> None:
    first = tuned.trials[0]
    assert first.parameters == {"head.options.dropout": 0.5, "training.learning_rate": 0.001}
    assert tuned.best.score == max(trial.score or 0.0 for trial in tuned.trials if trial.state == "complete")


def test_a_search_leaves_its_trials_a_page_and_pictures(tuned: Tuning) -> None:
    for name in ("study.db", "best.yaml", "tune.html", "tune.json", "history.png", "best/report.html"):
        assert (tuned.folder / name).stat().st_size > 0
    assert list((tuned.folder / "trials" / "0000").glob("01/events*"))
    values = json.loads((tuned.folder / "tune.json").read_text(encoding="utf-8"))
    assert len(values["trials"]) == 3
    assert values["test"]["accuracy"] == tuned.result.metrics.accuracy


@pytest.mark.long
def test_clips_that_are_tested_on_have_no_say_in_the_search(
    tuned: Tuning, small_set: Path, changes: list[str], tmp_path: Path
) -> None:
    clips = tmp_path / "clips"
    shutil.copytree(small_set, clips)
    manifest = load_data(str(clips))
    recipe = load_recipe("default-0.1", changes=changes)
    (part,) = make_splits(manifest, folds=None, test=recipe.test, seed=recipe.seed).splits
    assert part.test
    for index in part.test:
        manifest.clips[index].path.write_text("this was a video once\n" * 40)
    found = commands.tune(str(clips), recipe="default-0.1", out=tmp_path / "out", trials=3, folds="2", set=changes)
    assert tried(found) == tried(tuned)
    assert found.result.metrics.failed == len(part.test)
    assert tuned.result.metrics.failed == 0


@pytest.mark.long
def test_more_trials_go_on_where_it_was_and_a_second_look_at_the_test_part_is_said(
    tuned: Tuning, small_set: Path, changes: list[str], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"out": tmp_path / "out", "folds": "2", "set": changes}
    first = commands.tune(str(small_set), recipe="default-0.1", trials=1, **options)
    found = commands.tune(str(small_set), recipe="default-0.1", trials=3, **options)
    assert tried(found) == tried(tuned)
    looks = [note for note in found.notes if "looked at" in note]
    assert len(looks) == (found.best.number != first.best.number)
    model = found.folder / "best" / "folds" / "01" / "model" / "model.safetensors"
    before = model.stat().st_mtime_ns
    assert commands.tune(str(small_set), recipe="default-0.1", trials=3, **options).best == found.best
    assert model.stat().st_mtime_ns == before


@pytest.mark.long
def test_trials_that_read_the_clips_in_other_ways_get_the_features_that_they_ask_for(
    small_set: Path, changes: list[str], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"sampler": "grid", "folds": "2"}
    both = "search={sampling.count: {choices: [2, 6]}, training.learning_rate: {choices: [0.001, 0.01]}}"
    found = commands.tune(
        str(small_set), recipe="default-0.1", out=tmp_path / "both", trials=4, set=[*changes, both], **options
    )
    scores = {
        (trial.parameters["sampling.count"], trial.parameters["training.learning_rate"]): trial.score
        for trial in found.trials
    }
    assert len(scores) == 4
    assert scores[2, 0.01] != scores[6, 0.01] or scores[2, 0.001] != scores[6, 0.001]
    for count in (2, 6):
        space = [f"sampling.count={count}", "search={training.learning_rate: {choices: [0.001, 0.01]}}"]
        alone = commands.tune(
            str(small_set), recipe="default-0.1", out=tmp_path / str(count), trials=2, set=[*changes, *space], **options
        )
        for trial in alone.trials:
            assert scores[count, trial.parameters["training.learning_rate"]] == trial.score


@pytest.mark.long
def test_values_that_cannot_be_had_are_a_trial_with_its_reason(
    small_set: Path, changes: list[str], tmp_path: Path
) -> None:
    space = "search={encoder.name: {choices: [mobilenetv3_small_050, no_such_network]}}"
    found = commands.tune(
        str(small_set),
        recipe="default-0.1",
        out=tmp_path / "out",
        trials=2,
        sampler="grid",
        folds="2",
        set=[*changes, space],
    )
    reasons = {trial.parameters["encoder.name"]: trial.reason for trial in found.trials}
    assert reasons["mobilenetv3_small_050"] is None
    assert "no encoder is called 'no_such_network'" in (reasons["no_such_network"] or "")
    assert any("1 trial could not be run" in note for note in found.notes)


def test_two_searches_at_once_in_one_place_are_refused(tuned: Tuning, small_set: Path, changes: list[str]) -> None:
    with sole_use(tuned.folder / "study.lock"), pytest.raises(UsageError, match="another search is at work"):
        commands.tune(str(small_set), recipe="default-0.1", out=tuned.folder, trials=3, folds="2", set=changes)


def test_another_recipe_or_a_folder_of_other_things_is_refused(
    tuned: Tuning, small_set: Path, changes: list[str]
) -> None:
    with pytest.raises(UsageError, match="holds a search that differs in its recipe"):
        commands.tune(
            str(small_set), recipe="default-0.1", out=tuned.folder, folds="2", set=[*changes, "training.epochs=6"]
        )
    with pytest.raises(UsageError, match="holds a search that differs in its validation folds and seed"):
        commands.tune(str(small_set), recipe="default-0.1", out=tuned.folder, folds="3", set=changes, seed=1)
    with pytest.raises(UsageError, match="holds other things than a search"):
        commands.tune(str(small_set), recipe="default-0.1", out=tuned.folder / "best", set=changes)
    with pytest.raises(UsageError, match="trials=0: at least one is needed"):
        commands.tune(str(small_set), recipe="default-0.1", out=tuned.folder, trials=0, set=changes)


def test_without_optuna_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, small_set: Path, changes: list[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=re.escape(install_command("tune"))):
        commands.tune(str(small_set), recipe="default-0.1", out=tmp_path / "out", set=changes)


@pytest.mark.long
def test_the_program_prints_the_best_values_and_answers_in_json(
    call_marey: Callable[..., Any], tuned: Tuning, small_set: Path, changes: list[str]
) -> None:
    words = [word for change in changes for word in ("--set", change)]
    asked = [
        "tune",
        small_set,
        "--recipe",
        "default-0.1",
        "--out",
        tuned.folder,
        "--trials",
        "3",
        "--folds",
        "2",
        *words,
    ]
    ended = call_marey(*asked)
    assert ended.code == 0
    assert "training.learning_rate" in ended.out
    assert str(tuned.recipe) in ended.out
    answer = json.loads(call_marey(*asked, "--json").out)
    assert answer["best"]["number"] == tuned.best.number
    assert answer["test"]["metrics"]["accuracy"] == tuned.result.metrics.accuracy


def test_a_shared_search_goes_on_from_another_folder_with_the_same_best(
    small_set: Path, tmp_path: Path, changes: list[str]
) -> None:
    storage = str(tmp_path / "search.log")
    one, two = (
        commands.tune(
            str(small_set),
            recipe="default-0.1",
            out=tmp_path / name,
            trials=2,
            folds="2",
            set=changes,
            storage=storage,
        )
        for name in ("one", "two")
    )
    assert tried(one) == tried(two)
    assert not (two.folder / "study.db").exists()
    assert not (two.folder / "trials").exists()
    for name in ("metrics.json", "predictions.csv"):
        assert (one.folder / "best" / name).read_bytes() == (two.folder / "best" / name).read_bytes()
