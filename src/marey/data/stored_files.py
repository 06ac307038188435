"""Files that marey writes whole or not at all, in a folder here or in an object store."""

from __future__ import annotations

from pathlib import Path

from marey.atomic import write_atomic
from marey.errors import UsageError
from marey.remote_path import RemotePath
from marey.video.remote_list import list_remote
from marey.video.remote_write import remove_remote, write_remote


def names_in(folder: Path) -> list[str]:
    """Return the names of what is in a folder, sorted; none where there is no such folder.

    Raises:
        UsageError: it is a file.
        DatasetError: an object store cannot be asked.
    """
    if isinstance(folder, RemotePath):
        return sorted({path.relative_to(folder).parts[0] for path in list_remote(folder) if path != folder})
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: name a folder with --out")
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def write_file(path: Path, content: bytes) -> None:
    """Write a file; the folder is made if it is not there.

    Raises:
        UsageError: it cannot be written, with the reason.
    """
    if isinstance(path, RemotePath):
        write_remote(path, content)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}; name another place") from error


def remove_file(path: Path) -> None:
    """Remove a file; one that is not there is no error on this machine.

    Raises:
        UsageError: an object store refuses.
    """
    if isinstance(path, RemotePath):
        remove_remote(path)
    else:
        path.unlink(missing_ok=True)
