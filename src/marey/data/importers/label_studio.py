"""Exports of Label Studio: JSON and JSON_MIN.

    [{"data": {"video": "/data/upload/1/1a2b3c4d-a.mp4"}, "annotations": [{"result": [
        {"type": "timelinelabels", "value": {"ranges": [{"start": 1, "end": 50}], "timelinelabels": ["walk"]}},
        {"type": "videorectangle", "value": {"framesCount": 250, "labels": ["walk"],
                                             "sequence": [{"frame": 1, "enabled": true}, ...]}},
        {"type": "labels", "value": {"start": 1.5, "end": 3.0, "labels": ["walk"]}},
        {"type": "choices", "value": {"choices": ["walk"]}}]}]}]

Its frames count from 1, and a range includes its last one; times of `labels` are seconds (https://labelstud.io/tags).
A box is there from a keyframe that is enabled to the next one that is not, or else to the end. JSON_MIN has the values
of all results beside the data, below the names of their tags.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from marey.data.folder import VIDEO_SUFFIXES
from marey.data.importers.annotations import Annotation, annotated_videos
from marey.data.importers.formats import ImportOptions, VideoList, register_importer
from marey.data.importers.json_files import count_in, number_in, objects_in, peek_json, read_json, words_in
from marey.data.text import ONE_LABEL, pluralize
from marey.errors import DatasetError

_UPLOAD: Final = re.compile(r"(^|.*/)[0-9a-f]{8}-([^/]+)")  # Label Studio puts eight digits before a name
_KINDS: Final = ("timelinelabels", "videorectangle", "labels", "choices")
_WHOLE: Final = re.compile(r"choice|class|label|action|category", re.IGNORECASE)  # names of tags, as people choose them
_OF_TASKS: Final = ("annotations", "completions", "annotation_id", "annotator")


def _is_label_studio(source: Path) -> bool:
    tasks = peek_json(source)
    if not isinstance(tasks, list):
        return False
    task = next(objects_in(tasks), {})
    return any(name in task for name in _OF_TASKS)


@register_importer(
    "label studio",
    summary="a JSON or JSON_MIN export of Label Studio",
    detect=_is_label_studio,
    before="feature folder",
)
def import_label_studio(source: Path, options: ImportOptions) -> VideoList:
    """Import spans and labels of videos from an export of Label Studio.

    Where a task has several annotations, that of the ground truth is taken, else the last one.

    Raises:
        DatasetError: the file is damaged, a video has several labels, or a span is none.
    """
    tasks = list(objects_in(read_json(source)))
    counts: Counter[str] = Counter()
    found: list[Annotation] = []
    for number, task in enumerate(tasks, start=1):
        place = f"task {task['id']}" if isinstance(task.get("id"), int) else f"task {number}"
        of_task = list(_annotations(task, place, counts))
        counts["bare"] += not of_task
        found += of_task
    said = [pluralize(len(tasks), "task")]
    if counts["bare"]:
        said.append(f"{counts['bare']} without an annotation of its time or kind left aside")
    if counts["several"]:
        said.append(f"{counts['several']} with several annotations, of which the ground truth or the last one is taken")
    return annotated_videos(found, source, options, said=said)


def _annotations(task: Mapping[str, Any], place: str, counts: Counter[str]) -> Iterator[Annotation]:
    made = [
        each
        for each in objects_in(task.get("annotations", task.get("completions")))
        if not each.get("was_cancelled") and isinstance(each.get("result"), list)
    ]
    if made:
        counts["several"] += len(made) > 1
        chosen = next((each for each in made if each.get("ground_truth")), made[-1])
        results = [
            (each.get("type"), each["value"])
            for each in objects_in(chosen["result"])
            if isinstance(each.get("value"), dict)
        ]
        data = task.get("data")
    else:
        results, data = list(_values(task)), task
    spans = [span for kind, value in results if kind != "choices" for span in _spans(kind, value, place)]
    whole = [value for kind, value in results if kind == "choices"]
    if not spans and not whole:
        return
    path = _video_of(data, place)
    names = _names(path)
    if spans:
        for label, span in spans:
            yield Annotation(path, label, place, names=names, **span)
        return
    labels = [label for value in whole for label in words_in(value.get("choices"))]
    if len(set(labels)) > 1:
        raise DatasetError(f"{place} gives {path} the labels {' and '.join(dict.fromkeys(labels))}: {ONE_LABEL}")
    if labels:
        yield Annotation(path, labels[0], place, names=names)


def _values(task: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the results of a task in JSON_MIN with their kinds."""
    for name, value in task.items():
        for each in objects_in(value):
            kind = next((kind for kind in _KINDS if kind in each), "videorectangle" if "sequence" in each else None)
            if kind is not None:
                yield kind, each
        if _WHOLE.search(name) and words_in(value):
            yield "choices", {"choices": words_in(value)}


def _spans(kind: object, value: Mapping[str, Any], place: str) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Yield the label of each span of a result, and the span as arguments of `Annotation`."""
    if kind not in _KINDS:
        return
    labels = words_in(value.get("labels" if kind == "videorectangle" else str(kind)))
    if len(set(labels)) > 1:
        raise DatasetError(f"{place} gives one span the labels {' and '.join(dict.fromkeys(labels))}: {ONE_LABEL}")
    label = labels[0] if labels else None
    if kind == "timelinelabels":
        for each in objects_in(value.get("ranges")):
            first, last = (count_in(each.get(name), f"{place}, '{name}' of a range,") for name in ("start", "end"))
            yield label, {"frames": (first - 1, last - 1)}
    elif kind == "videorectangle":
        frames = value.get("framesCount")
        counted = None if frames is None else count_in(frames, f"{place}, 'framesCount',")
        for first, last in _lives(value, counted, place):
            yield label, {"frames": (first - 1, last - 1), "counted": counted}
    elif "start" in value and "end" in value:
        start, end = (number_in(value[name], f"{place}, '{name}' of a span,") for name in ("start", "end"))
        yield label, {"start": start, "end": end}


def _lives(value: Mapping[str, Any], counted: int | None, place: str) -> Iterator[tuple[int, int]]:
    """Yield the first and the last frame of each time that a box is there."""
    keys = sorted(
        (count_in(key.get("frame"), f"{place}, 'frame' of a box,"), bool(key.get("enabled", True)))
        for key in objects_in(value.get("sequence"))
    )
    first: int | None = None
    for frame, enabled in keys:
        first = frame if first is None else first
        if not enabled:
            yield first, frame
            first = None
    if first is not None:
        yield first, max(counted or 0, keys[-1][0])


def _video_of(data: Any, place: str) -> str:
    """Return the path of a task's video: the value that looks like one."""
    texts = {key: text for key, text in data.items() if isinstance(text, str)} if isinstance(data, dict) else {}
    named = [texts[name] for name in ("video", "video_url", "url", "path") if name in texts]
    videos = [text for text in (*named, *texts.values()) if Path(_path_of(text)).suffix.lower() in VIDEO_SUFFIXES]
    if not videos and not named:
        raise DatasetError(f"{place} names no video: export the tasks with their data")
    return (videos or named)[0]


def _path_of(text: str) -> str:
    """Return the path in a URL, or in the way in which Label Studio names local files."""
    try:
        parts = urlsplit(text.replace("\\", "/"))
    except ValueError:
        return text
    inner = parse_qs(parts.query).get("d") if parts.path.endswith("/local-files/") else None
    if inner:
        return inner[0]
    return unquote(parts.path) if parts.scheme and len(parts.scheme) > 1 else text


def _names(path: str) -> tuple[str, ...]:
    """Return names under which a video may be here: its path in a URL, and the name before it was uploaded."""
    inner = _path_of(path).lstrip("/")
    uploaded = _UPLOAD.fullmatch(inner)
    return (inner, *((f"{uploaded[1]}{uploaded[2]}",) if uploaded else ()))
