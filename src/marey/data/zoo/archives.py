"""Unpack zip and RAR archives from untrusted sources: the whole archive into a new folder, or nothing.

The RAR format is not free, so RAR archives are listed by `rarfile` and unpacked by an installed program. One call
unpacks the whole archive: a call per file takes hours if the files are compressed together.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marey.atomic import atomic_folder
from marey.data.text import format_bytes
from marey.data.zoo.download import OnProgress, require_space
from marey.errors import DatasetError, UsageError
from marey.extras import install_command

if TYPE_CHECKING:
    import rarfile

ARCHIVE_SUFFIXES: Final = (".zip", ".rar")

_MAX_ENTRIES: Final = 500_000
_MAX_RATIO: Final = 100  # video hardly compresses; an archive that unpacks to more than this is a zip bomb
_ALLOWED_BYTES: Final = 64 << 20  # any archive may unpack to this many bytes
_POLL_INTERVAL: Final = 0.5  # s between two checks of the bytes that a RAR tool has written

RAR_TOOLS: Final[dict[str, Callable[[str, str], list[str]]]] = {
    "unrar": lambda archive, folder: ["x", "-idq", "-y", "-p-", archive, folder + os.sep],
    "unar": lambda archive, folder: ["-quiet", "-no-directory", "-password", "", "-output-directory", folder, archive],
    "7zz": lambda archive, folder: ["x", "-y", "-p", "-bso0", "-bsp0", f"-o{folder}", archive],
    "7z": lambda archive, folder: ["x", "-y", "-p", "-bso0", "-bsp0", f"-o{folder}", archive],
    "bsdtar": lambda archive, folder: ["-x", "-f", archive, "-C", folder],
}
"""The programs that can unpack RAR, most reliable first, and their arguments. Some builds of 7z and bsdtar cannot
unpack RAR, or not all of it: the next program is tried then."""


class ArchiveError(DatasetError):
    """An archive that is damaged or refused: another copy of it is needed."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of an archive: its name, its kind ("file", "folder" or another one) and its size in bytes."""

    name: str
    kind: str
    size: int


def unpack(archive: str | Path, folder: str | Path, *, on_progress: OnProgress) -> None:
    """Unpack a zip or RAR archive, and the RAR archives in it, into a new folder.

    All names are checked before anything is written: absolute names, names that lead out of the folder, links,
    devices and duplicate names are refused. An archive is also refused if its unpacked size is more than a hundred
    times its own size or more than the free disk space, or if it unpacks to more than it declares.

    Args:
        archive: a .zip or .rar file; it is not changed.
        folder: the folder to create; it appears when everything is unpacked.
        on_progress: called with the number of unpacked bytes.

    Raises:
        ArchiveError: the archive is damaged or refused.
        DatasetError: the disk is full, or no installed tool can unpack a RAR archive.
        UsageError: `folder` is not empty, or rarfile is not installed for a RAR archive.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with atomic_folder(folder, single_writer=True) as unfinished:
            _unpack_into(archive, unfinished, on_progress)
            for inner in sorted(unfinished.rglob("*.rar")):
                inside = inner.with_suffix("")
                if inside.exists():
                    raise ArchiveError(
                        f"{archive.name} holds {inner.name} and something called {inside.name} beside it"
                    )
                inside.mkdir()
                _unpack_into(inner, inside, on_progress)
                inner.unlink()
    except OSError as error:
        raise DatasetError(
            f"{archive.name} cannot be unpacked into {folder.parent}: {error.strerror}; if the disk is full, make "
            "room or set MAREY_DATA to a folder on a larger one, and run the same command again"
        ) from error


def _unpack_into(archive: Path, folder: Path, on_progress: OnProgress) -> None:
    if archive.suffix.lower() == ".rar":
        entries = _list_rar(archive)
        _check_entries(archive, folder, entries)
        _extract_rar(archive, folder, [entry.size for entry in entries if entry.kind == "file"], on_progress)
    else:
        _extract_zip(archive, folder, on_progress)


def _check_entries(archive: Path, folder: Path, entries: Sequence[_Entry]) -> int:
    """Refuse an archive by the names, kinds and sizes of its entries; return the unpacked size."""
    if not entries:
        raise ArchiveError(f"{archive.name} is an empty archive")
    if len(entries) > _MAX_ENTRIES:
        raise ArchiveError(f"{archive.name} holds {len(entries)} entries; at most {_MAX_ENTRIES} are read")
    files: set[tuple[str, ...]] = set()
    for entry in entries:
        parts = _parts(entry.name)
        outside = any(part in ("", ".", "..") or ":" in part for part in parts)
        if outside or not entry.name.isprintable():
            raise ArchiveError(
                f"{archive.name} holds the name {entry.name!r}, which leads out of its folder or cannot be a file's "
                "name: nothing was unpacked; do not trust this archive"
            )
        if entry.kind not in ("file", "folder"):
            raise ArchiveError(
                f"{archive.name} holds {entry.name!r}, a {entry.kind}: only files are unpacked, and nothing was"
            )
        if entry.kind == "file":
            if parts in files:
                raise ArchiveError(f"{archive.name} holds {entry.name!r} twice: nothing was unpacked")
            files.add(parts)
    for entry in entries:
        parts = _parts(entry.name)
        if any(parts[:depth] in files for depth in range(1, len(parts))):
            raise ArchiveError(f"{archive.name} holds {entry.name!r} below a file: nothing was unpacked")
    total = sum(entry.size for entry in entries)
    packed = archive.stat().st_size
    if total > _MAX_RATIO * packed + _ALLOWED_BYTES:
        raise ArchiveError(
            f"{archive.name} has {format_bytes(packed)} and says that it unpacks to {format_bytes(total)}: that is no "
            "archive of videos, and nothing was unpacked"
        )
    require_space(folder, total, f"unpacking {archive.name}")
    return total


def _parts(name: str) -> tuple[str, ...]:
    """Split the name of an entry at slashes and backslashes."""
    return tuple(name.replace("\\", "/").rstrip("/").split("/"))


def _extract_zip(archive: Path, folder: Path, on_progress: OnProgress) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            entries = [_Entry(member.orig_filename, _kind(member), member.file_size) for member in members]
            total = _check_entries(archive, folder, entries)
            done = 0
            for member, entry in zip(members, entries, strict=True):
                member.filename = "/".join(_parts(entry.name)) + "/" * (entry.kind == "folder")
                opened.extract(member, folder)  # writes no more than the declared size, and checks the CRC
                done += entry.size
                on_progress(f"unpacking {archive.name}", done, total)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ArchiveError(f"{archive.name} is damaged, or no zip archive that can be read: {error}") from error


def _kind(member: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(member.external_attr >> 16)
    if member.flag_bits & 1:
        return "locked file"
    if member.is_dir() or mode == stat.S_IFDIR:
        return "folder"
    return "file" if mode in (0, stat.S_IFREG) else "link or device"


def rar_tools() -> list[str]:
    """Return the names of the installed programs that unpack RAR, most reliable first."""
    return [tool for tool in RAR_TOOLS if shutil.which(tool)]


def require_rar_tool(name: str) -> list[str]:
    """Return the installed programs that unpack RAR.

    Raises:
        DatasetError: none is installed; the message names the archive `name`.
        UsageError: the package that lists RAR archives is not installed.
    """
    _rarfile(name)
    found = rar_tools()
    if not found:
        raise DatasetError(
            f"{name} is a RAR archive, and none of {', '.join(RAR_TOOLS)} is installed to unpack it: install one "
            "(such as 'apt install unar' or 'brew install unar'), and run the same command again"
        )
    return found


def _rarfile(name: str) -> Any:
    try:
        import rarfile
    except ImportError as error:
        raise UsageError(
            f"{name} is a RAR archive, and the package rarfile is not installed: {install_command('rar')}"
        ) from error
    return rarfile


def _list_rar(archive: Path) -> list[_Entry]:
    rarfile = _rarfile(archive.name)
    try:
        with rarfile.RarFile(archive, errors="strict") as opened:
            if opened.needs_password() and not opened.infolist():
                raise ArchiveError(f"{archive.name} needs a password: get an archive without one")
            if len(opened.volumelist()) > 1:
                raise ArchiveError(f"{archive.name} is the first of several volumes: only single archives are read")
            return [_Entry(str(info.filename), _rar_kind(info), int(info.file_size or 0)) for info in opened.infolist()]
    except rarfile.RarExecError as error:  # only a tool can read a comment in it
        raise DatasetError(f"{archive.name} cannot be read by the tools that are installed: {error}") from error
    except rarfile.Error as error:
        raise ArchiveError(f"{archive.name} is damaged, or no RAR archive that can be read: {error}") from error


def _rar_kind(info: rarfile.RarInfo) -> str:
    if info.is_dir():
        return "folder"
    if not info.is_file() or info.file_redir is not None:
        return "link"
    return "locked file" if info.needs_password() else "file"


def _extract_rar(archive: Path, folder: Path, sizes: Sequence[int], on_progress: OnProgress) -> None:
    """Unpack a checked archive with the first program that can, and compare the result with the listed sizes."""
    failures = []
    for tool in require_rar_tool(archive.name):
        for left in folder.iterdir():  # from the program before
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        command = [tool, *RAR_TOOLS[tool](os.fspath(archive.absolute()), os.fspath(folder.absolute()))]
        complaint = _run(command, archive, folder, sum(sizes), on_progress) or _difference(folder, sizes)
        if complaint is None:
            return
        failures.append(f"{tool}: {complaint}")
    raise DatasetError(
        f"{archive.name} cannot be unpacked ({'; '.join(failures)}): it is damaged, or these tools do not know its "
        f"kind of RAR: install another of {', '.join(RAR_TOOLS)}"
    )


def _run(command: list[str], archive: Path, folder: Path, size: int, on_progress: OnProgress) -> str | None:
    """Run a program, stop it if it writes more than `size` bytes, and return its last error line, or None."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - a fixed command, and no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"LC_ALL": "C.UTF-8"},  # names outside ASCII are lost in the plain C locale
        )
        try:
            while process.poll() is None:
                try:
                    process.wait(_POLL_INTERVAL)
                except subprocess.TimeoutExpired:
                    done = sum(state.st_size for state in _walk(folder))
                    if done > size:
                        raise ArchiveError(
                            f"{archive.name} unpacks to more than the {format_bytes(size)} that it announces: do not "
                            "trust it; nothing of it is kept"
                        ) from None
                    on_progress(f"unpacking {archive.name}", done, size)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode == 0:
            on_progress(f"unpacking {archive.name}", size, size)
            return None
        output.seek(0)
        lines = output.read(65_536).decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return last[:200] or f"it ended with {process.returncode}"


def _difference(folder: Path, sizes: Sequence[int]) -> str | None:
    """Describe the difference between the unpacked files and the listed ones, or return None."""
    found = list(_walk(folder))
    if not all(stat.S_ISREG(state.st_mode) for state in found):
        return "something else than a file came out"
    count, written = len(found), sum(state.st_size for state in found)
    if (count, written) != (len(sizes), sum(sizes)):
        return f"{count} files of {written} bytes came out, and {len(sizes)} of {sum(sizes)} were announced"
    return None


def _walk(folder: Path) -> Iterator[os.stat_result]:
    """Yield the state of everything below a folder except folders; links are not followed."""
    for place, folders, names in os.walk(folder):
        for path in (Path(place) / name for name in (*folders, *names)):
            try:
                state = path.lstat()
            except FileNotFoundError:
                continue  # the program has just renamed it
            if not stat.S_ISDIR(state.st_mode):
                yield state
