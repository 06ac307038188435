"""The commands and the Python of the README, run as a new user types them."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.core import TyperGroup

from conftest import MakeVideo
from marey.cli.app import build

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")

NOT_RUN = {
    "make ": "installs packages, or runs all tests",
    "python3 -m venv ": "makes an environment",
    "pip install ": "installs packages",
    "marey predict runs/first 0 ": "needs a camera",
    "marey app ": "runs until Ctrl-C: tests/app starts it",
    "marey serve ": "runs until Ctrl-C: tests/service starts it",
    "marey data get ": "needs the network",
    "marey train clips --recipe two-stream ": "downloads the weights of ResNet50",
}
"""Beginnings of commands that are only parsed here, with the reason."""

OUTPUTS = ("out", "quarantine", "annotate", "chronophotograph", "segments", "timeline", "thumbnails")
"""Options that name what a command writes."""


def blocks(language: str, page: str = README) -> list[str]:
    """Return the fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def lines(page: str = README) -> list[str]:
    """Return the shell commands of a page, each as one line without its comment."""
    text = "".join(blocks("sh", page)).replace("\\\n", " ")
    return [re.sub(r"\s{2,}#.*", "", line).strip() for line in text.splitlines() if line.strip()]


def reason_not_to_run(line: str) -> str | None:
    return next((reason for start, reason in NOT_RUN.items() if f"{line} ".startswith(start)), None)


def calls(line: str) -> list[list[str]]:
    """Return the arguments of each call of marey in a line of shell."""
    found = [shlex.split(re.sub(r"^\s*[A-Z_]+=\S+ ", "", part)) for part in re.split(r"&&|\|(?=\s)", line)]
    return [words[1:] for words in found if words[0] == "marey"]


def parse(arguments: list[str]) -> dict[str, Any]:
    """Parse a call of marey without running it, and return its parameters.

    A command or an option that does not exist or has another name now, and an unfit argument, are errors.
    """
    command: Any = typer.main.get_command(build())
    name: str | None = "marey"
    while isinstance(command, TyperGroup) and arguments:
        name, command, arguments = command.resolve_command(command.context_class(command), arguments)
    parameters: dict[str, Any] = command.make_context(name, arguments).params
    hidden = [each.name for each in command.params if getattr(each, "hidden", False)]
    assert not command.hidden
    assert not [each for each in hidden if parameters.get(each) is not None]
    return parameters


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, make_video: MakeVideo) -> Path:
    """A folder with what the README names: clips of three people, videos, arrays and features."""
    root = tmp_path_factory.mktemp("readme")
    for person in ("anna", "ben", "cleo"):
        for number in (1, 2):
            for label in ("pick_up", "put_down"):
                path = root / "clips" / label / f"{person}_{number:02d}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                make_video(path, seconds=1 + number / 5, moving=label == "pick_up")
    (root / "another_folder").mkdir()
    make_video(root / "new_video.mp4", seconds=1)
    make_video(root / "another_folder" / "further.mp4", seconds=1, moving=False)
    make_video(root / "day.mp4", seconds=6)
    shutil.copy(root / "day.mp4", root / "anything")
    (root / "untrimmed.csv").write_text(
        "path,label,group,start,end\nday.mp4,pick_up,dora,0,3\nday.mp4,put_down,dora,3,6\n", encoding="utf-8"
    )
    rng = np.random.default_rng(0)
    labels = np.array([0, 1] * 4)
    clips = rng.integers(0, 255, (8, 6, 32, 32, 3), np.uint8)
    (root / "dataset.pkl").write_bytes(pickle.dumps((clips, clips + 1, clips + 2, labels, labels, labels)))
    (root / "features").mkdir()
    rows = ["path,label,group"]
    for index in range(16):
        np.save(root / "features" / f"{index}.npy", rng.normal(index % 2, 1, (8, 12)).astype(np.float32))
        rows.append(f"{index}.npy,{('walk', 'run')[index % 2]},person{index // 4}")
    (root / "features" / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    program = root / "bin" / "marey"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m marey "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return root


def run(line: str, folder: Path) -> None:
    """Run a line of shell in the workspace."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603
        ["bash", "-o", "pipefail", "-c", line],  # noqa: S607
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_every_reason_not_to_run_a_command_is_of_a_command_of_the_readme() -> None:
    assert {start for start in NOT_RUN if any(f"{line} ".startswith(start) for line in lines())} == NOT_RUN.keys()
    assert sum(reason_not_to_run(line) is None for line in lines()) >= 15


@pytest.mark.parametrize("line", lines())
def test_commands_of_the_readme_have_the_options_that_the_program_knows(line: str) -> None:
    for arguments in calls(line):
        parse(arguments)
    if line.startswith("make "):
        assert re.search(rf"^{line.split()[1]}:", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_options_in_the_text_of_the_readme_exist() -> None:
    names: set[str] = set()
    waiting: list[Any] = [typer.main.get_command(build())]
    while waiting:
        command = waiting.pop()
        names |= {option for parameter in command.params for option in parameter.opts}
        if isinstance(command, TyperGroup):
            waiting += command.commands.values()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", re.sub(r"```.*?```", "", README, flags=re.DOTALL)))
    assert named <= names


def test_links_and_images_of_the_readme_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(targets) > 10
    assert not [target for target in targets if "://" not in target and not (PROJECT / target).exists()]


def test_lines_of_prose_in_the_readme_have_at_most_100_characters() -> None:
    assert not [line for line in README.splitlines() if len(line) > 100 and not line.startswith(("|", "!"))]


@pytest.mark.long
def test_the_commands_of_the_readme_run_in_their_order(workspace: Path) -> None:
    for line in lines():
        if reason_not_to_run(line):
            continue
        if line.startswith("ffmpeg ") and shutil.which("ffmpeg") is None:
            continue  # tests/video reads pipes that need no program
        run(line, workspace)
        for arguments in calls(line):
            given = parse(arguments)
            assert [name for name in OUTPUTS if given.get(name) and not (workspace / str(given[name])).exists()] == []


@pytest.mark.long
def test_the_python_of_the_readme_runs_and_passes_mypy_strict(workspace: Path) -> None:
    if not (workspace / "runs" / "first").exists():
        run(next(line for line in lines() if line.startswith("marey train clips ")), workspace)
    snippet = "\n".join(blocks("python"))
    assert "rtsp://camera/1" in snippet
    (workspace / "snippet.py").write_text(snippet.replace("rtsp://camera/1", "day.mp4"), encoding="utf-8")
    run(f"{shlex.quote(sys.executable)} -W error::DeprecationWarning:__main__ snippet.py", workspace)
    pytest.importorskip("mypy", reason="mypy is not installed")
    checked = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "mypy", "--strict", str(workspace / "snippet.py")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
