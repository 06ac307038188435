"""Lists of Kinetics: a CSV file with a row a clip, whose videos were downloaded from YouTube.

    label,youtube_id,time_start,time_end,split
    walking,dQw4w9WgXcQ,10,20,train

Most tools cut the clips and call them ID_000010_000020; such a file is the whole clip. Where the whole video lies under
its ID, the clip is a span of it (https://github.com/cvdfoundation/kinetics-dataset).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from marey.data.importers.annotations import Annotation, annotated_videos
from marey.data.importers.formats import ImportOptions, VideoList, register_importer
from marey.data.importers.text_files import peek_csv
from marey.data.importers.video_files import file_at, index_videos
from marey.data.manifest import CsvTable, read_csv, split_named
from marey.data.text import pluralize
from marey.data.times import parse_seconds
from marey.errors import DatasetError

_ID: Final = "youtube_id"


def _is_kinetics(source: Path) -> bool:
    first = peek_csv(source).partition("\n")[0]
    return _ID in (name.strip().strip('"').lower() for name in first.split(","))


@register_importer(
    "kinetics",
    summary="a CSV file of Kinetics (label,youtube_id,time_start,time_end,split)",
    detect=_is_kinetics,
    before="feature folder",
)
def import_kinetics(source: Path, options: ImportOptions) -> VideoList:
    """Import the clips of a list of Kinetics.

    Raises:
        DatasetError: the list is damaged, or a row says no span.
    """
    table = read_csv(source)
    if table.faults:
        raise DatasetError(f"{source}: row {table.faults[0][0]} {table.faults[0][1]}")
    root = source.parent if options.videos is None else options.videos
    return annotated_videos(_annotations(table, root), source, options, said=(pluralize(len(table.rows), "row"),))


def _annotations(table: CsvTable, root: Path) -> Iterator[Annotation]:
    below = index_videos(root) if root.is_dir() else None
    for number, cells in table.rows:
        row = dict(zip(table.columns, cells, strict=True))
        place, name = f"row {number}", (row.get(_ID) or "").strip()
        if not name:
            raise DatasetError(f"{table.path}: {place} has no {_ID}: add it, or take the row out")
        start, end = (
            _seconds(row.get(column), f"{table.path}: {place}", column) for column in ("time_start", "time_end")
        )
        split = split_named(row.get("split") or "")
        cut = [] if start is None or end is None else [f"{name}_{start:06.0f}_{end:06.0f}", f"{name}_{start:g}_{end:g}"]
        whole = next((each for each in cut if below is not None and below.find(each) is not None), None)
        whole = whole or next((each for each in cut if file_at(each, root)), None)
        if whole is not None or start is None:
            yield Annotation(whole or name, row.get("label"), place, split=split)
        else:
            yield Annotation(name, row.get("label"), place, start, end, split=split)


def _seconds(text: str | None, place: str, column: str) -> float | None:
    seconds = None if text is None else parse_seconds(text)
    if text is not None and seconds is None:
        raise DatasetError(f"{place} has the {column} {text[:60]!r}: write seconds as a number")
    return seconds
