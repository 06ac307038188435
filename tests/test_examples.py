"""The scripts in examples/, run with drawn data as the README there says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SHOWN = {
    "train": r"accuracy [01]\.\d{3}.*precision",
    "predict": r"(?:.*person06\S+: .*\n){3}annotated videos: .*\.mp4",
    "timeline": r"\d s {2}\w+ +0\.\d\d\nat ",
    "features": r"6 classes, 12 test clips of two people: accuracy (?:1\.0|0\.[5-9])",
    "live": r"latency .*\n\d+ answers",
}
"""What each script prints; the first one draws the clips for all."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


def test_every_example_is_run_and_has_less_than_50_lines() -> None:
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")}
    assert scripts.keys() == SHOWN.keys() | {"drawn"}
    assert not [name for name, text in scripts.items() if len(text.splitlines()) >= 50]
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert not [name for name in SHOWN if f"[{name}.py]({name}.py)" not in readme]


@pytest.mark.long
@pytest.mark.parametrize("name", SHOWN)
def test_examples_run_with_drawn_data(name: str, folder: Path) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SHOWN[name], done.stdout, re.DOTALL if name == "train" else 0), done.stdout
