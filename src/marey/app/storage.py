"""Files that users give to the page: saved under safe names, atomically, and within a limit of space."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import unicodedata
from pathlib import Path
from typing import BinaryIO, Final

from marey.atomic import atomic_file
from marey.data import expand_home
from marey.errors import UsageError
from marey.remote_path import is_remote, shown_text

_BLOCK: Final = 1 << 20
_MOST_KEPT: Final = 8 << 30  # bytes a folder
_LONGEST_SHOWN: Final = 120  # letters of a typed text in a message
_IN_USE: Final = 3600.0  # s: a file that was used since then may be on a screen


def save_upload(source: BinaryIO, name: str, folder: Path) -> Path:
    """Save an upload under the hash of its content, and remove the oldest files where there are too many.

    Args:
        source: the upload; it is read to its end.
        name: file name on the user's machine; only its suffix is used.
        folder: where to save it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.blake2b(digest_size=16)
    source.seek(0)
    while block := source.read(_BLOCK):
        digest.update(block)
    kept = folder / f"{digest.hexdigest()}{safe_suffix(name)}"
    if not kept.exists():
        source.seek(0)
        with atomic_file(kept) as part, part.open("wb") as copy:
            shutil.copyfileobj(source, copy, _BLOCK)
    os.utime(kept)
    prune(folder)
    return kept


def prune(folder: Path, *, most: int = _MOST_KEPT, in_use: float = _IN_USE) -> None:
    """Remove the oldest files of a folder until the others take at most `most` bytes.

    Args:
        folder: of files that can be made or uploaded again.
        most: bytes.
        in_use: seconds; a file that was used since then stays.
    """
    files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    total = sum(path.stat().st_size for path in files)
    for path in files:
        if total <= most or path.stat().st_mtime > time.time() - in_use:
            return
        total -= path.stat().st_size
        path.unlink(missing_ok=True)


def typed_path(text: str) -> Path:
    """Return the absolute path that a user typed; `~` stands for a home folder.

    Raises:
        UsageError: the text is not a possible path, or one on another machine.
    """
    if is_remote(text.strip()):
        raise UsageError(
            f"{shown_text(_shortened(text.strip()))} lies on another machine, and this page opens files of its own: "
            "download it, or read it with the commands marey train and marey predict"
        )
    try:
        path = expand_home(text.strip()).absolute()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # opening it raises the error
    except (OSError, ValueError) as error:  # too long, or with a character that no path can have
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{_shortened(text)} cannot be a path: {why}") from error
    return path


def _shortened(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text.strip())
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def safe_suffix(name: str) -> str:
    """Return the suffix of an untrusted file name in lower case; empty if it is not a plain one."""
    suffix = Path(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ""


def safe_name(text: str) -> str:
    """Return an untrusted text as a file name of letters, digits, points, hyphens and underscores.

    It is never empty or hidden, and has at most 60 characters.
    """
    plain = unicodedata.normalize("NFC", text)
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in plain)
    kept = re.sub(r"-{2,}", "-", kept).strip("-._")[:60]
    return kept or "unnamed"


def new_folder(parent: Path, name: str) -> Path:
    """Return the path of a new folder in `parent`: `name`, or `name-2` and so on."""
    number, path = 1, parent / name
    while path.exists():
        number += 1
        path = parent / f"{name}-{number}"
    return path


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as part:
        shutil.copyfile(source, part)
