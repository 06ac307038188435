"""Clips that users upload, and labels that they correct: unpacked, scanned, and written as a training set."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import filelock

from marey.app.storage import copy_whole, new_folder, safe_name, safe_suffix, save_upload
from marey.atomic import atomic_folder
from marey.data import (
    VIDEO_SUFFIXES,
    Clip,
    Manifest,
    ScanRow,
    assign_groups,
    content_hash,
    load_data,
    read_manifest,
    scan,
    write_manifest,
    write_quarantine,
)
from marey.data.manifest import MANIFEST_SUFFIXES
from marey.data.text import check_labels, clean_label
from marey.data.zoo.archives import unpack
from marey.errors import DatasetError, UsageError, VideoError

_JUNK: Final = "__MACOSX"  # beside the files that a Mac packed
_MANIFESTS: Final = tuple(f"manifest{suffix}" for suffix in MANIFEST_SUFFIXES)
_LONGEST_LABEL: Final = 80  # characters

OnProgress = Callable[[int, int], None]
"""Called with the amount that is done and the total."""


@dataclass(frozen=True)
class Survey:
    """Clips of a set, and the files that cannot be used.

    Attributes:
        manifest: clips with labels and groups.
        faults: files that cannot be used, with their reasons.
    """

    manifest: Manifest
    faults: tuple[ScanRow, ...]

    @property
    def usable(self) -> dict[str, int]:
        """Number of usable clips of each label."""
        bad = {row.name for row in self.faults}
        counts = dict.fromkeys(self.manifest.labels, 0)
        for clip in self.manifest.clips:
            if clip.label is not None and not bad & {clip.path.as_posix(), clip.id}:
                counts[clip.label] += 1
        return counts


def unpack_archive(source: BinaryIO, name: str, sets: Path, *, on_progress: OnProgress) -> Path:
    """Unpack a zip of class folders into a new folder.

    Args:
        source: the archive.
        name: file name on the user's machine.
        sets: folder of all sets.
        on_progress: called with unpacked bytes.

    Returns:
        The folder of the set.

    Raises:
        DatasetError: the archive is damaged or unsafe, or the disk is full.
    """
    sets.mkdir(parents=True, exist_ok=True)
    archive = save_upload(source, "set.zip", sets / ".archives")
    try:
        folder = new_folder(sets, safe_name(Path(name).stem))
        shown = archive.with_name(f"{folder.name}.zip")  # messages name it as its owner does
        archive.replace(shown)
        archive = shown
        unpack(archive, folder, on_progress=lambda _, done, total: on_progress(done, total))
    finally:
        archive.unlink(missing_ok=True)
    return folder


def save_folder(files: Sequence[tuple[str, BinaryIO]], sets: Path, *, on_progress: OnProgress) -> Path:
    """Save a folder that was dropped on the page.

    Args:
        files: path within the folder, with forward slashes, and content.
        sets: folder of all sets.
        on_progress: called with files.

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
        with atomic_folder(folder) as unfinished:
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
    """Return the folder that holds the class folders: archives often wrap them in another one."""
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
    """Read a set and scan all of its files.

    Args:
        folder: class folders, or a manifest and its clips.
        within: folder that has to contain all clips, since an uploaded manifest may name any file of this machine;
            None for a folder that a local user names.
        group_regex: as for `marey train`.
        on_progress: called with files.

    Raises:
        DatasetError: the folder does not exist, or is not a data set.
        UsageError: the group expression is wrong.
    """
    try:
        if not folder.exists():
            raise DatasetError(f"there is no folder {folder}: check the spelling")
        if not folder.is_dir():
            raise DatasetError(f"{folder} is not a folder: name the one that holds the class folders")
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
    """Write the manifest of a training.

    A corrected clip counts once, with its newest label.

    Args:
        found: the set.
        corrections: clips to add.
        folder: where to write.

    Returns:
        The manifest, and the quarantine list if files cannot be used.
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


class Corrections:
    """Folder with `corrections.csv` and copies of the clips that it lists.

    Args:
        folder: made with the first correction.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manifest = folder / "corrections.csv"

    def clips(self) -> tuple[Clip, ...]:
        """Return all corrected clips.

        Raises:
            DatasetError: the manifest is damaged.
        """
        return read_manifest(self.manifest).clips if self.manifest.is_file() else ()

    def add(self, clip: Clip, label: str, *, name: str) -> Clip:
        """Add a clip with its correct label; a clip that was corrected before gets the new label.

        Args:
            clip: the clip; its file is copied.
            label: the correct label.
            name: file name on the user's machine; the group is read from it where it has a known form.

        Raises:
            UsageError: the label is empty, too long, or holds control characters.
            DatasetError: the label differs from another one only in case, white space or Unicode form.
            VideoError: the file no longer exists.
        """
        label = clean_label(label)
        if not label or len(label) > _LONGEST_LABEL or not label.isprintable():
            raise UsageError(f"a label has 1 to {_LONGEST_LABEL} printable characters, not {label[:_LONGEST_LABEL]!r}")
        content = content_hash(clip.path)
        self._folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self._folder / ".lock", timeout=30):
            others = [other for other in self.clips() if not _same(other, clip, content)]
            known = {other.label or "" for other in others} | {label}
            check_labels(dict.fromkeys(known, "the corrections"))
            stem = safe_name(Path(name).stem)
            kept = self._folder / "clips" / f"{stem}-{content[:12]}{safe_suffix(name)}"
            if not kept.is_file():
                copy_whole(clip.path, kept)
            corrected = Clip(kept, label, clip.group or _group_of(name), clip.start, clip.end)
            write_manifest(Manifest((*others, corrected), self._folder, "", ""), self.manifest)
        return corrected


def _same(other: Clip, clip: Clip, content: str) -> bool:
    span = (clip.start, clip.end)
    return (other.start, other.end) == span and other.path.stem.endswith(content[:12])


def _group_of(name: str) -> str | None:
    """Return the group in the original name of a file; its copy has another name."""
    named = assign_groups(Manifest((Clip(Path(Path(name).name)),), Path(), "", ""))
    return named.clips[0].group
