from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import marey

SOURCE = Path(marey.__file__).parent
RANK = {
    "cores": 0,
    "errors": 0,
    "extras": 0,
    "whole_file": 0,
    "video": 1,
    "data": 2,
    "synthetic": 3,
    "encoders": 3,
    "models": 4,
    "evaluation": 5,
    "training": 6,
    "prediction": 6,
    "reports": 7,
    "app": 8,
    "service": 8,
    "verbs": 9,
    "cli": 10,
}
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE)


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" if node.module == "marey" else node.module for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("marey.")}
    return rooms & RANK.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_run_one_way(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0]
    above = {other for other in imported_rooms(path) if other != room and RANK[other] >= RANK[room]}
    assert not above, f"{room} may not import {above}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_every_public_name_can_be_had() -> None:
    for name in marey.__all__:
        assert getattr(marey, name) is not None


@pytest.mark.parametrize("room", sorted(RANK.keys() - {"cores", "errors", "extras", "whole_file", "cli"}))
def test_a_rooms_public_names_are_there(room: str) -> None:
    module = import_module(f"marey.{room}")
    assert module.__all__
    for name in module.__all__:
        assert hasattr(module, name)


def test_importing_marey_and_its_command_line_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'av', 'matplotlib', 'sklearn', 'lightning', 'timm'}"
    code = f"import sys, marey, marey.cli; print({heavy} & sys.modules.keys() or 'none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "none"
