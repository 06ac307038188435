"""Drawn data for the examples: clips of six people, a long video, and a model trained on the clips.

Everything lies below `runs/examples` and is made once. With your own data, the examples need none of this.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path("runs/examples")


def clips() -> Path:
    """Return the folder of 36 drawn clips of the six KTH actions, a folder for each class."""
    return _made(FOLDER / "clips", "data", "make", str(FOLDER / "clips"), "--actors", "6", "--scenarios", "d1")


def long_video() -> Path:
    """Return a drawn video of one person who does several actions one after the other."""
    folder = FOLDER / "untrimmed"
    _made(folder, "data", "make", str(folder), "--untrimmed", "--actors", "1")
    return min(folder.rglob("*.mp4"))


def model() -> Path:
    """Return a run that was trained on the drawn clips, with each of two halves of the people tested once."""
    return _made(FOLDER / "run", "train", str(clips()), "--folds", "2", "--out", str(FOLDER / "run"))


def _made(path: Path, *arguments: str) -> Path:
    """Run a command of marey: what it has made before is kept."""
    subprocess.run([sys.executable, "-m", "marey", *arguments], check=True, stdout=sys.stderr)  # noqa: S603
    return path
