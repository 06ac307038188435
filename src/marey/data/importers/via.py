"""Annotations of VIA 3, the VGG Image Annotator for video: its project (JSON) and its export (CSV).

    {"attribute": {"1": {"aname": "action", "options": {"0": "walk"}}},
     "file": {"1": {"fname": "a.mp4"}}, "view": {"1": {"fid_list": ["1"]}},
     "metadata": {"1_x": {"vid": "1", "z": [1.2, 3.4], "xy": [], "av": {"1": "0"}}}}

    # CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
    "1_x","[""a.mp4""]","0","[1.2,3.4]","[]","{""1"":""walk""}"

`z` are seconds (https://www.robots.ox.ac.uk/~vgg/software/via): two are a span, none is the whole file, and one is a
single frame, which is left aside. The value of an attribute with options is the number of an option.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from marey.data.importers.annotations import Annotation, annotated_videos
from marey.data.importers.formats import ImportOptions, VideoList, register_importer
from marey.data.importers.json_files import number_in, peek_json, read_json, words_in
from marey.data.importers.text_files import peek_csv, read_lines
from marey.data.text import ONE_LABEL, pluralize
from marey.errors import DatasetError

_HEADER: Final = "# CSV_HEADER"
_COLUMNS: Final = ("metadata_id", "file_list", "flags", "temporal_coordinates", "spatial_coordinates", "metadata")
_MARK: Final = "# Exported using VGG Image Annotator"


def _is_via(source: Path) -> bool:
    start = peek_csv(source)
    if start:
        return start.startswith(_MARK) or (_HEADER in start and "temporal_coordinates" in start)
    project = peek_json(source)
    return isinstance(project, dict) and all(isinstance(project.get(key), dict) for key in ("metadata", "file"))


@register_importer(
    "via", summary="a project or a CSV export of VIA 3 (VGG Image Annotator)", detect=_is_via, before="feature folder"
)
def import_via(source: Path, options: ImportOptions) -> VideoList:
    """Import spans and labels of videos from VIA 3.

    Raises:
        DatasetError: the file is damaged, a span has several labels, or is none.
    """
    counts: Counter[str] = Counter()
    read = _of_table if source.suffix.lower() == ".csv" else _of_project
    found = list(read(source, counts))
    said = [pluralize(len(found), "annotation")]
    if counts["frames"]:
        said.append(f"{counts['frames']} of single frames left aside")
    if counts["bare"]:
        said.append(f"{counts['bare']} without a label left aside")
    return annotated_videos(found, source, options, said=said)


def _of_project(source: Path, counts: Counter[str]) -> Iterator[Annotation]:
    project = read_json(source)
    tables = {name: project.get(name) for name in ("attribute", "file", "view", "metadata")}
    attributes, files, views, metadata = (
        {key: each for key, each in table.items() if isinstance(each, dict)} if isinstance(table, dict) else {}
        for table in tables.values()
    )
    for key, entry in metadata.items():
        place = f"the annotation {key}"
        view = views.get(str(entry.get("vid")), {})
        listed = view.get("fid_list")
        shown = [files.get(str(name), {}) for name in listed] if isinstance(listed, list) else []
        names = [name for file in shown for name in words_in([file.get("src"), file.get("fname")])]
        values = entry.get("av")
        labels = [
            label
            for number, value in (values.items() if isinstance(values, dict) else ())
            for label in _chosen(value, attributes.get(number, {}))
        ]
        yield from _annotation(place, names, entry.get("z"), labels, counts)


def _chosen(value: Any, attribute: Mapping[str, Any]) -> list[str]:
    """Return the words of a value; the options that it names by number where the attribute has options."""
    options = attribute.get("options")
    if not isinstance(value, str) or not value.strip():
        return []
    if not isinstance(options, dict) or not options:
        return [value]
    numbers = [value] if value in options else [part.strip() for part in value.split(",") if part.strip()]
    return [str(options.get(number, number)) for number in numbers]


def _of_table(source: Path, counts: Counter[str]) -> Iterator[Annotation]:
    lines = read_lines(source)
    columns: Sequence[str] = _COLUMNS
    for line in lines:
        if line.startswith(_HEADER) and "=" in line:
            columns = [name.strip() for name in line.partition("=")[2].split(",")]
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip() and line[0] != "#"]
    for (number, _), cells in zip(numbered, _cells(source, [line for _, line in numbered]), strict=True):
        place = f"line {number}"
        if len(cells) != len(columns):
            raise DatasetError(
                f"{source}: {place} has {len(cells)} values, and its header {len(columns)}: export again"
            )
        row = dict(zip(columns, cells, strict=True))
        names, times, values = (
            _inner(row.get(name, "null"), source, place) for name in ("file_list", "temporal_coordinates", "metadata")
        )
        labels = [label for value in (values.values() if isinstance(values, dict) else ()) for label in words_in(value)]
        yield from _annotation(place, words_in(names), times, labels, counts)


def _cells(source: Path, lines: Sequence[str]) -> list[list[str]]:
    try:
        return [next(csv.reader([line], strict=True)) for line in lines]
    except (csv.Error, StopIteration) as error:
        raise DatasetError(f"{source} is no CSV export of VIA: {error}; export again") from error


def _inner(text: str, source: Path, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{source}: {place} holds {text[:60]!r}, which is no JSON: export again") from error


def _annotation(
    place: str, names: Sequence[str], times: Any, labels: Sequence[str], counts: Counter[str]
) -> Iterator[Annotation]:
    """Yield the annotation of an entry, unless it is about a single frame or says nothing."""
    if not names:
        raise DatasetError(f"{place} names no file: export the project again")
    if times is not None and not isinstance(times, list):
        raise DatasetError(f"{place} has the times {str(times)[:60]!r}: two seconds are expected, as in [1.5, 3.0]")
    seconds = [number_in(value, place) for value in times or ()]
    if len(seconds) == 1:
        counts["frames"] += 1
        return
    if len(seconds) > 2:
        raise DatasetError(f"{place} has {len(seconds)} times: two seconds are expected, as in [1.5, 3.0]")
    if not labels:
        counts["bare"] += 1
        return
    if len(set(labels)) > 1:
        raise DatasetError(f"{place} has the labels {' and '.join(dict.fromkeys(labels))}: {ONE_LABEL}")
    start, end = seconds or (None, None)
    yield Annotation(names[0], labels[0], place, start, end, names=tuple(names[1:]))
