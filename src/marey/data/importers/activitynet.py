"""Annotations in the form of ActivityNet, which THUMOS14, HACS and FineAction are passed on in too.

    {"database": {"sJULLKmNvAg": {"subset": "training", "duration": 120.0,
                                  "annotations": [{"segment": [2.1, 15.9], "label": "Walking"}]}}}

Segments are seconds (http://activity-net.org/download.html). The video of the name ID is ID or v_ID, with the suffix of
any video.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from marey.data.importers.annotations import Annotation, annotated_videos
from marey.data.importers.formats import ImportOptions, VideoList, register_importer
from marey.data.importers.json_files import number_in, objects_in, peek_json, read_json
from marey.data.manifest import split_named
from marey.data.text import pluralize
from marey.errors import DatasetError


def _is_activitynet(source: Path) -> bool:
    content = peek_json(source)
    return isinstance(content, dict) and isinstance(content.get("database"), dict)


@register_importer(
    "activitynet", summary="a JSON file in the form of ActivityNet", detect=_is_activitynet, before="feature folder"
)
def import_activitynet(source: Path, options: ImportOptions) -> VideoList:
    """Import the segments of videos.

    Raises:
        DatasetError: the file is damaged, or a segment is none.
    """
    videos: Mapping[str, Any] = read_json(source)["database"]
    counts: Counter[str] = Counter()
    found = list(_annotations(videos, counts))
    said = [pluralize(len(videos), "listed video")]
    if counts["bare"]:
        said.append(f"{counts['bare']} without segments left aside")
    return annotated_videos(found, source, options, said=said)


def _annotations(videos: Mapping[str, Any], counts: Counter[str]) -> Iterator[Annotation]:
    for name, video in videos.items():
        place = f"the video {name}"
        segments = list(objects_in(video.get("annotations"))) if isinstance(video, dict) else []
        counts["bare"] += not segments
        for segment in segments:
            times, label = segment.get("segment"), segment.get("label")
            if not isinstance(times, list) or len(times) != 2:
                raise DatasetError(
                    f"{place} has the segment {str(times)[:60]}: two seconds are expected, as in [1.5, 3]"
                )
            if not isinstance(label, str):
                raise DatasetError(f"{place} has the label {str(label)[:60]!r}: a name is expected")
            start, end = (number_in(time, place) for time in times)
            subset = video.get("subset")
            split = split_named(subset) if isinstance(subset, str) else None
            yield Annotation(name, label, place, start, end, split=split, names=(f"v_{name}",))
