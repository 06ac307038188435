"""What people give to the page: kept under names of our own, whole, and within a limit."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import unicodedata
from pathlib import Path
from typing import BinaryIO, Final

from marey.atomic import whole_file
from marey.data import expand_home
from marey.errors import UsageError

_BLOCK: Final = 1 << 20
_MOST_KEPT: Final = 8 << 30  # bytes a folder
_LONGEST_SHOWN: Final = 120  # letters of a text that is no path
_IN_USE: Final = 3600.0  # s: what was touched since then may be on somebody's screen


def keep(source: BinaryIO, name: str, folder: Path) -> Path:
    """Keep what was uploaded, named by its content; the oldest files go when there are too many.

    Args:
        source: the upload; read to its end.
        name: what its owner calls it: only its suffix is used.
        folder: where to keep it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.blake2b(digest_size=16)
    source.seek(0)
    while block := source.read(_BLOCK):
        digest.update(block)
    kept = folder / f"{digest.hexdigest()}{safe_suffix(name)}"
    if not kept.exists():
        source.seek(0)
        with whole_file(kept) as part, part.open("wb") as copy:
            shutil.copyfileobj(source, copy, _BLOCK)
    os.utime(kept)
    prune(folder)
    return kept


def prune(folder: Path, *, most: int = _MOST_KEPT, in_use: float = _IN_USE) -> None:
    """Remove the oldest files of a folder until the others take no more than so many bytes.

    Args:
        folder: with files that can be made, or given, again.
        most: bytes.
        in_use: seconds for which a file stays, whatever it takes.
    """
    files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    total = sum(path.stat().st_size for path in files)
    for path in files:
        if total <= most or path.stat().st_mtime > time.time() - in_use:
            return
        total -= path.stat().st_size
        path.unlink(missing_ok=True)


def typed_path(text: str) -> Path:
    """Return the absolute path that somebody typed; `~` stands for a home folder.

    Raises:
        UsageError: it cannot be a path.
    """
    try:
        path = expand_home(text.strip()).absolute()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # whoever opens it says so
    except (OSError, ValueError) as error:  # too long, or with a character that no path can have
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{_shortened(text)} cannot be a path: {why}") from error
    return path


def _shortened(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text.strip())
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def safe_suffix(name: str) -> str:
    """The suffix of a stranger's file name, in lower case; empty where it is no plain one."""
    suffix = Path(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ""


def safe_name(text: str) -> str:
    """A stranger's words as the name of a file or folder: letters, digits, points, hyphens and underscores.

    Never empty, never hidden, at most 60 characters.
    """
    plain = unicodedata.normalize("NFC", text)
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in plain)
    kept = re.sub(r"-{2,}", "-", kept).strip("-._")[:60]
    return kept or "unnamed"


def new_folder(parent: Path, name: str) -> Path:
    """The path of a folder in `parent` that is not there yet: `name`, or `name-2` and so on."""
    number, path = 1, parent / name
    while path.exists():
        number += 1
        path = parent / f"{name}-{number}"
    return path


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file so that the copy is there whole, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as part:
        shutil.copyfile(source, part)
