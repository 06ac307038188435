"""Clips by class that people bring: unpacked, looked through, and put together for a training."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from marey.app.storage import keep, new_folder, safe_name
from marey.data import (
    VIDEO_SUFFIXES,
    Clip,
    Manifest,
    ScanRow,
    content_hash,
    load_data,
    scan,
    write_manifest,
    write_quarantine,
)
from marey.data.zoo.archives import unpack
from marey.errors import DatasetError, VideoError
from marey.whole_file import whole_folder

_JUNK: Final = "__MACOSX"  # beside the files that a Mac packed
_MANIFESTS: Final = ("manifest.csv", "manifest.parquet")

OnProgress = Callable[[int, int], None]
"""Called with how much is done, and how much there is."""


@dataclass(frozen=True)
class Survey:
    """What was found in a set of clips.

    Attributes:
        manifest: its clips, with labels and groups.
        faults: the files that cannot be used, with the reasons.
    """

    manifest: Manifest
    faults: tuple[ScanRow, ...]

    @property
    def usable(self) -> dict[str, int]:
        """Label to the number of its clips that can be used."""
        bad = {row.name for row in self.faults}
        counts = dict.fromkeys(self.manifest.labels, 0)
        for clip in self.manifest.clips:
            if clip.label is not None and not bad & {clip.path.as_posix(), clip.id}:
                counts[clip.label] += 1
        return counts


def unpack_archive(source: BinaryIO, name: str, sets: Path, *, on_progress: OnProgress) -> Path:
    """Unpack a zip of class folders into a folder of its own.

    Args:
        source: the archive.
        name: what its owner calls it.
        sets: the folder of all sets.
        on_progress: hears of unpacked bytes.

    Returns:
        The folder of the set.

    Raises:
        DatasetError: the archive is damaged, not to be trusted, or the disk is full.
    """
    sets.mkdir(parents=True, exist_ok=True)
    archive = keep(source, "set.zip", sets / ".archives")
    try:
        folder = new_folder(sets, safe_name(Path(name).stem))
        shown = archive.with_name(f"{folder.name}.zip")  # messages call it by the name that its owner gave it
        archive.replace(shown)
        archive = shown
        unpack(archive, folder, on_progress=lambda _, done, total: on_progress(done, total))
    finally:
        archive.unlink(missing_ok=True)
    return folder


def keep_folder(files: Sequence[tuple[str, BinaryIO]], sets: Path, *, on_progress: OnProgress) -> Path:
    """Keep a folder that was dropped on the page.

    Args:
        files: path within the folder, with forward slashes, and content.
        sets: the folder of all sets.
        on_progress: hears of files.

    Raises:
        DatasetError: a path leads out of the folder, or there is no video.
    """
    wanted = [(_parts(name), content) for name, content in files]
    wanted = [(parts, content) for parts, content in wanted if _is_wanted(parts)]
    if not wanted:
        raise DatasetError(f"no videos among the {len(files)} files: give every class a folder with its clips")
    roots = {parts[0] for parts, _ in wanted if len(parts) > 2}
    folder = new_folder(sets, safe_name(roots.pop()) if len(roots) == 1 else "clips")
    try:
        with whole_folder(folder) as unfinished:
            for done, (parts, content) in enumerate(wanted, start=1):
                target = unfinished.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                content.seek(0)
                with target.open("xb") as copy:
                    shutil.copyfileobj(content, copy)
                on_progress(done, len(wanted))
    except OSError as error:
        raise DatasetError(f"the folder cannot be kept: {error.strerror}") from error
    return folder


def class_root(folder: Path) -> Path:
    """The folder that holds the class folders: archives often wrap them in one more."""
    here = folder
    while True:
        if any((here / name).is_file() for name in _MANIFESTS):
            return here
        inside = [path for path in sorted(here.iterdir()) if not path.name.startswith(".") and path.name != _JUNK]
        below = [path for path in inside if path.is_dir()]
        if len(inside) != 1 or len(below) != 1 or not any(path.is_dir() for path in below[0].iterdir()):
            return here
        here = below[0]


def survey(folder: Path, *, within: Path | None, group_regex: str | None, on_progress: OnProgress) -> Survey:
    """Read a set, and look at every one of its files.

    Args:
        folder: class folders, or a manifest and its clips.
        within: where all clips have to lie: a stranger's manifest may name any file of this machine. None where the
            folder was named by its owner.
        group_regex: as for `marey train`.
        on_progress: hears of files.

    Raises:
        DatasetError: there is no such folder, or it cannot be used as a data set.
        UsageError: the group expression is wrong.
    """
    try:
        if not folder.exists():
            raise DatasetError(f"there is no folder {folder}: check the spelling")
        if not folder.is_dir():
            raise DatasetError(f"{folder} is no folder: name the one that holds the class folders")
        manifest = load_data(class_root(folder), group_regex=group_regex or None)
    except OSError as error:
        raise DatasetError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    unlabelled = sum(clip.label is None for clip in manifest.clips)
    if unlabelled:
        raise DatasetError(f"{unlabelled} of {len(manifest.clips)} clips have no label: sort them into class folders")
    if within is not None:
        inside = within.resolve()
        for clip in manifest.clips:
            if not clip.path.resolve().is_relative_to(inside):
                raise DatasetError(f"the manifest names {clip.path}, which is not among the files that came with it")
    rows = scan(manifest, on_progress=on_progress)
    return Survey(manifest, tuple(row for row in rows if not row.ok))


def write_set(found: Survey, corrections: Iterable[Clip], folder: Path) -> tuple[Path, Path | None]:
    """Write down what a training shall learn from.

    A clip that was corrected counts once, with the label that it was given last.

    Args:
        found: the set.
        corrections: clips to add.
        folder: where to write.

    Returns:
        The manifest, and the list of files to leave out, where there are any.
    """
    added = list(corrections)
    corrected = {_span(clip): clip for clip in added}
    clips = [replace(clip, label=again.label) if (again := corrected.pop(_span(clip), None)) else clip
             for clip in found.manifest.clips]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    everything = found.manifest.with_clips([*clips, *corrected.values()])
    write_manifest(everything, folder / "manifest.csv")
    if not found.faults:
        return folder / "manifest.csv", None
    write_quarantine(found.faults, folder / "quarantine.csv")
    return folder / "manifest.csv", folder / "quarantine.csv"


def _span(clip: Clip) -> tuple[str, float | None, float | None]:
    try:
        content = content_hash(clip.path)
    except VideoError:
        content = clip.path.as_posix()
    return content, clip.start, clip.end


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(name.replace("\\", "/").strip("/").split("/"))
    if any(part in ("", ".", "..") or ":" in part or not part.isprintable() for part in parts):
        raise DatasetError(f"{name!r} leads out of its folder, or cannot be a file's name: nothing was kept")
    return parts


def _is_wanted(parts: tuple[str, ...]) -> bool:
    if any(part.startswith(".") or part == _JUNK for part in parts):
        return False
    return Path(parts[-1]).suffix.lower() in VIDEO_SUFFIXES or parts[-1] in _MANIFESTS
