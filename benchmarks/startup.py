"""How long `marey --help` takes, beside the import of PyTorch that it does without."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Final

from measure import Line, Setting, run, seconds

_TARGET: Final = 0.25
_LEAST_RUNS: Final = 5


def measure(setting: Setting) -> list[Line]:
    """Time both by turns, after one of each that fills the system's cache of files."""
    program = Path(sys.executable).with_name("marey")
    if not program.is_file():
        raise SystemExit(f"there is no {program}; install the project into this environment: pip install -e .")
    show_help = partial(run, [str(program), "--help"])
    import_torch = partial(run, [sys.executable, "-c", "import torch"])
    pairs = [(seconds(show_help), seconds(import_torch)) for _ in range(max(_LEAST_RUNS, setting.repeat) + 1)][1:]
    return [
        Line("marey --help", tuple(ours for ours, _ in pairs)),
        Line("import torch", tuple(theirs for _, theirs in pairs)),
        Line("import", tuple(ours / theirs for ours, theirs in pairs), "x", at_most=_TARGET),
    ]
