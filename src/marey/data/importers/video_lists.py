"""Lists of videos as notebooks write them, and features that are named by the videos.

    metadata.csv                video_path,label
    train.csv val.csv test.csv  the same columns: the split
    anything/STEM.npy           features (T, D) of the video STEM, wherever they lie

Paths in such lists are often those of another machine: a video is looked for where the list says, and then by its name
below the folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from marey.data.clip import Clip, Manifest, Part
from marey.data.groups import assign_groups
from marey.data.importers.annotations import Annotation, annotated_videos
from marey.data.importers.features import DESCRIPTION, STREAM, TABLE, FeatureClip, Features, FeatureTable, read_npy
from marey.data.importers.formats import ImportOptions, VideoList, register_importer
from marey.data.importers.video_files import FileIndex, index_files, stem_of
from marey.data.manifest import SPLIT_NAMES, CsvTable, read_csv, split_named
from marey.data.metadata import LABEL_COLUMNS, PATH_COLUMNS
from marey.data.text import ONE_LABEL, check_labels, clean_label, join_first, pluralize
from marey.data.times import END_COLUMNS, FRAME_COLUMNS, START_COLUMNS, parse_frame, parse_seconds
from marey.errors import DatasetError, VideoError

_ALL: Final = "metadata.csv"
_SPLIT_COLUMNS: Final = ("split", "subset", "partition", "set")


@dataclass(frozen=True)
class _Row:
    """A row of a list: the path as it is written, and what is known of the clip; frames as in `Annotation`."""

    path: str
    label: str | None
    split: Part | None
    place: str
    start: float | None = None
    end: float | None = None
    frames: tuple[int, int] | None = None

    @property
    def clip(self) -> tuple[str, float | None, float | None, tuple[int, int] | None]:
        """The video and the span, which are the same in rows about one clip."""
        return self.path, self.start, self.end, self.frames


def _lists(source: Path) -> list[Path]:
    """Return the lists of a folder, or the one file."""
    if source.is_file():
        return [source] if source.suffix.lower() == ".csv" else []
    names = (_ALL, *(f"{name}.csv" for name in SPLIT_NAMES))
    return [source / name for name in names if (source / name).is_file()]


def _is_list_of_videos(source: Path) -> bool:
    if (source / TABLE).is_file() or (source / DESCRIPTION).is_file():
        return False
    for path in _lists(source):
        with suppress(DatasetError):
            columns = read_csv(path).columns
            in_parts = path.stem in SPLIT_NAMES and "path" in columns
            if in_parts or any(name in columns for name in PATH_COLUMNS if name != "path"):
                return True
    return False


@register_importer(
    "video list",
    summary="a metadata.csv of videos (video_path,label), alone or with train.csv, val.csv and test.csv",
    detect=_is_list_of_videos,
    before="feature folder",
)
def import_video_list(source: Path, options: ImportOptions) -> VideoList | FeatureTable:
    """Import the videos of lists, or their features where there are .npy files with the videos' names.

    Rows may be spans: `start` and `end` in seconds or as hh:mm:ss, or `start_frame` and `end_frame`.

    Raises:
        DatasetError: the lists contradict each other, or name nothing that is there.
    """
    root = source if source.is_dir() else source.parent
    lists = _lists(source)
    rows = _joined(lists, options.classes)
    arrays = index_files(root, lambda suffix: suffix == ".npy")
    with_features = {row.path: found for row in rows if (found := arrays.find(row.path)) is not None}
    counted = ", ".join(f"{path.name} {len(read_csv(path).rows)}" for path in lists)
    if options.take == "features" and not with_features:
        raise DatasetError(f"{root} holds no .npy file with the name of a listed video, as {rows[0].path}")
    spans = [row for row in rows if row.clip != (row.path, None, None, None)]
    if spans and options.take == "features":
        raise DatasetError(f"{spans[0].place} is a span, and features are those of whole videos: take the videos")
    if with_features and options.take != "videos" and not spans:
        return _features(rows, with_features, arrays, f"rows: {counted}", root)
    annotations = [
        Annotation(row.path, row.label, row.place, row.start, row.end, row.frames, split=row.split) for row in rows
    ]
    return annotated_videos(annotations, source, options, said=(f"rows: {counted}",))


def _features(
    rows: Sequence[_Row], found: Mapping[str, Path], arrays: FileIndex, counted: str, root: Path
) -> FeatureTable:
    listed = set(found.values())
    spare = sum(path not in listed for paths in arrays.files.values() for path in paths)
    clips = []
    for row in rows:
        path = found.get(row.path)
        name = stem_of(row.path) if path is None else _name(path, root)
        clips.append(FeatureClip(name, row.label, None, row.split, partial(_read, row.path, path)))
    double = [name for name, count in Counter(clip.name for clip in clips).items() if count > 1]
    if double:
        raise DatasetError(f"two listed videos have the features {double[0]}.npy: take one of them out of the list")
    groups = assign_groups(Manifest(tuple(Clip(Path(row.path)) for row in rows), root, "", "")).clips
    known = tuple(replace(clip, group=group.group) for clip, group in zip(clips, groups, strict=True))
    note = (
        f"matched: {counted}; {len(found)} of {pluralize(len(rows), 'video')} have features, by the name of the video"
        + (f"; {pluralize(spare, '.npy file')} in no list" if spare else "")
        + "; --take videos imports the videos instead"
    )
    return FeatureTable(known, (STREAM,), None, f"the lists in {root}", (note,))


def _read(listed: str, path: Path | None, stream: str) -> Features:
    if path is None:
        raise VideoError(listed, "missing", "there is no .npy file with the name of the video")
    return read_npy({stream: path}, stream)


def _joined(lists: Sequence[Path], classes: Sequence[str]) -> list[_Row]:
    """Return the rows of all lists, each video once: labels of metadata.csv, the split of the others."""
    found: dict[object, _Row] = {}
    for path in lists:
        part = SPLIT_NAMES.get(path.stem)
        for row in _rows(path, classes):
            split = part or row.split
            old = found.get(row.clip)
            if old is None:
                found[row.clip] = replace(row, split=split)
                continue
            for what, one, other in (("label", old.label, row.label), ("split", old.split, split)):
                if one is not None and other is not None and one != other:
                    way_out = ONE_LABEL if what == "label" else "take one of them out"
                    raise DatasetError(
                        f"{path} has the {what} {other!r} of {row.path}, and {old.place} has {one!r}: {way_out}"
                    )
            found[row.clip] = replace(old, label=old.label or row.label, split=old.split or split)
    unlabelled = [row.path for row in found.values() if row.label is None]
    if unlabelled and len(unlabelled) < len(found):
        raise DatasetError(f"{pluralize(len(unlabelled), 'listed video')} without a label: {join_first(unlabelled)}")
    check_labels({row.label: row.path for row in found.values() if row.label is not None})
    if not found:
        raise DatasetError(f"{join_first([str(path) for path in lists])} list no videos: add a row for each")
    return list(found.values())


def _rows(path: Path, classes: Sequence[str]) -> Iterator[_Row]:
    table = read_csv(path)
    if table.faults:
        raise DatasetError(f"{path}: row {table.faults[0][0]} {table.faults[0][1]}")
    where = _column(table, PATH_COLUMNS)
    if where is None:
        raise DatasetError(
            f"{path} has no column of videos, only {', '.join(table.columns)}: call it {PATH_COLUMNS[0]}"
        )
    labels, splits = _label_column(table), _column(table, _SPLIT_COLUMNS)
    for number, cells in table.rows:
        if cells[where] is None:
            raise DatasetError(f"{path}: row {number} names no video: add its path, or take the row out")
        label = None if labels is None else cells[labels]
        split = None if splits is None else cells[splits]
        part = None if split is None else split_named(split)
        if split is not None and part is None:
            raise DatasetError(f"{path}: row {number} has the split {split!r}: choose one of train, val, test")
        place = f"row {number} of {path.name}"
        span = _span(dict(zip(table.columns, cells, strict=True)), f"{path}: row {number}")
        named = None if label is None else _named(clean_label(label), classes, path)
        yield _Row(str(cells[where]).strip(), named, part, place, *span)


def _span(values: Mapping[str, str | None], place: str) -> tuple[float | None, float | None, tuple[int, int] | None]:
    """Return the start and the end of a row in seconds, or its frames."""
    seconds: list[float | None] = []
    for names in (START_COLUMNS, END_COLUMNS):
        cell = next((values[name] for name in names if values.get(name) is not None), None)
        seconds.append(None if cell is None else parse_seconds(cell))
        if cell is not None and seconds[-1] is None:
            raise DatasetError(f"{place} has the {names[0]} {cell[:60]!r}: write seconds as a number, or as hh:mm:ss")
    cells = [values.get(name) for name in FRAME_COLUMNS]
    if all(cell is None for cell in cells):
        return seconds[0], seconds[1], None
    first, last = (None if cell is None else parse_frame(cell) for cell in cells)
    if first is None or last is None:
        shown = " and ".join(repr(cell) for cell in cells)
        raise DatasetError(f"{place} has the frames {shown[:60]}: write two whole numbers from 0")
    return None, None, (first, last)


def _column(table: CsvTable, names: Sequence[str]) -> int | None:
    return next((table.columns.index(name) for name in names if name in table.columns), None)


def _label_column(table: CsvTable) -> int | None:
    """Return the column of labels; where there are numbers and names, that of the names."""
    found = [table.columns.index(name) for name in LABEL_COLUMNS if name in table.columns]
    in_words = [place for place in found if not all((cells[place] or "0").isdecimal() for _, cells in table.rows)]
    return next(iter(in_words or found), None)


def _named(label: str, classes: Sequence[str], path: Path) -> str:
    if not classes or label in classes:
        return label
    if label.isdecimal() and int(label) < len(classes):
        return classes[int(label)]
    raise DatasetError(f"{path} has the label {label!r}, and --classes names {', '.join(classes)}: name all of them")


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()
