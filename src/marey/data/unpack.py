"""Archives from strangers: unpacked whole into a folder of their own, or not at all."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from marey.atomic import whole_folder
from marey.data.download import OnProgress, in_words, require_space
from marey.data.rar import ArchiveError, RarEntry, extract_rar, list_rar
from marey.errors import DatasetError

ARCHIVE_SUFFIXES: Final = (".zip", ".rar")

_BLOCK: Final = 1 << 20
_MOST_ENTRIES: Final = 500_000
_RATIO: Final = 100  # video hardly shrinks; what unpacks to more than this is a bomb
_ALLOWANCE: Final = 64 << 20  # bytes that any archive may unpack to


def unpack(archive: Path, folder: Path, *, on_progress: OnProgress) -> None:
    """Unpack a zip or rar archive, and the rar archives in it, into a folder that is not there yet.

    All names are looked at before anything is written: absolute ones, those that lead out of the folder, links,
    devices and names that come twice are refused. So is an archive that says that it unpacks to a hundred times its
    size or to more than the disk has room for, and one that unpacks to more than it says.

    Args:
        archive: a .zip or .rar file; it is read and left as it is.
        folder: made, and there only when everything has been unpacked.
        on_progress: hears of unpacked bytes.

    Raises:
        ArchiveError: the archive is damaged or refused.
        DatasetError: the disk is full, or no tool can unpack a rar archive.
        UsageError: there is something in `folder`.
    """
    try:
        with whole_folder(folder, alone=True) as unfinished:
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
        entries = list_rar(archive)
        _check_names(archive, [(entry.name, entry.kind) for entry in entries])
        _check_sizes(archive, folder, [entry.size for entry in entries])
        _extract_rar(archive, folder, entries, on_progress)
    else:
        _extract_zip(archive, folder, on_progress)


def _extract_rar(archive: Path, folder: Path, entries: Sequence[RarEntry], on_progress: OnProgress) -> None:
    files = [entry.size for entry in entries if entry.kind == "file"]
    extract_rar(archive, folder, count=len(files), size=sum(files), on_progress=on_progress)


def _extract_zip(archive: Path, folder: Path, on_progress: OnProgress) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            _check_names(archive, [(member.orig_filename, _kind(member)) for member in members])
            total = _check_sizes(archive, folder, [member.file_size for member in members])
            done = 0
            for member in members:
                target = folder.joinpath(*_parts(member.orig_filename))
                if _kind(member) == "folder":
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, target.open("xb") as copy:
                    written = 0
                    while block := source.read(_BLOCK):
                        written += len(block)
                        if written > member.file_size:
                            raise ArchiveError(f"{archive.name}: {member.filename} unpacks to more than it says")
                        copy.write(block)
                        on_progress(f"unpacking {archive.name}", done + written, total)
                if written != member.file_size:
                    raise ArchiveError(f"{archive.name} is damaged: {member.filename} is cut off")
                done += written
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ArchiveError(f"{archive.name} is damaged, or no zip archive that can be read: {error}") from error


def _kind(member: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(member.external_attr >> 16)
    if member.flag_bits & 1:
        return "locked file"
    if member.is_dir() or mode == stat.S_IFDIR:
        return "folder"
    return "file" if mode in (0, stat.S_IFREG) else "link or device"


def _parts(name: str) -> tuple[str, ...]:
    """The folders and the name of an entry, whichever slash it was written with."""
    return tuple(name.replace("\\", "/").rstrip("/").split("/"))


def _check_names(archive: Path, entries: Sequence[tuple[str, str]]) -> None:
    if not entries:
        raise ArchiveError(f"{archive.name} is an empty archive")
    if len(entries) > _MOST_ENTRIES:
        raise ArchiveError(
            f"{archive.name} holds {len(entries)} entries, and {_MOST_ENTRIES} are the most that is read"
        )
    files: set[tuple[str, ...]] = set()
    for name, kind in entries:
        parts = _parts(name)
        outside = any(part in ("", ".", "..") or ":" in part for part in parts)
        if outside or not name.isprintable():
            raise ArchiveError(
                f"{archive.name} holds the name {name!r}, which leads out of its folder or cannot be a file's name: "
                "nothing of it was unpacked, and it is not to be trusted"
            )
        if kind not in ("file", "folder"):
            raise ArchiveError(f"{archive.name} holds {name!r}, a {kind}: only files are unpacked, nothing was")
        if kind == "file":
            if parts in files:
                raise ArchiveError(f"{archive.name} holds {name!r} twice: nothing of it was unpacked")
            files.add(parts)
    for name, _ in entries:
        parts = _parts(name)
        if any(parts[:depth] in files for depth in range(1, len(parts))):
            raise ArchiveError(f"{archive.name} holds {name!r} below a file: nothing of it was unpacked")


def _check_sizes(archive: Path, folder: Path, sizes: Sequence[int]) -> int:
    total = sum(sizes)
    packed = archive.stat().st_size
    if total > _RATIO * packed + _ALLOWANCE:
        raise ArchiveError(
            f"{archive.name} has {in_words(packed)} and says that it unpacks to {in_words(total)}: that is no archive "
            "of videos, and nothing of it was unpacked"
        )
    require_space(folder, total, f"unpacking {archive.name}")
    return total
