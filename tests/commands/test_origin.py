from __future__ import annotations

import inspect
import json
import shlex
from pathlib import Path

import pytest

from marey import commands
from marey.training.origin import Origin, command_line, located


def test_command_line_names_what_differs_from_the_defaults_ready_to_paste() -> None:
    parameters = inspect.signature(commands.train).parameters.values()
    given = {parameter.name: parameter.default for parameter in parameters}
    given |= {
        "per_class": True,
        "data": "my clips",
        "out": Path("runs/a b"),
        "folds": "group",
        "set": ["training.epochs=5", "seed=1"],
        "group_regex": r"(\w+)_\d+",
        "reporter": commands.Reporter(),
    }
    line = command_line("train", commands.train, given)
    assert line == (
        "marey train 'my clips' --out 'runs/a b' --folds group --set training.epochs=5 --set seed=1 "
        r"--per-class --group-regex '(\w+)_\d+'"
    )


@pytest.mark.long
def test_the_command_in_the_report_makes_the_same_run_again(
    call_marey: object, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    assert callable(call_marey)
    arguments = ["train", str(small_set), "--out", str(tmp_path / "a"), "--group-regex", r"(person\d+)"]
    arguments += [word for change in small_changes for word in ("--set", change)]
    assert call_marey(*arguments).code == 0
    command = json.loads((tmp_path / "a" / "run.json").read_text())["origin"]["command"]
    assert "(person\\d+)" in (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    metrics = (tmp_path / "a" / "metrics.json").read_bytes()
    (tmp_path / "a").rename(tmp_path / "before")
    assert call_marey(*shlex.split(command)[1:]).code == 0
    assert (tmp_path / "a" / "metrics.json").read_bytes() == metrics


def test_an_origin_holds_absolute_paths_and_names_of_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    origin = Origin.of("clips", group_regex=None, exclude=Path("bad.csv"), command="")
    assert (origin.data, origin.exclude) == (str(tmp_path / "clips"), str(tmp_path / "bad.csv"))
    assert located("kth") == "kth"
    assert Origin.read({"origin": origin.as_dict()}) == origin
    assert Origin.read({}) is None
