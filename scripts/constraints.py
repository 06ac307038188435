"""Write constraints.txt: the version of every package that the tests ran with.

Run it in the environment that passed `make test-all`: `.venv/bin/python scripts/constraints.py`.
"""

from __future__ import annotations

import platform
import re
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


def main() -> None:
    """Write the file beside pyproject.toml."""
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
