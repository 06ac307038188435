from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

import marey

SOURCE = Path(marey.__file__).parent
LAYERS = (
    ("remote_path", "version"),
    ("errors",),
    ("cores", "extras", "extensions", "progress", "atomic", "json_text"),
    ("video",),
    ("data",),
    ("encoders", "synthetic"),
    ("models",),
    ("evaluation",),
    ("training", "prediction"),
    ("reports", "cluster"),
    ("commands",),
    ("app", "service"),
    ("cli", "client"),
    ("__main__",),
)
"""Modules and packages, from the ground up; each imports only from layers below its own."""
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")
PACKAGES = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


def module_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names of all modules that a file imports or starts in a process (`python -m NAME`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from [f"marey.{alias.name}" for alias in node.names] if node.module == "marey" else [node.module]
        elif isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names]
        elif isinstance(node, ast.List | ast.Tuple):
            values = [element.value if isinstance(element, ast.Constant) else None for element in node.elts]
            yield from [str(name) for option, name in pairwise(values) if option == "-m"]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            name = node.args[0]
            yield from [str(name.value)] if isinstance(name, ast.Constant) else []


def imported_packages(source: str) -> set[str]:
    names = {name.removeprefix("marey.").split(".")[0] for name in module_names(ast.parse(source))}
    return names & RANK.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_run_one_way(path: Path) -> None:
    place = path.relative_to(SOURCE)
    package = place.parts[0].removesuffix(".py")
    others = imported_packages(path.read_text(encoding="utf-8"))
    above = {other for other in others if other != package and RANK[other] >= RANK[package]}
    assert not above, f"{package} may not import {above}"


@pytest.mark.parametrize(
    "source",
    [
        "from marey.app import jobs",
        "from marey import app",
        "import marey.app.jobs",
        "def f():\n    Popen([sys.executable, '-m', 'marey.app.training_job', folder])",
        "importlib.import_module('marey.app.jobs')",
    ],
)
def test_an_import_is_seen_in_every_form(source: str) -> None:
    assert imported_packages(source) == {"app"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_every_public_name_of_marey_exists() -> None:
    for name in marey.__all__:
        assert getattr(marey, name) is not None


@pytest.mark.parametrize("package", [*PACKAGES, "data.importers", "data.zoo"])
def test_the_public_names_of_a_package_exist(package: str) -> None:
    module = import_module(f"marey.{package}")
    assert module.__all__
    for name in module.__all__:
        assert hasattr(module, name)


def test_importing_marey_and_its_command_line_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'av', 'matplotlib', 'sklearn', 'lightning', 'timm'}"
    code = f"import sys, marey, marey.cli; print({heavy} & sys.modules.keys() or 'none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "none"
