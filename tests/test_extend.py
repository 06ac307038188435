"""The page on extensions: its files in an empty folder, and its commands, as a reader types them."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import MakeVideo
from test_readme import blocks

PROJECT = Path(__file__).resolve().parents[1]
PAGE = (PROJECT / "docs" / "guides" / "extend.md").read_text(encoding="utf-8")
FILES: dict[str, str] = dict(re.findall(r'^```\w+ title="([\w.]+)"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE))
PLACES: dict[str, str] = dict(re.findall(r"`(src/marey/\w+/\w+\.py)` \| `(tests/\w+/\w+\.py)`", PAGE))
SECTIONS = {text.split("\n", 1)[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
KINDS = ("A head", "An encoder family", "A metric", "A command", "A stream")


def commands(section: str) -> str:
    return "".join(blocks("sh", SECTIONS[section]))


def run(
    script: str, folder: Path, *, source: Path = PROJECT / "src", paths: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run lines of shell until the first one fails, with marey from a folder of sources."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    python = os.pathsep.join(map(str, (source, *paths)))
    return subprocess.run(  # noqa: S603
        ["bash", "-e", "-c", script],  # noqa: S607
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": python, "COLUMNS": "160", "MAREY_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def done(script: str, folder: Path, **options: object) -> str:
    ended = run(script, folder, **options)  # type: ignore[arg-type]
    assert ended.returncode == 0, f"{script}\n{ended.stdout}{ended.stderr}"
    return ended.stdout + ended.stderr


@pytest.fixture
def folder(tmp_path: Path, make_video: MakeVideo) -> Path:
    """A folder with clips of four people in two classes, the program, and nothing of the page."""
    for number, person in enumerate(("anna", "ben", "cleo", "dora")):
        for label in ("pick_up", "put_down"):
            path = tmp_path / "clips" / label / f"{person}_{label}_01.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            make_video(path, seconds=1 + number / 5 + (label == "pick_up") / 10, moving=label == "pick_up")
    (tmp_path / "bin").mkdir()
    for name, arguments in (("marey", " -m marey"), ("python", "")):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{arguments} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return tmp_path


def write(folder: Path, section: str) -> list[str]:
    """Write the files of a section; return their names."""
    names = re.findall(r'^```\w+ title="([\w.]+)"', SECTIONS[section], re.MULTILINE)
    for name in names:
        (folder / name).write_text(FILES[name], encoding="utf-8")
    return names


def test_every_part_has_one_file_one_test_and_a_place_in_a_fork() -> None:
    for section in KINDS:
        source, test = re.findall(r'^```python title="([\w.]+)"', SECTIONS[section], re.MULTILINE)
        assert test == f"test_{source}"
        assert f"export MAREY_PLUGINS={source}\npython -m pytest {test}\n" in commands(section)
        assert [Path(place).name for place in PLACES if place.endswith(f"/{source}")] == [source]
    assert {Path(test).name for test in PLACES.values()} == {name for name in FILES if name.startswith("test_")}


def test_a_command_from_the_page_prints_the_durations(folder: Path) -> None:
    write(folder, "A command")
    text = done(commands("Where the file goes"), folder)
    assert re.search(r"pick_up +│ +4 │ 1\.40 s │ +1\.12 s │ +1\.72 s", text), text


@pytest.mark.long
@pytest.mark.parametrize("section", KINDS)
def test_the_files_and_the_commands_of_a_section_work_in_an_empty_folder(section: str, folder: Path) -> None:
    write(folder, section)
    text = done(commands(section), folder)
    assert "passed" in text
    if section == "A head":
        config = json.loads((folder / "runs" / "temporal-max" / "model" / "config.json").read_text(encoding="utf-8"))
        assert (config["head"]["name"], config["head"]["options"]) == ("temporal-max", {"dropout": 0.3})
        assert config["made_with"]["extensions"] == {"head temporal-max": "temporal_max.py"}
        ended = run("marey predict runs/temporal-max clips/pick_up/anna_pick_up_01.mp4", folder)
        assert ended.returncode == 3
        assert "needs the head 'temporal-max' of the extension temporal_max.py" in ended.stderr
    elif section == "An encoder family":
        with np.load(folder / "hog.npz") as found:
            assert found["features.difference"].shape == (8, 16, 144)
        assert (folder / "runs" / "hog" / "report.html").is_file()
    elif section == "A metric":
        assert len(re.findall(r"Cohen's kappa\s*│\s*-?\d\.\d+", text)) == 2
        assert "Cohen&#39;s kappa" in (folder / "runs" / "first" / "report.html").read_text(encoding="utf-8")
        assert isinstance(json.loads((folder / "runs/first/metrics.json").read_text())["kappa"], float)
    elif section == "A command":
        assert '"median_seconds": {\n    "pick_up": 1.4' in text
    else:
        with np.load(folder / "edges.npz") as found:
            assert found["features.edges"].shape[:2] == (8, 16)


@pytest.mark.long
def test_a_metric_stands_in_the_comparison(folder: Path) -> None:
    write(folder, "A metric")
    line = (
        "MAREY_PLUGINS=kappa.py marey compare clips --recipes default-0.1,order-blind --seeds 1 --epochs 2 --out both"
    )
    text = done(line, folder)
    assert "Cohen's kappa" in re.sub(r"\s+", " ", text) or "kappa" in text
    assert "Cohen&#39;s kappa" in (folder / "both" / "compare.html").read_text(encoding="utf-8")
    with (folder / "both" / "compare.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [-1 <= float(row["kappa"]) <= 1 for row in rows] == [True, True]


@pytest.mark.long
def test_in_a_fork_each_file_is_enough(folder: Path) -> None:
    shutil.copytree(
        PROJECT / "src", folder / "fork" / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for pair in PLACES.items():
        for place in pair:
            (folder / "fork" / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / "fork" / place).write_text(FILES[Path(place).name], encoding="utf-8")
    source = folder / "fork" / "src"
    assert "7 passed" in done(f"cd fork && python -m pytest -q {' '.join(PLACES.values())}", folder, source=source)
    assert "durations" in done("marey --help", folder, source=source)


@pytest.mark.long
def test_a_package_that_is_installed_needs_no_variable(folder: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="setuptools is not installed")
    (folder / "package").mkdir()
    for section in ("A head", "A command", "A package for others"):
        write(folder / "package", section)
    done("python -m pip install --quiet --no-build-isolation --no-deps --target site ./package", folder)
    text = done("marey durations clips --json", folder, paths=(folder / "site",))
    assert '"put_down"' in text
    (folder / "site" / "durations.py").write_text("import no_such_module\n", encoding="utf-8")
    ended = run("marey durations clips", folder, paths=(folder / "site",))
    assert ended.returncode == 2
    assert "marey: the extension durations of the package marey-temporal-max 1.0 cannot be used: Module" in ended.stderr
    assert "Traceback" not in ended.stderr
    done("marey recipes show auto", folder, paths=(folder / "site",))


@pytest.mark.long
def test_the_files_of_the_page_pass_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    checked = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "mypy", "--strict", *map(str, sorted(tmp_path.glob("*.py")))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
