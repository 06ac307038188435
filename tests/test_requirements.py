"""What pyproject.toml requires, and constraints.txt pins."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import marey

PROJECT = Path(__file__).resolve().parents[1]
STATED = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = [Requirement(line) for line in STATED["dependencies"]]
EXTRAS = {
    extra: [each for each in map(Requirement, lines) if each.name != "marey"]
    for extra, lines in STATED["optional-dependencies"].items()
}


def pinned() -> dict[str, Requirement]:
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name): each for each in found}


def test_every_direct_requirement_is_pinned_within_its_bounds() -> None:
    pins = pinned()
    pinned_extras = EXTRAS.keys() - {"bench", "docs"}
    for needed in [*BASE, *(each for extra in pinned_extras for each in EXTRAS[extra])]:
        if needed.name == "setuptools":
            continue  # it builds marey, and pip brings its own
        (pin,) = pins[canonicalize_name(needed.name)].specifier
        assert pin.operator == "=="
        assert needed.specifier.contains(pin.version), f"{needed} is pinned to {pin.version}"


def test_nothing_is_pinned_that_only_one_build_of_pytorch_has() -> None:
    for name, pin in pinned().items():
        assert not name.startswith(("nvidia", "cuda", "triton", "marey"))
        assert "+" not in str(pin.specifier)
        assert pin.url is None


def test_every_package_that_marey_imports_is_required() -> None:
    required = {canonicalize_name(each.name) for each in [*BASE, *(each for one in EXTRAS.values() for each in one)]}
    known = packages_distributions()
    unstated = {}
    for path in Path(marey.__file__).parent.rglob("*.py"):
        for name in imported(path):
            if not {canonicalize_name(found) for found in known.get(name, [name])} & required:
                unstated[name] = path.name
    assert not unstated


def imported(path: Path) -> set[str]:
    """The packages that a file imports, without Python's own and marey's."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
    return names - set(sys.stdlib_module_names) - {"marey"}


def test_the_lowest_versions_are_those_that_pyproject_states() -> None:
    text = (PROJECT / "constraints-lowest.txt").read_text(encoding="utf-8")
    lowest = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in text.split())}
    for needed in [*BASE, *(each for extra in EXTRAS.keys() - {"bench"} for each in EXTRAS[extra])]:
        floors = [each.version for each in needed.specifier if each.operator == ">="]
        if floors and needed.name not in ("mypy", "ruff", "types-PyYAML"):  # of these the newest is used
            assert lowest.get(canonicalize_name(needed.name)) == floors[0], (
                f"run scripts/constraints.py --lowest: {needed}"
            )
