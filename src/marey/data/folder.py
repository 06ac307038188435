"""Read folders of clips: a sub-folder per class, optionally below train, val and test."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from marey.data.clip import Clip, Manifest, Part
from marey.data.groups import assign_groups
from marey.data.manifest import MANIFEST_SUFFIXES, SPLIT_NAMES, Missing
from marey.data.text import check_labels, clean_label, join_first, pluralize, relative_name
from marey.errors import DatasetError
from marey.remote_path import RemotePath

RAW_SUFFIXES = frozenset((".h264", ".264", ".hevc", ".h265", ".265", ".mjpeg", ".mjpg"))
"""The suffixes of raw streams, which may state no frame rate."""

VIDEO_SUFFIXES = frozenset(
    (
        *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
        *(".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
        *(".dv", ".gif", *RAW_SUFFIXES),
    )
)
"""The suffixes of video files, in lower case."""

_WAY_OUT = (
    "give every class a folder of its own (as in walking/a.mp4), or list the clips in a manifest.csv "
    "with the columns path,label"
)


@dataclass
class _Survey:
    """The contents of a folder of class folders."""

    videos: list[tuple[str, Part | None, Path]] = field(default_factory=list)
    class_folders: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def read_folder(root: str | Path, *, missing: Missing = "error") -> Manifest:
    """Read a folder in which every sub-folder is a class and contains its videos, at any depth.

    Sub-folders named train, val (valid, validation) and test are the split, with the classes below them. Hidden files
    are skipped; other files without a video suffix, and videos beside the class folders, are counted in `notes`.

    Args:
        root: the folder.
        missing: whether a broken link is an error or is kept, so that `scan` reports it.

    Raises:
        DatasetError: there are no videos, no class folders, or class names that differ only in case, white space or
            Unicode form.
    """
    root = Path(root)
    survey = _Survey()
    folders = [Path(entry.path) for entry in _entries(root) if _is_folder(entry)]
    named = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES and _any_video(folder, root)]
    others = [folder for folder in folders if folder not in named and _any_video(folder, root)]
    if named and not others:
        for folder in named:
            _read_classes(folder, root, SPLIT_NAMES[folder.name.lower()], survey)
        _note_strays(root, root, survey)
    elif len(named) > 1:
        raise _mixed(root, [place.name for place in named], [place.name for place in others])
    else:
        _read_classes(root, root, None, survey)
    if not survey.videos:
        loose = [entry.name for entry in _entries(root) if not _is_folder(entry) and _is_video(entry.name)]
        raise DatasetError(_no_videos(root, survey, loose))
    broken = [relative_name(path, root) for _, _, path in survey.videos if not path.exists()]
    if broken and missing == "error":
        raise DatasetError(f"{root} holds links that lead nowhere: {join_first(broken)}; repair or remove them")
    return _manifest_of(root, survey)


def read_remote_folder(root: RemotePath, files: Sequence[RemotePath]) -> Manifest:
    """Read a folder on another machine as `read_folder` reads one here.

    Args:
        root: the folder.
        files: all files below it, sorted, as `list_remote` returns them.

    Raises:
        DatasetError: as `read_folder`.
    """
    survey = _Survey()
    below = [(path, path.relative_to(root).parts) for path in files if path.is_relative_to(root)]
    below = [(path, parts) for path, parts in below if not any(part.startswith(".") for part in parts)]
    with_videos = dict.fromkeys(parts[0] for path, parts in below if len(parts) > 1 and _is_video(path.name))
    named = [name for name in with_videos if name.lower() in SPLIT_NAMES]
    others = [name for name in with_videos if name not in named]
    if named and not others:
        for name in named:
            inside = [(path, parts[1:]) for path, parts in below if parts[0] == name and len(parts) > 1]
            _list_classes(root / name, root, inside, SPLIT_NAMES[name.lower()], survey)
    elif len(named) > 1:
        raise _mixed(root, named, others)
    else:
        _list_classes(root, root, below, None, survey)
    if not survey.videos:
        raise DatasetError(_no_videos(root, survey, [path.name for path, parts in below if len(parts) == 1]))
    return _manifest_of(root, survey)


def _list_classes(
    folder: RemotePath,
    root: RemotePath,
    below: Sequence[tuple[RemotePath, tuple[str, ...]]],
    part: Part | None,
    survey: _Survey,
) -> None:
    """Add the videos of each class folder, given the files below `folder` and the parts of their relative paths."""
    strays = []
    for path, parts in below:
        if len(parts) == 1:
            strays += [path.name] * _is_video(path.name)
        elif _is_video(path.name):
            name = unquote(parts[0]) if root.scheme in ("http", "https") else parts[0]
            survey.class_folders[name] = f"folder {relative_name(folder / parts[0], root)}"
            survey.videos.append((clean_label(name), part, path))
        else:
            survey.others[path.suffix.lower() or "files without a suffix"] += 1
    if strays:
        survey.notes.append(_strays(folder, root, strays))


def _mixed(root: Path, named: Sequence[str], others: Sequence[str]) -> DatasetError:
    return DatasetError(
        f"{root} holds {join_first(named)} beside {join_first(others)}: either all of them are classes or none is; "
        "move the class folders below train, val and test"
    )


def _manifest_of(root: Path, survey: _Survey) -> Manifest:
    check_labels(survey.class_folders)
    raw = [path for _, _, path in survey.videos if path.suffix.lower() in RAW_SUFFIXES]
    if raw:
        survey.notes.append(
            f"{pluralize(len(raw), 'raw stream')} ({relative_name(raw[0], root)} first): those that state no frame "
            "rate are read at 25 a second; `marey data import --frame-rate` states another one"
        )
    if survey.others:
        count = pluralize(survey.others.total(), "file")
        survey.notes.append(f"{count} left aside, no video by the suffix: {_kinds(survey)}")
    clips = tuple(Clip(path, label, split=part) for label, part, path in survey.videos)
    source = f"the folder {root}: {pluralize(len({clip.label for clip in clips}), 'class folder')}"
    return assign_groups(Manifest(clips, root, source, "", tuple(survey.notes)))


def _read_classes(folder: Path, root: Path, part: Part | None, survey: _Survey) -> None:
    """Add the videos of each class folder in `folder`."""
    classes = [Path(entry.path) for entry in _entries(folder) if _is_folder(entry)]
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
    strays = [entry.name for entry in _entries(folder) if not _is_folder(entry) and _is_video(entry.name)]
    if strays:
        survey.notes.append(_strays(folder, root, strays))


def _strays(folder: Path, root: Path, strays: Sequence[str]) -> str:
    place = "beside the class folders" if folder == root else f"directly in {relative_name(folder, root)!r}"
    return f"{pluralize(len(strays), 'video')} left aside {place}: {join_first(strays)}"


def _no_videos(root: Path, survey: _Survey, loose: Sequence[str]) -> str:
    if loose:
        return f"{root} holds {pluralize(len(loose), 'video')} but no class folders: {_WAY_OUT}"
    if any("left aside directly in" in note for note in survey.notes):
        return f"{root} holds no class folders below train, val or test: {_WAY_OUT}"
    found = f"; found only {_kinds(survey)}" if survey.others else ""
    suffixes = " ".join(sorted(VIDEO_SUFFIXES))
    return f"no videos in the class folders of {root} (looked for {suffixes}){found}: {_WAY_OUT}"


def _kinds(survey: _Survey) -> str:
    return join_first([kind for kind, _ in survey.others.most_common()])


def _any_video(folder: Path, root: Path) -> bool:
    return bool(_walk(folder, {os.path.realpath(root)})[0])


def _walk(folder: Path, barred: set[str]) -> tuple[list[Path], Counter[str]]:
    """Return the videos below a folder, and count the suffixes of other files; each real folder is entered once."""
    entered = set(barred)
    videos: list[Path] = []
    others: Counter[str] = Counter()

    def enter(place: Path) -> None:
        for entry in _entries(place):
            path = Path(entry.path)
            if _is_folder(entry):
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
    """Yield the entries of a folder by name, without hidden files and those of file managers."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}") from error
    for entry in entries:
        if not entry.name.startswith(".") and entry.name.lower() not in ("thumbs.db", "desktop.ini"):
            if any("\ud800" <= letter <= "\udfff" for letter in entry.name):
                raise DatasetError(f"{folder} holds {entry.name!r}, whose name is not valid Unicode: rename it")
            yield entry


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one; a link that leads to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def find_manifest(root: Path) -> Path | None:
    """Return the manifest.csv or manifest.parquet of a folder, or None."""
    candidates = (root / f"manifest{suffix}" for suffix in MANIFEST_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)
