"""The program as a person or a script calls it: answers, exit codes, and what is said on which stream."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import marey
from interrupts import interrupted

Call = Callable[..., Any]

VERBS = ("train", "evaluate", "predict", "compare", "tune", "extract", "doctor", "demo", "data")


def changes(small_changes: list[str]) -> list[str]:
    return [word for change in small_changes for word in ("--set", change)]


def one_sentence(text: str) -> str:
    """What is said of an error: one line that begins with the program's name, and no traceback."""
    assert text.startswith("marey: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_verb_and_explains_every_option(call_marey: Call, verb: str) -> None:
    assert f" {verb} " in call_marey("--help").out
    helped = call_marey(verb, "--help")
    assert helped.code == 0
    assert "None" not in helped.out.replace("[default: None]", "")


def test_the_version_is_that_of_the_package(call_marey: Call) -> None:
    assert call_marey("--version").out == f"marey {marey.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "train"),
        (["train", "--out", "x"], "DATA"),
        (["train", "x"], "--out"),
        (["train", "x", "--out", "y", "--epoch", "3"], "--epochs"),
        (["predict", "x"], "SOURCES"),
        (["predict", "x", "y", "--top", "few"], "--top"),
        (["evaluate", "x", "y", "--out", "z", "--frame-order", "random"], "random"),
    ],
)
def test_a_wrong_call_ends_with_2_and_names_what_is_wrong(call_marey: Call, arguments: list[str], said: str) -> None:
    ended = call_marey(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert said in ended.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recipe", "aito"], "no recipe is called 'aito'; did you mean 'auto'?"),
        (["--set", "training.epoch=3"], "no key is called 'training.epoch'; did you mean 'epochs'?"),
        (["--set", "encoder.name=resnet5"], "no encoder is called 'resnet5'; did you mean 'resnet50'"),
        (["--folds", "people"], "folds='people' is neither 'group' nor a number"),
        (["--group-regex", "person(("], "person(("),
        (["--device", "gpu"], "no device is called 'gpu'"),
    ],
)
def test_a_wrong_choice_ends_with_2_and_the_way_out(
    call_marey: Call, small_set: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    ended = call_marey("train", small_set, "--out", tmp_path / "run", *arguments)
    assert ended.code == 2
    assert sentence in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("verb", ["train", "evaluate", "extract", "scan"])
def test_data_that_is_not_there_ends_with_3_in_one_sentence(
    call_marey: Call, small_run: Path, tmp_path: Path, verb: str
) -> None:
    nowhere = tmp_path / "nowhere"
    arguments: dict[str, list[str | Path]] = {
        "train": ["train", nowhere, "--out", tmp_path / "run"],
        "evaluate": ["evaluate", small_run, nowhere, "--out", tmp_path / "test"],
        "extract": ["extract", nowhere],
        "scan": ["data", "scan", nowhere],
    }
    ended = call_marey(*arguments[verb])
    assert ended.code == 3
    assert ended.err.count("Traceback") == 0
    assert "nowhere" in ended.err + ended.out
    assert not (tmp_path / "run").exists()


def test_training_prints_a_table_and_leaves_what_scripts_count_on(
    call_marey: Call, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "a run"
    ended = call_marey("train", small_set, "--out", run, *changes(small_changes))
    assert ended.code == 0
    assert "accuracy" in ended.out
    assert str(run / "report.html") in ended.out
    assert "12 clips of 2 classes" in ended.err
    assert "groups by the pattern 'kth'" in ended.err
    for name in ("model/config.json", "model/model.safetensors", "metrics.json", "predictions.csv", "report.html"):
        assert (run / name).is_file()


def test_evaluation_answers_in_json_with_the_numbers_of_the_file(
    call_marey: Call, small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    ended = call_marey("evaluate", small_run, small_set, "--split", "all", "--out", tmp_path / "test", "--json")
    assert ended.code == 0
    assert ended.err == ""
    answer = json.loads(ended.out)
    assert answer["metrics"] == json.loads((tmp_path / "test" / "metrics.json").read_text(encoding="utf-8"))
    assert answer["metrics"]["leaks"]["count"] > 0  # it was trained on some of them


def test_predictions_in_json_have_the_shape_that_scripts_read(
    call_marey: Call, small_run: Path, small_set: Path
) -> None:
    clips = sorted((small_set / "boxing").glob("*.mp4"))[:2]
    ended = call_marey("predict", small_run, *clips, "--json", "--top", "2")
    assert (ended.code, ended.err) == (0, "")
    answers = json.loads(ended.out)
    assert [answer["source"] for answer in answers] == [clip.as_posix() for clip in clips]
    for answer in answers:
        assert list(answer) == ["source", "label", "confidence", "top", "unfamiliarity", "unknown"]
        assert [answer["label"], answer["confidence"]] == answer["top"][0]
        assert sum(probability for _, probability in answer["top"]) == pytest.approx(1.0)


def test_a_file_that_cannot_be_used_has_a_reason_beside_the_answers_for_others(
    call_marey: Call, small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    good, bad = sorted(small_set.rglob("*.mp4"))[0], tmp_path / "bad.mp4"
    bad.write_text("no video at all", encoding="utf-8")
    mixed = call_marey("predict", small_run, good, bad, tmp_path / "gone.mp4", "--json")
    assert mixed.code == 0
    assert [answer.get("reason") for answer in json.loads(mixed.out)] == [None, "not_video", "missing"]
    alone = call_marey("predict", small_run, bad)
    assert alone.code == 3
    assert "not_video" in alone.out
    assert "Traceback" not in alone.err


def test_a_scan_names_unusable_files_and_ends_with_3_where_nothing_is_left(
    call_marey: Call, small_set: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(small_set, folder)
    (folder / "boxing" / "empty.mp4").touch()
    some = call_marey("data", "scan", folder, "--json", "--quarantine", tmp_path / "bad.csv")
    assert some.code == 0
    answer = json.loads(some.out)
    assert answer["usable"] == 12
    assert answer["reasons"] == {"empty": 1}
    assert "empty.mp4" in (tmp_path / "bad.csv").read_text(encoding="utf-8")
    for clip in folder.rglob("*.mp4"):
        clip.write_bytes(b"")
    assert call_marey("data", "scan", folder).code == 3


def test_named_data_sets_are_listed(call_marey: Call) -> None:
    listed = json.loads(call_marey("data", "list", "--json").out)
    assert "embedded" in {named["name"] for named in listed}
    assert "embedded" in call_marey("data", "list").out


def test_what_is_no_model_is_refused_with_3(call_marey: Call, small_set: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    for model in (tmp_path, tmp_path / "none", small_set):
        ended = call_marey("predict", model, small_set)
        assert ended.code == 3
        one_sentence(ended.err)


def test_a_folder_that_may_not_be_written_to_is_named(
    call_marey: Call, small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for arguments in (
        ("evaluate", small_run, small_set, "--out", tmp_path / "file" / "inside"),
        ("train", small_set, "--out", tmp_path / "file" / "inside"),
        ("compare", small_set, "--recipes", "default-0.1", "--out", tmp_path / "file" / "inside"),
        ("extract", small_set, "--out", tmp_path / "file" / "inside"),
        ("data", "scan", small_set, "--quarantine", tmp_path / "file" / "inside.csv"),
        ("data", "split", small_set, "--out", tmp_path / "file" / "inside.csv"),
        ("quantize", small_run, "--out", tmp_path / "file" / "inside"),
    ):
        ended = call_marey(*arguments)
        assert ended.code == 2, arguments
        said = one_sentence(ended.err.splitlines(keepends=True)[-1])
        assert str(tmp_path / "file") in said
        assert not any(word in ended.err for word in ("reading clips:", "training:"))  # said before the work


def test_choices_that_do_not_go_together_end_with_2_in_one_sentence(
    call_marey: Call, small_set: Path, tmp_path: Path
) -> None:
    ended = call_marey("train", small_set, "--out", tmp_path / "r", "--set", "sampling.frames=keyframes")
    assert ended.code == 2
    assert "takes key frames, which lie seconds apart" in one_sentence(ended.err.splitlines(keepends=True)[-1])


def test_a_training_that_diverges_ends_with_3_in_one_sentence(
    call_marey: Call, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    arguments = ["train", small_set, "--recipe", "default-0.1", "--out", tmp_path / "r", *changes(small_changes)]
    ended = call_marey(*arguments, "--set", "training.learning_rate=1e30")
    assert ended.code == 3
    assert "the training diverged in epoch" in one_sentence(ended.err.splitlines(keepends=True)[-1])
    assert call_marey(*arguments, "--if-exists", "restart").code == 0


def test_a_fault_of_marey_ends_with_1_and_shows_where(call_marey: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> NoReturn:
        raise ZeroDivisionError("as if something had been forgotten")

    monkeypatch.setattr("marey.cli.app.app", broken)
    ended = call_marey("train")
    assert ended.code == 1
    assert "ZeroDivisionError: as if something had been forgotten" in ended.err
    assert "this is a fault of marey" in ended.err


@pytest.mark.long
def test_ctrl_c_says_that_the_same_command_goes_on_and_it_does(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "marey",
        "train",
        str(small_set),
        "--recipe",
        "default-0.1",
        "--out",
        str(tmp_path / "run"),
    ]
    command += changes(small_changes)
    # As it would be pressed when the first rounds are through.
    pressed = interrupted(tmp_path / "pressed", at="choose/02/metrics.csv")
    ended = subprocess.run(command, env=pressed, capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.returncode == 130
    assert "the same command continues from there" in ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    again = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert again.returncode == 0
    assert "going on with the run" in again.stderr
    assert (tmp_path / "run" / "metrics.json").is_file()
