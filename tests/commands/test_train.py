from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from marey import commands
from marey.commands.steps.predictions import Predictions
from marey.data import write_quarantine
from marey.data.hashing import values_hash
from marey.data.scan import ScanRow
from marey.errors import DatasetError, UnknownNameError, UsageError
from marey.evaluation import read_predictions
from marey.progress import Reporter, Stage
from marey.training import load_recipe
from said import Said


class StoppedError(Exception):
    """What stops a run in a test."""


class StopAfter(Reporter):
    """Stops a run once so many folds are done."""

    def __init__(self, folds: int) -> None:
        self._folds = folds

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        folds = self._folds if title == "training" else -1

        class Watch(Stage):
            def advance(self, done: int, note: str = "") -> None:
                if done == folds:
                    raise StoppedError

        yield Watch()


def outcome(run: Path) -> tuple[bytes, bytes]:
    return (run / "metrics.json").read_bytes(), (run / "predictions.csv").read_bytes()


def copy_of(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def spoil(path: Path) -> Path:
    path.write_text("this was a video once\n" * 40)
    return path


def test_a_run_leaves_a_model_metrics_predictions_a_report_and_its_recipe(
    small_run: Path, small_changes: list[str]
) -> None:
    for name in ("model/config.json", "model/model.safetensors", "metrics.json", "predictions.csv", "report.html"):
        assert (small_run / name).stat().st_size > 0
    assert load_recipe(small_run / "recipe.yaml") == load_recipe("default-0.1", changes=small_changes)
    metrics = json.loads((small_run / "metrics.json").read_text(encoding="utf-8"))
    labels, rows = read_predictions(small_run / "predictions.csv")
    assert labels == ("boxing", "walking")
    assert metrics["clips"] == len(rows)
    assert metrics["leaks"] == {"count": 0, "note": None}
    assert 0.0 <= metrics["accuracy"] <= 1.0
    assert not [path for path in small_run.rglob("*") if path.name.startswith(".")]


def test_people_who_are_tested_on_are_not_trained_on(small_run: Path) -> None:
    _, rows = read_predictions(small_run / "predictions.csv")
    assert {row.group for row in rows} < {f"person{number:02d}" for number in range(1, 7)}
    assert {row.label for row in rows} == {"boxing", "walking"}


def test_the_same_recipe_and_seed_twice_give_the_same_bytes(
    small_run: Path, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    commands.train(str(small_set), recipe="default-0.1", out=tmp_path / "again", set=small_changes)
    assert outcome(tmp_path / "again") == outcome(small_run)


@pytest.mark.long
def test_the_same_recipe_without_what_the_cache_knows_gives_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, small_run: Path, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    commands.train(str(small_set), recipe="default-0.1", out=tmp_path / "again", set=small_changes)
    assert outcome(tmp_path / "again") == outcome(small_run)


def test_a_finished_run_started_again_stays_as_it_is(
    small_run: Path, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    run = copy_of(small_run, tmp_path / "run")
    weights = (run / "folds" / "01" / "model" / "model.safetensors").stat().st_mtime_ns
    notes = Said()
    commands.train(str(small_set), recipe="default-0.1", out=run, set=small_changes, reporter=notes)
    assert outcome(run) == outcome(small_run)
    assert (run / "folds" / "01" / "model" / "model.safetensors").stat().st_mtime_ns == weights
    assert "going on with the run" in notes


@pytest.mark.long
def test_a_run_whose_recipe_had_fewer_keys_when_it_was_made_goes_on(
    small_run: Path, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    run = copy_of(small_run, tmp_path / "run")
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    del recipe["sampling"]["decoder"], recipe["testing"]
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**about, "recipe": "0" * 32}), encoding="utf-8")
    with pytest.raises(UsageError, match="differs in its recipe"):  # somebody has changed the file
        commands.train(str(small_set), recipe="default-0.1", out=run, set=small_changes)
    about["recipe"] = values_hash({**recipe, "search": {}})
    (run / "run.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(UsageError, match="differs in its recipe"):
        commands.train(str(small_set), recipe="default-0.1", out=run, set=[*small_changes, "testing.clips=2"])
    commands.train(str(small_set), recipe="default-0.1", out=run, set=small_changes)
    assert outcome(run) == outcome(small_run)
    assert (run / "recipe.yaml").read_bytes() == (small_run / "recipe.yaml").read_bytes()


@pytest.mark.long
def test_a_run_that_was_stopped_takes_the_finished_folds_and_ends_as_if_it_had_not_been(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    commands.train(str(small_set), out=whole, folds="3", set=small_changes)
    with pytest.raises(StoppedError):
        commands.train(str(small_set), out=run, folds="3", set=small_changes, reporter=StopAfter(2))
    assert not (run / "metrics.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in run.glob("folds/*/training.json")}
    assert len(finished) == 2
    commands.train(str(small_set), out=run, folds="3", set=small_changes)
    assert outcome(run) == outcome(whole)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_folds_test_every_clip_once_and_a_model_of_all_is_left(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    result = commands.train(str(small_set), out=tmp_path / "run", folds="group", set=small_changes)
    _, rows = read_predictions(tmp_path / "run" / "predictions.csv")
    assert len({row.clip for row in rows}) == len(rows) == 12
    assert {row.fold for row in rows} == {1, 2, 3, 4, 5, 6}
    assert all(len({row.group for row in rows if row.fold == fold}) == 1 for fold in range(1, 7))
    assert result.metrics.protocol == "leave one group out, 6 folds"
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text(encoding="utf-8"))
    assert len(config["made_with"]["trained_on"]) == 12


def test_another_recipe_or_other_data_in_the_same_place_is_refused_and_restart_replaces_it(
    small_run: Path, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    run = copy_of(small_run, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"differs in its recipe; .*--if-exists restart"):
        commands.train(str(small_set), recipe="default-0.1", out=run, set=[*small_changes, "head.options.parts=2"])
    with pytest.raises(UsageError, match=r"differs in its splits"):
        commands.train(str(small_set), recipe="default-0.1", out=run, folds="2", set=small_changes)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    changed = [*small_changes, "head.options.parts=2"]
    commands.train(str(small_set), recipe="default-0.1", out=run, set=changed, if_exists="restart")
    assert load_recipe(run / "recipe.yaml").head.options["parts"] == 2
    fresh = tmp_path / "fresh"
    commands.train(str(small_set), recipe="default-0.1", out=fresh, set=changed)
    assert outcome(run) == outcome(fresh)


@pytest.mark.parametrize("if_exists", ["resume", "restart"])
def test_a_folder_of_other_things_is_refused_and_untouched(
    small_set: Path, small_changes: list[str], tmp_path: Path, if_exists: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other things than a run"):
        commands.train(str(small_set), out=tmp_path, set=small_changes, if_exists=if_exists)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "thesis.txt"]
    with pytest.raises(UsageError, match="is a file"):
        commands.train(str(small_set), out=tmp_path / "model" / "thesis.txt", set=small_changes)


def test_a_clip_that_cannot_be_used_counts_as_wrong_and_is_named(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    data = copy_of(small_set, tmp_path / "data")
    bad = spoil(data / "walking" / "person03_walking_d1_uncomp.mp4")
    run, notes = tmp_path / "run", Said()
    result = commands.train(str(data), out=run, folds="3", set=small_changes, reporter=notes)
    assert (result.metrics.clips, result.metrics.failed) == (12, 1)
    assert result.metrics.failed_reasons == {"not_video": 1}
    _, rows = read_predictions(run / "predictions.csv")
    (row,) = [row for row in rows if row.reason is not None]
    assert (row.clip, row.reason) == (bad.as_posix(), "not_video")
    right = sum(row.probabilities is not None and _said(row.probabilities) == row.label for row in rows)
    assert result.metrics.accuracy == pytest.approx(right / 12)
    assert "1 files cannot be used, and count as wrong" in notes
    with (run / "quarantine.csv").open(newline="") as file:
        (listed,) = csv.DictReader(file)
    assert (Path(listed["path"]), listed["reason"]) == (bad, "not_video")
    assert bad.name in (run / "report.html").read_text(encoding="utf-8")

    without = commands.train(str(data), out=tmp_path / "without", exclude=run / "quarantine.csv", set=small_changes)
    assert without.metrics.excluded == (bad.as_posix(),)
    assert without.metrics.failed == 0
    assert json.loads((tmp_path / "without" / "metrics.json").read_text())["excluded"] == [bad.as_posix()]


def _said(probabilities: tuple[float, ...]) -> str:
    return ("boxing", "walking")[probabilities.index(max(probabilities))]


def test_a_file_that_is_on_both_sides_is_said_beside_the_number(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    data = copy_of(small_set, tmp_path / "data")
    twin = data / "boxing" / "person05_boxing_d1_uncomp.mp4"
    rows = ["path,label,group,split"]
    for number, path in enumerate(sorted(data.rglob("*.mp4"))):
        part = "test" if number % 6 == 5 else "train"
        rows.append(f"{path.relative_to(data).as_posix()},{path.parent.name},{number},{part}")
    shutil.copyfile(twin, data / "twin.mp4")
    rows.append("twin.mp4,boxing,t,test")
    (data / "manifest.csv").write_text("\n".join(rows) + "\n")
    result = commands.train(str(data), out=tmp_path / "run", set=small_changes)
    assert result.metrics.leaks == 1
    assert "1 identical file" in (result.metrics.leak or "")
    assert "1 identical file" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_labels_and_paths_with_commas_spaces_and_other_alphabets_go_through(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    data = tmp_path / "mes vidéos, été"
    for old, new in (("boxing", "boîte, [bold]à poings"), ("walking", "走る 'x' \"y\"")):
        copy_of(small_set / old, data / new)
    run = tmp_path / "läufe 1, 2"
    result = commands.train(str(data), out=run, set=small_changes)
    labels, rows = read_predictions(run / "predictions.csv")
    assert set(labels) == {"boîte, [bold]à poings", "走る 'x' \"y\""}
    assert all(Path(row.path).is_file() for row in rows)
    answer = commands.predict(run, [str(data)])
    assert isinstance(answer, Predictions)
    assert answer.predictions[0].label in labels
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8"))["clips"] == result.metrics.clips


def test_what_is_wrong_is_said_before_the_run_has_a_folder(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(UnknownNameError, match="recipe"):
        commands.train(str(small_set), out=run, recipe="quick")
    with pytest.raises(UsageError, match="neither 'group' nor a number"):
        commands.train(str(small_set), out=run, folds="people")
    with pytest.raises(UnknownNameError, match=r"no device is called 'gpu'"):
        commands.train(str(small_set), out=run, device="gpu")
    with pytest.raises(DatasetError, match="not a quarantine list"):
        commands.train(str(small_set), out=run, exclude=_listing(tmp_path / "list.csv"))
    assert not run.exists()


def _listing(path: Path) -> Path:
    path.write_text("name\nx\n")
    return path


@pytest.mark.long
def test_groups_come_from_the_expression_that_is_given(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    notes = Said()
    commands.train(
        str(small_set), out=tmp_path / "run", group_regex=r"(person0[1-3]|person0[4-6])", set=small_changes, folds="2",
        reporter=notes,
    )  # fmt: skip
    _, rows = read_predictions(tmp_path / "run" / "predictions.csv")
    assert {row.group for row in rows} == {f"person0{number}" for number in range(1, 7)}
    assert any("person0[1-3]" in sentence for sentence in notes.sentences)


def test_nothing_is_left_to_train_on_is_an_input_error(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    data = copy_of(small_set, tmp_path / "data")
    for path in data.rglob("*.mp4"):
        spoil(path)
    with pytest.raises(DatasetError, match=r"none of the 12 clips can be used; `marey data scan` says why"):
        commands.train(str(data), out=tmp_path / "run", set=small_changes)
    assert (tmp_path / "run" / "quarantine.csv").is_file()


@pytest.mark.long
def test_a_list_of_what_to_leave_out_takes_spans_by_name(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    left_out = sorted(small_set.rglob("*.mp4"))[0]
    write_quarantine([ScanRow(left_out, False, "corrupt", "x", None)], tmp_path / "out.csv")
    result = commands.train(str(small_set), out=tmp_path / "run", exclude=tmp_path / "out.csv", set=small_changes)
    assert result.metrics.excluded == (left_out.as_posix(),)


@pytest.mark.long
def test_a_run_that_is_stopped_at_its_very_start_can_be_started_again(
    monkeypatch: pytest.MonkeyPatch, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("marey.training.Recipe.to_yaml", lambda recipe: stop())
        with pytest.raises(StoppedError):
            commands.train(str(small_set), out=tmp_path / "run", set=small_changes)
    assert commands.train(str(small_set), out=tmp_path / "run", set=small_changes).metrics.clips
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".run.json.part").write_text("{")
    assert commands.train(str(small_set), out=tmp_path / "other", set=small_changes).metrics.clips


def stop() -> str:
    raise StoppedError


@pytest.mark.long
def test_two_processes_train_the_model_of_one(small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    changes = ["encoder.size=32", "sampling.count=3", "training.epochs=2", "training.batch_size=4"]
    options = ["head.options.dropout=0.0", "head.options.filters=4"]
    answers = []
    for devices in (1, 2):
        out = tmp_path / str(devices)
        result = commands.train(
            small_set, recipe="c3d-lstm-gru", out=out, set=changes + options, device="cpu", devices=devices
        )
        assert not result.of_other_process
        answers.append([row.probabilities for row in read_predictions(out / "predictions.csv")[1]])
    for one, two in zip(*answers, strict=True):
        assert two == pytest.approx(one, abs=1e-3)
