"""RAR archives: listed by `rarfile`, and unpacked by whichever tool the system has.

The format is not free, so the tools are not Python's. One call unpacks a whole archive: a call a file would take hours
for an archive whose files are packed together.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import rarfile

from marey.data.download import OnProgress, in_words
from marey.errors import DatasetError

_GLANCE: Final = 0.5  # s between two looks at how far a tool has come

RAR_TOOLS: Final[dict[str, Callable[[str, str], list[str]]]] = {
    "unrar": lambda archive, folder: ["x", "-idq", "-y", "-p-", archive, folder + os.sep],
    "unar": lambda archive, folder: ["-quiet", "-no-directory", "-password", "", "-output-directory", folder, archive],
    "7zz": lambda archive, folder: ["x", "-y", "-p", "-bso0", "-bsp0", f"-o{folder}", archive],
    "7z": lambda archive, folder: ["x", "-y", "-p", "-bso0", "-bsp0", f"-o{folder}", archive],
    "bsdtar": lambda archive, folder: ["-x", "-f", archive, "-C", folder],
}
"""The tools that can unpack RAR, the surest first, and their words for it. Some builds of 7z and bsdtar cannot, or not
all of it: the next one is asked then."""


class ArchiveError(DatasetError):
    """An archive is damaged, or holds what is not unpacked: another copy of it is needed."""


@dataclass(frozen=True, slots=True)
class RarEntry:
    """What an archive says of a file in it: its name, its kind, and its bytes when unpacked."""

    name: str
    kind: Literal["file", "folder", "link", "locked file"]
    size: int


def rar_tools() -> list[str]:
    """Return the names of the tools that are installed, the surest first."""
    return [tool for tool in RAR_TOOLS if shutil.which(tool)]


def require_tool(name: str) -> list[str]:
    """The tools that are installed, the surest first.

    Raises:
        DatasetError: there is none.
    """
    found = rar_tools()
    if not found:
        raise DatasetError(
            f"{name} is a RAR archive, and none of {', '.join(RAR_TOOLS)} is installed to unpack it: install one "
            "(such as 'apt install unar' or 'brew install unar'), and run the same command again"
        )
    return found


def list_rar(archive: Path) -> list[RarEntry]:
    """What a RAR archive says it holds.

    Raises:
        ArchiveError: it is no RAR archive, it is damaged, locked, or a part of several.
        DatasetError: it needs a tool that is not installed.
    """
    try:
        with rarfile.RarFile(archive, errors="strict") as opened:
            if opened.needs_password() and not opened.infolist():
                raise ArchiveError(f"{archive.name} is locked by a password: get one that is not")
            if len(opened.volumelist()) > 1:
                raise ArchiveError(f"{archive.name} is the first of several volumes: only single archives are read")
            return [_entry(info) for info in opened.infolist()]
    except rarfile.RarExecError as error:  # a comment in it can only be read by a tool
        raise DatasetError(f"{archive.name} cannot be read by the tools that are installed: {error}") from error
    except rarfile.Error as error:
        raise ArchiveError(f"{archive.name} is damaged, or no RAR archive that can be read: {error}") from error


def _entry(info: rarfile.RarInfo) -> RarEntry:
    kind: Literal["file", "folder", "link", "locked file"]
    if info.is_dir():
        kind = "folder"
    elif not info.is_file() or info.file_redir is not None:
        kind = "link"
    else:
        kind = "locked file" if info.needs_password() else "file"
    return RarEntry(str(info.filename), kind, int(info.file_size or 0))


def extract_rar(archive: Path, folder: Path, *, count: int, size: int, on_progress: OnProgress) -> None:
    """Unpack an archive, whose names were looked at before, into an empty folder.

    A tool that writes more than the archive announced is stopped. Afterwards the folder has to hold so many plain
    files of so many bytes, and nothing else.

    Args:
        archive: the archive.
        folder: an empty folder.
        count: files that the archive announces.
        size: their bytes.
        on_progress: hears of unpacked bytes.

    Raises:
        DatasetError: no installed tool could unpack it, or what came out is not what was announced.
    """
    failures = []
    for tool in require_tool(archive.name):
        for left in folder.iterdir():  # what another tool began
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        command = [tool, *RAR_TOOLS[tool](os.fspath(archive.absolute()), os.fspath(folder.absolute()))]
        complaint = _run(command, archive, folder, size, on_progress)
        if complaint is None:
            complaint = _difference(folder, count, size)
        if complaint is None:
            return
        failures.append(f"{tool}: {complaint}")
    raise DatasetError(
        f"{archive.name} cannot be unpacked ({'; '.join(failures)}): it is damaged, or these tools do not know its "
        f"kind of RAR: install another of {', '.join(RAR_TOOLS)}"
    )


def _run(command: list[str], archive: Path, folder: Path, size: int, on_progress: OnProgress) -> str | None:
    """Run a tool and watch what it writes; what it complained about, or None."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - a fixed command, and no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=os.environ | {"LC_ALL": "C.UTF-8"},  # names outside ASCII are lost in the plain C locale
        )
        try:
            while process.poll() is None:
                try:
                    process.wait(_GLANCE)
                except subprocess.TimeoutExpired:
                    done = sum(found.st_size for _, found in _walk(folder))
                    if done > size:
                        raise ArchiveError(
                            f"{archive.name} unpacks to more than the {in_words(size)} that it announces: it is not to "
                            "be trusted, and nothing of it is kept"
                        ) from None
                    on_progress(f"unpacking {archive.name}", done, size)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode == 0:
            on_progress(f"unpacking {archive.name}", size, size)
            return None
        said.seek(0)
        lines = said.read(65_536).decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return last[:200] or f"it ended with {process.returncode}"


def _difference(folder: Path, count: int, size: int) -> str | None:
    """In what the unpacked folder differs from what was announced, or None."""
    found = [state for _, state in _walk(folder)]
    if not all(stat.S_ISREG(state.st_mode) for state in found):
        return "something else than a file came out"
    written = sum(state.st_size for state in found)
    if (len(found), written) != (count, size):
        return f"{len(found)} files of {written} bytes came out, and {count} of {size} were announced"
    return None


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All that lies below a folder and is no folder, with its state; links are not followed."""
    for place, folders, names in os.walk(folder):
        for path in (Path(place) / name for name in (*folders, *names)):
            try:
                state = path.lstat()
            except FileNotFoundError:
                continue  # the tool has just renamed it
            if not stat.S_ISDIR(state.st_mode):
                yield path, state
