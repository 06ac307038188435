"""Annotations of CVAT: its XML, "CVAT for video 1.1" and "CVAT for images 1.1" of a video.

    <annotations><version>1.1</version>
      <meta><task><id>7</id><source>a.mp4</source></task></meta>
      <track id="0" label="walk"><box frame="0" outside="0" .../><box frame="50" outside="1" .../></track>
      <image id="3" name="frame_000003"><tag label="walk"/></image>
    </annotations>

Frames count from 0 (https://docs.cvat.ai/docs/dataset_management/formats/format-cvat). An object of a track is there
from a shape that is not outside to the frame before one that is; images in a row with one tag are a span. Where shapes
have an attribute `action` (or `activity`), its value is the label, and the track says who does it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from marey.data.importers.annotations import Annotation, annotated_videos
from marey.data.importers.formats import ImportOptions, VideoList, register_importer
from marey.data.text import pluralize
from marey.errors import DatasetError

_MAX_BYTES: Final = 2**30
_MAX_DEPTH: Final = 32
_ACTIONS: Final = ("action", "activity")
_SHAPES: Final = ("box", "polygon", "polyline", "points", "ellipse", "cuboid", "skeleton", "mask")


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """XML that is not read; the message is the end of a sentence."""


def _is_cvat(source: Path) -> bool:
    if source.suffix.lower() != ".xml" or not source.is_file():
        return False
    with source.open("rb") as file:
        return b"<annotations" in file.read(1 << 16)


@register_importer(
    "cvat", summary="an annotations.xml of CVAT (for video or images 1.1)", detect=_is_cvat, before="feature folder"
)
def import_cvat(source: Path, options: ImportOptions) -> VideoList:
    """Import tracks and tags of videos from CVAT.

    Raises:
        DatasetError: the file is damaged, declares entities, or a frame has no number.
    """
    root = _read(source)
    videos = _videos(root, source)
    tracks, images = root.findall("track"), root.findall("image")
    found = [*_of_tracks(tracks, videos, source), *_of_images(images, videos, _steps(root), source)]
    said = [pluralize(len(tracks), "track")] if tracks else []
    said += [pluralize(len(images), "image")] if images else []
    return annotated_videos(found, source, options, said=said)


def _read(path: Path) -> Element:
    """Return the root of an XML file; a document type, with which entities are declared, is refused."""
    builder, depth = TreeBuilder(), 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise _Refused(f"nests more than {_MAX_DEPTH} elements, which annotations do not")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: object) -> None:
        raise _Refused("declares a document type (DOCTYPE), which annotations do not need: export again, or remove it")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise DatasetError(f"{path} has {size:,} bytes, and {_MAX_BYTES:,} are read: export fewer tasks at a time")
        with path.open("rb") as file:
            parser.ParseFile(file)
    except _Refused as error:
        raise DatasetError(f"{path} {error}") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DatasetError(f"{path} is no XML, or a damaged one: {error}; export it again") from error
    root: Element = builder.close()
    return root


def _videos(root: Element, source: Path) -> dict[str, str]:
    """Return the video of each task by the number of the task, and that of a single task by ''."""
    tasks = [task for task in root.iter("task") if task.find("id") is not None or task.find("source") is not None]
    tasks += root.findall("meta/job")
    found = {}
    for task in tasks:
        name = (task.findtext("source") or task.findtext("name") or root.findtext("meta/source") or "").strip()
        if name:
            found[(task.findtext("id") or "").strip()] = name
    only = root.findtext("meta/source") or (next(iter(found.values())) if len(found) == 1 else None)
    if only is not None:
        found[""] = only.strip()
    if not found:
        raise DatasetError(f"{source} names no video (meta/task/source): export it as 'CVAT for video 1.1'")
    return found


def _steps(root: Element) -> dict[str, int]:
    """Return of each task which of the frames, every n-th, were annotated; that of a single task by ''."""
    found = {}
    for task in root.iter("task"):
        step = re.fullmatch(r"\s*step\s*=\s*([1-9]\d{0,5})\s*", task.findtext("frame_filter") or "")
        found[(task.findtext("id") or "").strip()] = int(step[1]) if step is not None else 1
    if len(found) == 1:
        found[""] = next(iter(found.values()))
    return found


def _video_of(element: Element, videos: Mapping[str, str], place: str) -> str:
    name = videos.get(element.get("task_id", "").strip(), videos.get(""))
    if name is None:
        raise DatasetError(f"{place} is of the task {element.get('task_id')!r}, whose video is not named: export again")
    return name


def _of_tracks(tracks: list[Element], videos: Mapping[str, str], source: Path) -> Iterator[Annotation]:
    for number, track in enumerate(tracks):
        place = f"track {track.get('id', str(number))}"
        name = _video_of(track, videos, f"{source}: {place}")
        shapes = sorted(
            ((_frame(shape.get("frame"), source, place), shape) for shape in track if shape.tag in _SHAPES),
            key=lambda pair: pair[0],
        )
        now: str | None = None
        first = last = 0
        for frame, shape in shapes:
            label = None if shape.get("outside") == "1" else _action(shape) or track.get("label", "")
            if label != now:
                if now is not None:  # shapes between two that are written are interpolated
                    yield Annotation(name, now, place, frames=(first, max(last, frame - 1)))
                first = frame
            now, last = label, frame
        if now is not None:
            yield Annotation(name, now, place, frames=(first, last))


def _of_images(
    images: list[Element], videos: Mapping[str, str], steps: Mapping[str, int], source: Path
) -> Iterator[Annotation]:
    tagged = any(image.find("tag") is not None for image in images)
    kinds = ("tag",) if tagged else _SHAPES
    of_video: dict[tuple[str, int], dict[str, set[int]]] = {}
    for image in images:
        place = f"image {image.get('id')}"
        step = steps.get(image.get("task_id", ""), steps.get("", 1))
        video = (_video_of(image, videos, f"{source}: {place}"), step)
        frame = _frame(image.get("id"), source, place)
        for each in image:
            if each.tag in kinds:
                label = _action(each) or each.get("label", "")
                of_video.setdefault(video, {}).setdefault(str(label), set()).add(frame)
    for (name, every), labels in of_video.items():
        for label, frames in labels.items():
            for first, last in _runs(sorted(frames), every):
                yield Annotation(name, label, f"the images {first} to {last}", frames=(first, last))


def _runs(frames: Sequence[int], step: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of frames in a row, of which every `step`-th was annotated."""
    first = frames[0]
    for frame, after in pairwise([*frames, None]):
        if frame is not None and after != frame + step:
            yield first, frame + step - 1
            first = after if after is not None else frame


def _action(element: Element) -> str | None:
    """Return the value of the attribute that says what is done, if there is one."""
    values = {
        (each.get("name") or "").strip().lower(): (each.text or "").strip() for each in element.findall("attribute")
    }
    return next((values[name] for name in _ACTIONS if values.get(name)), None)


def _frame(text: str | None, source: Path, place: str) -> int:
    if text is None or not text.isdecimal() or len(text) > 12:
        raise DatasetError(f"{source}: {place} has the frame {str(text)[:60]!r}: a number from 0 is expected")
    return int(text)
