"""Lists of a path and a label a line, as mmaction2, SlowFast, VideoMAE and UCF101 have them.

    videos/a.mp4 0       mmaction2 (kinetics400_train_list_videos.txt), VideoMAE (train.csv), UCF101 (trainlist01.txt)
    videos/a.mp4,walk    with a comma, a semicolon or a tab; SlowFast (train.csv)
    path label           a header may be there

A path may hold spaces: the label is what follows the last separator. A name of a list with train, val or test in it is
a part of the split. Numbers are named by `--classes`, else by a file of names beside the list.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

from marey.data.clip import Part
from marey.data.folder import VIDEO_SUFFIXES
from marey.data.importers.annotations import Annotation, annotated_videos
from marey.data.importers.formats import ImportOptions, VideoList, register_importer
from marey.data.importers.text_files import read_lines
from marey.data.manifest import split_named
from marey.data.metadata import PATH_COLUMNS
from marey.data.text import ONE_LABEL, pluralize
from marey.errors import DatasetError

_SUFFIXES: Final = (".txt", ".csv", ".tsv", ".list", ".lst")
_CLASS_FILES: Final = ("classInd.txt", "classes.txt", "class_names.txt", "labels.txt", "label_map*.txt")
_SEPARATORS: Final = {"\t": "tabs", ",": "commas", ";": "semicolons", " ": "spaces"}
_LOOKED_AT: Final = 20  # lines, to find out what a file is
_WORDS: Final = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class _Row:
    """A line of a list."""

    number: int
    path: str
    label: str | None


@dataclass(frozen=True)
class _List:
    """A list as read."""

    path: Path
    rows: tuple[_Row, ...]
    separator: str
    has_header: bool
    split: Part | None


def _is_path(text: str) -> bool:
    return PurePosixPath(text.strip().strip('"').replace("\\", "/")).suffix.lower() in VIDEO_SUFFIXES


def _names_path(line: str) -> bool:
    """Return whether a line, or a part of it, is the path of a video."""
    return any(map(_is_path, (line, *re.split(r"[,;\t ]", line))))


def _lists(source: Path) -> list[Path]:
    """Return the file, or the files of a folder, that list videos with their labels."""
    files = [source] if source.is_file() else sorted(source.iterdir()) if source.is_dir() else []
    return [path for path in files if path.suffix.lower() in _SUFFIXES and path.is_file() and _is_list(path)]


def _is_list(path: Path) -> bool:
    with suppress(DatasetError, OSError):
        with path.open("rb") as file:
            start = b"".join(islice(file, _LOOKED_AT))[: 1 << 16]
        if start[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            lines = start.decode("utf-8-sig", errors="ignore").replace("\r", "\n").split("\n")
        else:
            lines = read_lines(path)[:_LOOKED_AT]
        lines = [line for line in lines if line.strip() and not line.startswith("#")]
        # A header with a comma, and a column of paths, is that of a table (`video_lists`).
        heads = [name.strip().strip('"').lower() for name in re.split(r"[,;\t]", lines[0] if lines else "")]
        of_table = len(heads) > 2 or ("," in "".join(lines[:1]) and any(name in PATH_COLUMNS for name in heads))
        if len(heads) > 1 and of_table and not any(map(_is_path, heads)):
            return False
        return any(map(_names_path, lines[:2]))
    return False


@register_importer(
    "path label list",
    summary="a list with a path and a label a line, as of mmaction2, SlowFast, VideoMAE or UCF101, or a folder of such",
    detect=lambda source: bool(_lists(source)),
    before="feature folder",
)
def import_path_labels(source: Path, options: ImportOptions) -> VideoList:
    """Import the videos of lists of a path and a label.

    Raises:
        DatasetError: a line has no path or several labels, or lists contradict each other.
    """
    lists = [_read(path) for path in _lists(source)]
    names, named_by = _class_names(source if source.is_dir() else source.parent, options)
    merged: dict[str, Annotation] = {}
    for each in lists:
        for row in each.rows:
            annotation = Annotation(
                row.path,
                _named(row, names, each.path),
                f"line {row.number} of {each.path.name}",
                split=each.split,
            )
            _merge(merged, annotation)
    return annotated_videos(merged.values(), source, options, said=(_said(lists, named_by),))


def _merge(merged: dict[str, Annotation], new: Annotation) -> None:
    """Add an annotation; where another list has the same path, what one of them does not know is the other's."""
    old = merged.setdefault(new.path, new)
    for what, one, other in (("label", old.label, new.label), ("split", old.split, new.split)):
        if one is not None and other is not None and one != other:
            way_out = ONE_LABEL if what == "label" else "take one of them out"
            raise DatasetError(
                f"{new.place} has the {what} {other!r} of {new.path}, and {old.place} {one!r}: {way_out}"
            )
    merged[new.path] = replace(old, label=old.label or new.label, split=old.split or new.split)


def _read(path: Path) -> _List:
    lines = [(number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    lines = [(number, line) for number, line in lines if not line.startswith("#")]
    separator = _separator([line for _, line in lines])
    cells = [(number, _divided(line, separator)) for number, line in lines]
    has_header = bool(lines) and not _names_path(lines[0][1])
    rows = []
    for number, parts in cells[has_header:]:
        where, *labels = parts
        if not where:
            raise DatasetError(f"{path}: line {number} names no video: add its path, or take the line out")
        if len(labels) > 1 or (labels and re.search(r"\.\w{2,4}\s+[\d\s]+$", where)):
            raise DatasetError(f"{path}: line {number} has several labels for {where.split()[0]}: {ONE_LABEL}")
        rows.append(_Row(number, where.replace("\\", "/"), labels[0] if labels else None))
    if not rows:
        raise DatasetError(f"{path} lists no videos: add a line for each, with its path and its label")
    return _List(path, tuple(rows), separator, has_header, _part(path))


def _separator(lines: Sequence[str]) -> str:
    """Return the separator of a list: the first that stands in each line behind a path."""
    behind = [line for line in lines if _names_path(line)] or list(lines)
    return next((each for each in _SEPARATORS if behind and all(each in line.strip() for line in behind)), " ")


def _divided(line: str, separator: str) -> list[str]:
    """Return the path and the label of a line, or the path alone."""
    line = line.strip()
    if separator == " ":
        if _is_path(line):
            return [line.strip('"')]
        path, _, label = line.rpartition(" ")
        return [path.strip().strip('"'), label] if path else [line]
    try:
        cells = next(csv.reader([line], delimiter=separator, strict=True))
    except (csv.Error, StopIteration):
        cells = line.split(separator)
    return [cell.strip() for cell in cells if cell.strip() or cell is cells[0]]


def _part(path: Path) -> Part | None:
    """Return the part of the split that a name such as kinetics400_train_list_videos names."""
    words = _WORDS.findall(path.stem.lower())
    for word in words:
        part = split_named(word.removesuffix("list"))
        if part is not None:
            return part
    return None


def _class_names(folder: Path, options: ImportOptions) -> tuple[Mapping[str, str], str]:
    """Return the names of numbers, and where they come from: the option, or a file beside the lists."""
    if options.classes:
        return {str(number): name for number, name in enumerate(options.classes)}, ""
    for pattern in _CLASS_FILES:
        for path in sorted(folder.glob(pattern)):
            lines = [line.strip() for line in read_lines(path) if line.strip()]
            if lines and not _is_list(path):
                numbered = [re.fullmatch(r"(\d{1,9})[\s,]+(\S.*)", line) for line in lines]
                if all(numbered):
                    return {each[1]: each[2] for each in numbered if each is not None}, path.name
                return {str(number): line for number, line in enumerate(lines)}, path.name
    return {}, ""


def _named(row: _Row, names: Mapping[str, str], path: Path) -> str | None:
    if row.label is None:
        # Official lists of test clips have no label: the folder of the clip says it.
        folder = PurePosixPath(row.path).parent.name
        return folder if folder in names.values() else None
    if not names or row.label in names.values():
        return row.label
    if row.label in names:
        return names[row.label]
    raise DatasetError(
        f"{path}: line {row.number} has the label {row.label[:60]!r}, and the classes are "
        f"{', '.join(list(names.values())[:5])}{', ...' if len(names) > 5 else ''}: name all of them (--classes)"
    )


def _said(lists: Sequence[_List], named_by: str) -> str:
    """Return one sentence on how the lists were read."""
    kinds = {(each.separator, each.has_header) for each in lists}
    rows = ", ".join(f"{each.path.name} {len(each.rows)}" for each in lists)
    if len(kinds) == 1:
        ((separator, has_header),) = kinds
        how = f", read as a path and a label with {_SEPARATORS[separator]} between them and "
        how += "a header" if has_header else "no header"
    else:
        how = ""
    named = f", classes named by {named_by}" if named_by else ""
    return f"{pluralize(sum(len(each.rows) for each in lists), 'line')} ({rows}){how}{named}"
