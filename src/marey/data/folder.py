"""Folders of clips: a sub-folder a class, with or without train, val and test above them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from marey.data.clip import Clip, Manifest, Part, counted, listing, relative_name
from marey.data.groups import assign_groups
from marey.data.labels import check_labels, clean_label
from marey.data.manifest import MANIFEST_SUFFIXES, SPLIT_NAMES, Missing
from marey.errors import DatasetError

VIDEO_SUFFIXES = frozenset(
    (
        *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
        *(".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
    )
)
"""What the names of video files end in, in lower case."""

_WAY_OUT = (
    "give every class a folder of its own (as in walking/a.mp4), or list the clips in a manifest.csv "
    "with the columns path,label"
)


@dataclass
class _Survey:
    """What lies in a folder of class folders."""

    videos: list[tuple[str, Part | None, Path]] = field(default_factory=list)
    class_folders: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def read_folder(root: str | Path, *, missing: Missing = "error") -> Manifest:
    """Read a folder in which every sub-folder is a class and holds its videos, at any depth.

    Where the sub-folders are called train, val (valid, validation) and test, they are the split, and the
    classes lie below them. Hidden files are passed over; other files that are not videos by their suffix, and
    videos beside the class folders, are counted in `notes`.

    Args:
        root: the folder.
        missing: whether a link that leads nowhere is an error or is kept, for `scan` to name it.

    Raises:
        DatasetError: no videos, no class folders, or two of a name but for case, white space or Unicode form.
    """
    root = Path(root)
    survey = _Survey()
    folders = [Path(entry.path) for entry in _entries(root) if entry.is_dir()]
    named = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES and _any_video(folder, root)]
    others = [folder for folder in folders if folder not in named and _any_video(folder, root)]
    if named and not others:
        for folder in named:
            _read_classes(folder, root, SPLIT_NAMES[folder.name.lower()], survey)
        _note_strays(root, root, survey)
    elif len(named) > 1:
        raise DatasetError(
            f"{root} holds {listing([place.name for place in named])} beside "
            f"{listing([place.name for place in others])}: either all of them are classes or none is; "
            "move the class folders below train, val and test"
        )
    else:
        _read_classes(root, root, None, survey)
    if not survey.videos:
        raise DatasetError(_no_videos(root, survey))
    check_labels(survey.class_folders)
    broken = [relative_name(path, root) for _, _, path in survey.videos if not path.exists()]
    if broken and missing == "error":
        raise DatasetError(f"{root} holds links that lead nowhere: {listing(broken)}; mend or remove them")
    if survey.others:
        count = counted(survey.others.total(), "file")
        survey.notes.append(f"{count} left aside, no video by the suffix: {_kinds(survey)}")
    clips = tuple(Clip(path, label, split=part) for label, part, path in survey.videos)
    source = f"the folder {root}: {counted(len({clip.label for clip in clips}), 'class folder')}"
    return assign_groups(Manifest(clips, root, source, "", tuple(survey.notes)))


def _read_classes(folder: Path, root: Path, part: Part | None, survey: _Survey) -> None:
    """Add the videos of each class folder in `folder`."""
    classes = [Path(entry.path) for entry in _entries(folder) if entry.is_dir()]
    barred = {os.path.realpath(place) for place in (root, folder, *classes)}
    for place in classes:
        label = clean_label(place.name)
        videos, others = _walk(place, barred)
        survey.others.update(others)
        if not videos:
            survey.notes.append(f"the folder {relative_name(place, root)!r} holds no video")
            continue
        survey.class_folders[place.name] = f"folder {relative_name(place, root)}"
        survey.videos.extend((label, part, path) for path in videos)
    _note_strays(folder, root, survey)


def _note_strays(folder: Path, root: Path, survey: _Survey) -> None:
    strays = [entry.name for entry in _entries(folder) if not entry.is_dir() and _is_video(entry.name)]
    if strays:
        place = "beside the class folders" if folder == root else f"directly in {relative_name(folder, root)!r}"
        survey.notes.append(f"{counted(len(strays), 'video')} left aside {place}: {listing(strays)}")


def _no_videos(root: Path, survey: _Survey) -> str:
    loose = [entry.name for entry in _entries(root) if not entry.is_dir() and _is_video(entry.name)]
    if loose:
        return f"{root} holds {counted(len(loose), 'video')} but no class folders: {_WAY_OUT}"
    if any("left aside directly in" in note for note in survey.notes):
        return f"{root} holds no class folders below train, val or test: {_WAY_OUT}"
    found = f"; found only {_kinds(survey)}" if survey.others else ""
    suffixes = " ".join(sorted(VIDEO_SUFFIXES))
    return f"no videos in the class folders of {root} (looked for {suffixes}){found}: {_WAY_OUT}"


def _kinds(survey: _Survey) -> str:
    return listing([kind for kind, _ in survey.others.most_common()])


def _any_video(folder: Path, root: Path) -> bool:
    return bool(_walk(folder, {os.path.realpath(root)})[0])


def _walk(folder: Path, barred: set[str]) -> tuple[list[Path], Counter[str]]:
    """The videos below a folder, and the suffixes of the other files; each real folder is entered once."""
    entered = set(barred)
    videos: list[Path] = []
    others: Counter[str] = Counter()

    def enter(place: Path) -> None:
        for entry in _entries(place):
            path = Path(entry.path)
            if entry.is_dir():
                real = os.path.realpath(path)
                if real not in entered:
                    entered.add(real)
                    enter(path)
            elif _is_video(entry.name):
                videos.append(path)
            else:
                others[path.suffix.lower() or "files without a suffix"] += 1

    enter(folder)
    return videos, others


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, by name, without what the file managers of three systems hide there."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}") from error
    for entry in entries:
        if not entry.name.startswith(".") and entry.name.lower() not in ("thumbs.db", "desktop.ini"):
            if any("\ud800" <= letter <= "\udfff" for letter in entry.name):
                raise DatasetError(f"{folder} holds {entry.name!r}, whose name is not valid Unicode: rename it")
            yield entry


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def find_manifest(root: Path) -> Path | None:
    """The file manifest.csv or manifest.parquet of a folder, which speaks for the folder."""
    candidates = (root / f"manifest{suffix}" for suffix in MANIFEST_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)
