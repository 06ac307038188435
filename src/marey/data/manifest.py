"""Manifests: the table of clips as a CSV or a Parquet file."""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from marey.atomic import atomic_file
from marey.data.clip import Clip, Manifest, Part
from marey.data.csv_cells import CsvWriter, as_written
from marey.data.groups import assign_groups
from marey.data.text import ONE_LABEL, check_labels, clean_label, join_first
from marey.data.times import (
    END_COLUMNS,
    FRAME_COLUMNS,
    FRAMES_CONVERTED,
    START_COLUMNS,
    parse_frame,
    parse_seconds,
    seconds_of_frames,
)
from marey.errors import DatasetError, UsageError, VideoError
from marey.extras import install_command
from marey.remote_path import RemotePath, as_path, join_path
from marey.video.remote_file import open_binary

COLUMNS = ("path", "label", "group", "start", "end", "split")
MANIFEST_SUFFIXES = (".csv", ".parquet")

Missing = Literal["error", "keep"]
"""Treatment of a row whose file does not exist."""

# Lists of other tools use these names too.
SPLIT_NAMES: dict[str, Part] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}

_LONG_NAMES = {"training": "train", "testing": "test", "validate": "val"}  # folders of these names are classes

# A column with one of these names must not be ignored: a lost group would leak.
_COLUMN_ALIASES = {
    "path": ("file", "filename", "filepath", "video", "clip"),
    "label": ("class", "action", "target", "category"),
    "group": ("group_id", "subject", "person", "actor"),
    "start": START_COLUMNS[1:],
    "end": END_COLUMNS[1:],
    "split": ("subset", "partition"),
}
_ALIKE = 0.8  # as difflib counts: 'lable' and 'label', not 'site' and 'split'

_SHOWN_FAULTS = 10
_UNREADABLE_RATE = 25.0  # frames per second of a file of which no frame can be counted


@dataclass(frozen=True)
class CsvTable:
    """A file as read: its columns, and for each row its number and its cells (None if empty)."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str | None, ...]], ...]
    faults: tuple[tuple[int, str], ...] = ()


def split_named(text: str) -> Part | None:
    """Return the part of a split that a word of another program means; None for any other word."""
    word = text.strip().lower()
    return SPLIT_NAMES.get(_LONG_NAMES.get(word, word))


def read_manifest(path: str | Path, *, missing: Missing = "error") -> Manifest:
    """Read a manifest: CSV in UTF-8 or Parquet, with the columns path, label, group, start, end, split.

    Only `path` is required; a relative one starts from the manifest's folder. `start` and `end` are seconds, also as a
    clock shows them (hh:mm:ss). In their place may stand `start_frame` and `end_frame`, counted from 0 and both part of
    the clip, which the timestamps of each file convert. A column with a synonym of these names is refused; any other is
    ignored and reported in `notes`.

    Args:
        path: the manifest.
        missing: whether a row without a file is an error or is kept, so that `scan` reports it.

    Raises:
        DatasetError: the file cannot be read, or rows of it cannot be used; the message names each row (as a
            spreadsheet numbers it: the header is row 1), the value and the remedy.
        UsageError: it is a Parquet file, and PyArrow is not installed.
    """
    path = as_path(path)
    table = _read_parquet(path) if path.suffix.lower() == ".parquet" else read_csv(path)
    notes = _check_columns(table)
    if not table.rows and not table.faults:
        raise DatasetError(f"{path} lists no clips: add a row for each, below the header")
    clips = _read_clips(table, missing)
    first_rows = {clip.label: number for clip, (number, _) in zip(clips[::-1], table.rows[::-1], strict=True)}
    check_labels({label: f"row {number} of {path}" for label, number in first_rows.items() if label is not None})
    return assign_groups(Manifest(tuple(clips), path.parent, f"the manifest {path}", "", tuple(notes)))


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write a manifest as CSV or Parquet, by the suffix; the file appears when it is complete.

    Files below the manifest's folder have relative paths, all others absolute ones.

    Raises:
        DatasetError: the suffix is neither, or some clips have a label and others do not.
        UsageError: it is to be a Parquet file, and PyArrow is not installed.
    """
    path = Path(path)
    _check_suffix(path)
    if path.suffix.lower() == ".parquet":
        _pyarrow(path)
    unlabelled = [clip.id for clip in manifest.clips if clip.label is None]
    if unlabelled and manifest.labels:
        raise DatasetError(
            f"{len(unlabelled)} of {len(manifest.clips)} clips have no label ({join_first(unlabelled)}): "
            "label all of them, or none"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part:
        if path.suffix.lower() == ".parquet":
            _write_parquet(manifest, part, path.parent)
        else:
            _write_csv(manifest, part, path.parent)


def portable_path(path: Path, folder: Path) -> str:
    """Return the path of a file for a table in `folder`: relative if the file is below the folder, else absolute."""
    absolute, base = path.absolute(), folder.absolute()
    return (absolute.relative_to(base) if absolute.is_relative_to(base) else absolute).as_posix()


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in MANIFEST_SUFFIXES:
        raise DatasetError(f"{path} is not a manifest: its name has to end in {' or '.join(MANIFEST_SUFFIXES)}")


def _pyarrow(path: Path) -> Any:
    """Return PyArrow with its Parquet part; it is 0.2 GB, and most manifests are CSV files."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            f"{path} is a Parquet file, for which PyArrow is not installed; take a CSV file, or install it: "
            f"{install_command('parquet')}"
        ) from error
    return pyarrow


# Reading


def read_csv(path: Path) -> CsvTable:
    """Return the cells of a CSV file in UTF-8; names of columns are in small letters.

    Raises:
        DatasetError: it cannot be read; the message names the remedy.
    """
    _check_suffix(path)
    try:
        with open_binary(path) as file:
            text = file.read().decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except VideoError as error:
        raise DatasetError(f"{path} cannot be read: {error.reason}: {error.detail}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} is not UTF-8 (byte {error.start} is 0x{error.object[error.start]:02x}): save it as 'CSV UTF-8'"
        ) from error
    except csv.Error as error:
        raise DatasetError(f"{path} is not a CSV file ({error}): save it as comma-separated values") from error
    if not any(lines):
        raise DatasetError(f"{path} is empty: it needs a header ({','.join(COLUMNS)}) and a row a clip")
    header = tuple(name.strip().lower() for name in lines[0])
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise DatasetError(f"{path} is separated by {word}, not by commas: save it as comma-separated values")
    rows, faults = [], []
    for number, line in enumerate(lines[1:], start=2):
        cells = tuple(as_written(cell) if cell.strip() else None for cell in line)
        if not any(cells):
            continue  # an empty line of the spreadsheet
        if len(cells) == len(header):
            rows.append((number, cells))
        else:
            fault = f"has {len(cells)} values where the header has {len(header)} ({','.join(line)})"
            faults.append((number, f"{fault}: quote a value that holds a comma"))
    return CsvTable(path, header, tuple(rows), tuple(faults))


def _read_parquet(path: Path) -> CsvTable:
    pa = _pyarrow(path)
    try:
        with open_binary(path) as file:
            table = pa.parquet.read_table(file)
    except VideoError as error:
        raise DatasetError(f"{path} cannot be read: {error.reason}: {error.detail}") from error
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read as Parquet: {error}") from error

    def cell(value: object) -> str | None:
        empty = value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()
        return None if empty else str(value)

    columns = tuple(name.strip().lower() for name in table.column_names)
    cells = zip(*(column.to_pylist() for column in table.columns), strict=True)
    rows = [(number, tuple(cell(value) for value in row)) for number, row in enumerate(cells, start=2)]
    return CsvTable(path, columns, tuple(rows))


def _check_columns(table: CsvTable) -> list[str]:
    """Refuse columns that are missing, duplicate or misnamed; return notes about ignored columns."""
    path, columns = table.path, table.columns
    doubled = [name for name, count in Counter(columns).items() if count > 1 and name]
    if doubled:
        raise DatasetError(f"{path} has the column {doubled[0]!r} twice: keep one")
    others = [name for name in columns if name not in (*COLUMNS, *FRAME_COLUMNS)]
    absent = [name for name in COLUMNS if name not in columns]
    if "labels" in others and any("|" in (cells[columns.index("labels")] or "") for _, cells in table.rows):
        raise DatasetError(f"{path} has a column 'labels' with several labels in a cell ('|'): {ONE_LABEL}")
    for name in others:
        for known in absent:
            if name in _COLUMN_ALIASES[known] or difflib.get_close_matches(name, [known], cutoff=_ALIKE):
                raise DatasetError(
                    f"{path} has a column {name!r} and none named {known!r}; did you mean "
                    f"{known!r}? Rename the column, or take it out"
                )
    if "path" in absent:
        raise DatasetError(
            f"{path} has no column 'path', only {', '.join(map(repr, columns))}: name each clip's file in one"
        )
    notes = [f"columns left aside: {', '.join(map(repr, others))}"] if others else []
    counted = [name for name in FRAME_COLUMNS if name in columns]
    return [*notes, FRAMES_CONVERTED] if counted else notes


def _read_clips(table: CsvTable, missing: Missing) -> list[Clip]:
    folder = table.path.parent
    labelled = "label" in table.columns and any(
        cells[table.columns.index("label")] is not None for _, cells in table.rows
    )
    clips: list[Clip] = []
    faults = list(table.faults)
    first_row: dict[tuple[Path, float | None, float | None], int] = {}
    there: dict[Path, bool] = {}
    urls: dict[Path, str] = {}
    for number, cells in table.rows:
        values = dict(zip(table.columns, cells, strict=True))
        clip = _read_clip(values, folder)
        found = [*_span_faults(values), *_split_faults(values)]
        if clip.path == folder:
            found.append("has no path: name the clip's file, or take the row out")
        elif missing == "error" and not _is_there(clip.path, there):
            found.append(_missing_fault(values["path"] or "", clip.path))
        elif not found and any(values.get(name) is not None for name in FRAME_COLUMNS):
            clip, fault = _clip_of_frames(clip, values)
            found += [fault] * bool(fault)
        if isinstance(clip.path, RemotePath) and urls.setdefault(clip.path, clip.path.url) != clip.path.url:
            found.append(f"names {clip.path} by another query than a row before: give all rows of a file the same URL")
        if labelled and clip.label is None:
            found.append("has no label: give it one, or take the row out")
        same = first_row.setdefault((clip.path, clip.start, clip.end), number)
        if same != number and not found:
            found.append(f"repeats row {same} ({clip.id}): take one of them out")
        clips.append(clip)
        faults.extend((number, fault) for fault in found)
    if faults:
        shown = "".join(f"\n  row {number} {fault}" for number, fault in sorted(faults)[:_SHOWN_FAULTS])
        more = len(faults) - _SHOWN_FAULTS
        rest = f"\n  and {more} more" if more > 0 else ""
        raise DatasetError(f"{table.path} has rows that cannot be used:{shown}{rest}")
    return clips


def _read_clip(values: dict[str, str | None], folder: Path) -> Clip:
    """Return the clip of a row; an unreadable value becomes None, and is reported as a fault."""
    label, group, split = (values.get(name) for name in ("label", "group", "split"))
    return Clip(
        path=join_path(folder, values["path"] or ""),
        label=None if label is None else clean_label(label),
        group=None if group is None else group.strip(),
        start=_seconds(values.get("start")),
        end=_seconds(values.get("end")),
        split=None if split is None else SPLIT_NAMES.get(split.strip().lower()),
    )


def _seconds(cell: str | None) -> float | None:
    return None if cell is None else parse_seconds(cell)


def _clip_of_frames(clip: Clip, values: dict[str, str | None]) -> tuple[Clip, str]:
    """Return the clip with the seconds of its frames, and what is wrong with them, if anything."""
    cells = [values.get(name) for name in FRAME_COLUMNS]
    first, last = (None if cell is None else parse_frame(cell) for cell in cells)
    if clip.start is not None or clip.end is not None:
        return clip, "has seconds and frames: leave start and end out, or start_frame and end_frame"
    if first is None or last is None:
        shown = " and ".join(repr(cell) for cell in cells)
        return clip, f"has the frames {shown}: write two whole numbers from 0, start_frame and end_frame"
    try:
        start, end = seconds_of_frames(clip.path, first, last)
    except UsageError as error:
        return clip, str(error)
    except VideoError as error:
        if error.reason == "missing":
            return clip, ""  # kept for the scan
        # Such a file has a reason when it is read; the clips of its rows stay apart until then.
        start, end = first / _UNREADABLE_RATE, (last + 1) / _UNREADABLE_RATE
    return replace(clip, start=start, end=end), ""


def _span_faults(values: dict[str, str | None]) -> Iterator[str]:
    spans = {name: _seconds(values.get(name)) for name in ("start", "end")}
    for name, seconds in spans.items():
        if values.get(name) is not None and seconds is None:
            yield f"has the {name} {values[name]!r}: write seconds as a number, with a point as in 12.5, or hh:mm:ss"
        elif seconds is not None and seconds < 0:
            yield f"has the {name} {values[name]!r}: seconds count from the start of the file, from 0"
    start, end = spans["start"], spans["end"]
    if end is not None and end >= 0 and end <= (start or 0.0):
        yield f"starts at {start or 0.0:g} and ends at {end:g}: the end has to come after the start"


def _split_faults(values: dict[str, str | None]) -> Iterator[str]:
    split = values.get("split")
    if split is not None and split.strip().lower() not in SPLIT_NAMES:
        yield f"has the split {split!r}: choose one of train, val, test"


def _is_there(path: Path, known: dict[Path, bool]) -> bool:
    """Return whether a file exists; one on another machine is looked for when it is read."""
    if path not in known:
        known[path] = isinstance(path, RemotePath) or os.path.isfile(path)  # noqa: PTH113  (Path.is_file raises on long names)
    return known[path]


def _missing_fault(cell: str, path: Path) -> str:
    if os.path.isdir(path):  # noqa: PTH112
        return f"names the folder {cell!r}: name a video file"
    if "\\" in cell and os.sep != "\\":
        return f"names a file that is not there: {cell!r}; write the path with forward slashes"
    looked_for = f"{cell!r} (looked for {path.absolute()})"
    return f"names a file that is not there: {looked_for}; correct the path, or take the row out"


# Writing


def _write_csv(manifest: Manifest, path: Path, folder: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = CsvWriter(file)
        writer.writerow(COLUMNS)
        writer.writerows(_row(clip, folder) for clip in manifest.clips)


def _write_parquet(manifest: Manifest, path: Path, folder: Path) -> None:
    pa = _pyarrow(path)
    schema = pa.schema([(name, pa.float64() if name in ("start", "end") else pa.string()) for name in COLUMNS])
    rows = [dict(zip(COLUMNS, _row(clip, folder), strict=True)) for clip in manifest.clips]
    pa.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _row(clip: Clip, folder: Path) -> Sequence[str | float | None]:
    return portable_path(clip.path, folder), clip.label, clip.group, clip.start, clip.end, clip.split
