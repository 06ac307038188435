"""Programs that stop at a moment that a test names, whatever the speed of the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_WATCH: Final = """
import os, signal, sys, time
def watch(event, arguments):
    # What is written whole is opened under another name, and gets its own when it is done.
    place = {{"open": 0, "os.rename": 1}}.get(event)
    if place is not None and str(arguments[place]).endswith({suffix!r}):
        {then}
sys.addaudithook(watch)
"""


def held_while(path: Path, *, at: str) -> dict[str, str]:
    """An environment in which Python programs wait before they open certain files, as long as there is another one.

    Args:
        path: a new folder; the file that holds them is made in it, and called "hold".
        at: how the names of the files end that are not opened until then.
    """
    path.mkdir()
    (path / "hold").touch()
    return _environment(path, at, f"while os.path.exists({str(path / 'hold')!r}): time.sleep(0.01)")


def interrupted(path: Path, *, at: str) -> dict[str, str]:
    """An environment in which Python programs are interrupted, as Ctrl-C does it, when they open certain files.

    Args:
        path: a new folder.
        at: how the names of these files end.
    """
    path.mkdir()
    return _environment(path, at, "os.kill(os.getpid(), signal.SIGINT)")


def _environment(path: Path, suffix: str, then: str) -> dict[str, str]:
    (path / "sitecustomize.py").write_text(_WATCH.format(suffix=suffix, then=then), encoding="utf-8")
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": str(path) if not others else f"{path}{os.pathsep}{others}"}
