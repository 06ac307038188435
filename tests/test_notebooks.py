"""The notebooks in examples/, run cell by cell with drawn data, and the targets of the Makefile that they replace."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("train_on_your_clips", "predict_and_look")
BADGE = "https://colab.research.google.com/github/marey-project/marey/blob/main/examples/{}.ipynb"


def cells(name: str, kind: str) -> list[str]:
    notebook = json.loads((ROOT / "examples" / f"{name}.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_every_notebook_opens_in_colab_is_listed_and_holds_no_output_and_no_path_of_a_machine() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.ipynb")} == set(NAMES)
    readme = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        text = (ROOT / "examples" / f"{name}.ipynb").read_text(encoding="utf-8")
        assert BADGE.format(name) in cells(name, "markdown")[0]
        assert f"({name}.ipynb)" in readme
        notebook: dict[str, Any] = json.loads(text)
        assert notebook["nbformat"] == 4
        assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])
        assert not re.search(r"/(home|root|work|tmp|Users)/", text)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_cells_of_a_notebook_run_one_after_the_other(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(cells(name, "code")):
        exec(compile(source, f"{name}, cell {number}", "exec"), names)  # noqa: S102 - as a notebook does
    out = capsys.readouterr().out
    if name == "train_on_your_clips":
        assert "weighted avg" in out
        assert (tmp_path / "runs" / "notebook" / "run" / "report.html").is_file()
    else:
        assert {"annotated.mp4", "motion.png", "frames", "frames.csv", "alone.csv", "timeline.png"} == {
            path.name for path in (tmp_path / "runs" / "notebook" / "look").iterdir()
        }


@pytest.mark.skipif(shutil.which("make") is None, reason="the program make is not installed")
@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["data"], ["marey data make"]),
        (["train"], ["marey data make", "marey train 'embedded' --out \"runs/$(basename 'embedded' .csv)\" "]),
        (
            ["train", "DATA=my clips/", "ARGS=--per-class"],
            ["marey train 'my clips/' --out \"runs/$(basename 'my clips/' .csv)\" --per-class"],
        ),
        (["data", "DATA=kth"], ["marey data get 'kth'; fi"]),
    ],
)
def test_make_data_and_make_train_call_marey_on_the_drawn_data_or_on_others(
    arguments: list[str], lines: list[str]
) -> None:
    done = subprocess.run(  # noqa: S603
        ["make", "-n", *arguments],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    called = [line for line in done.stdout.splitlines() if "/marey " in line]
    assert len(called) == len(lines)
    assert all(line.endswith(end) for line, end in zip(called, lines, strict=True))
