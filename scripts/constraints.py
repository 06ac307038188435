"""Write the versions that the tests ran with: constraints.txt, or with --lowest the floors of pyproject.toml.

Run it in the environment that passed `make test-all`: `.venv/bin/python scripts/constraints.py`. For the floors, an
environment of its own: `pip install -c constraints-lowest.txt -e '.[dev]'`.
"""

from __future__ import annotations

import platform
import re
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

# Left out: marey itself, the installers, and what belongs to PyTorch's build for one kind of machine.
_LEFT_OUT: Final = re.compile(r"marey|pip|setuptools|wheel|triton|(nvidia|cuda)[-_].*", re.IGNORECASE)
_HEADER: Final = """\
# The versions that the tests ran with on Python {python} ({system}):
# all extras but `bench` and `docs`, the developers' tools, and what these need.
#
#     pip install -c constraints.txt -e .
#
# PyTorch is named without its build, so that its CPU builds fit too. Written by scripts/constraints.py.
"""

_LOWEST: Final = """\
# The lowest versions that marey states for its packages and extras but `bench`; the tests run with them on Python 3.11.
#
#     pip install -c constraints-lowest.txt -e '.[dev]'
#
# Tools that only check the code are not among them. Written by scripts/constraints.py --lowest.
"""
_TOOLS: Final = {"mypy", "ruff", "types-PyYAML"}  # of which only the newest is used


def main() -> None:
    """Write a file beside pyproject.toml."""
    write_lowest() if sys.argv[1:] == ["--lowest"] else write_installed()


def write_lowest() -> None:
    """Write the floors of pyproject.toml as versions."""
    (Path(__file__).resolve().parents[1] / "constraints-lowest.txt").write_text(lowest(), encoding="utf-8")


def lowest() -> str:
    """Return the floors of pyproject.toml as the text of a file of constraints."""
    root = Path(__file__).resolve().parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    stated = [*project["dependencies"], *(each for name in sorted(extras) if name != "bench" for each in extras[name])]
    found: dict[str, str] = {}
    for requirement in stated:
        match = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)", requirement)
        if match and match[1] not in _TOOLS:
            found[match[1]] = match[2]
    lines = "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.lower))
    return _LOWEST + lines


def write_installed() -> None:
    """Write what this environment holds."""
    found: dict[str, str] = {}
    for each in distributions():
        found.setdefault(each.name, each.version.partition("+")[0])  # the first is the one that is imported
    names = sorted((name for name in found if not _LEFT_OUT.fullmatch(name)), key=str.lower)
    version = ".".join(platform.python_version_tuple()[:2])
    header = _HEADER.format(python=version, system=f"{platform.system()} {platform.machine()}")
    path = Path(__file__).resolve().parents[1] / "constraints.txt"
    path.write_text(header + "".join(f"{name}=={found[name]}\n" for name in names), encoding="utf-8")


if __name__ == "__main__":
    main()
