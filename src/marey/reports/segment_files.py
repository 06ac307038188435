"""Segments of videos as files: JSON, CSV, WebVTT, and thumbnails."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from marey.atomic import atomic_folder, write_atomic
from marey.data import Segment
from marey.data.csv_cells import CsvWriter
from marey.data.manifest import portable_path
from marey.errors import UsageError
from marey.prediction import Timeline
from marey.remote_path import as_path
from marey.reports import style
from marey.reports.chronophotograph import image_grid
from marey.reports.image_io import label_name, reduced_size, save_image, time_name
from marey.reports.phrases import confidence_text
from marey.video import Limits, decode

SEGMENT_SUFFIXES: Final = (".json", ".csv", ".vtt")
SEGMENT_COLUMNS: Final = ("path", "label", "start", "end", "confidence")
"""Columns of a manifest first, so that `marey train` accepts the table."""

THUMBNAIL: Final = 480
"""The longer side of a thumbnail, pixels; smaller video keeps its size."""

SHEET: Final = 24
"""Number of thumbnails on a contact sheet."""

_ON_SHEET: Final = 240  # pixels of the longer side
_AT_ONCE: Final = 16  # frames in memory


def write_segments(timelines: Sequence[Timeline], path: str | Path) -> None:
    """Write the segments of videos atomically, in the format of the suffix.

    - `.json`: a list with an object for each video.
    - `.csv`: a manifest with a row for each segment; paths below the folder of the file are relative to it.
    - `.vtt`: subtitles of one video, WebVTT.

    Args:
        timelines: one for each video.
        path: the file; its folder is made if it does not exist.

    Raises:
        UsageError: another suffix, subtitles of several videos, or a path that a table cannot hold.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SEGMENT_SUFFIXES:
        raise UsageError(f"segments are written as {', '.join(SEGMENT_SUFFIXES)}, not as '{path.name}'")
    if suffix == ".json":
        values = [timeline.as_dict() for timeline in timelines]
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    elif suffix == ".csv":
        text = _table(timelines, path)
    elif len(timelines) == 1:
        text = _subtitles(timelines[0].segments)
    else:
        raise UsageError(f"subtitles belong to one video, not to {len(timelines)}: write .json or .csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file name may contain bytes that are not UTF-8: JSON has their escapes.
    write_atomic(path, text.encode("utf-8", "backslashreplace"))


def check_table_path(video: Path, table: Path) -> str:
    """Return the path of a video in a table of segments.

    Args:
        video: the file.
        table: the CSV file, which need not exist.

    Raises:
        UsageError: the name is not UTF-8.
    """
    path = portable_path(video, table.parent)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"the file name {path!r} is not UTF-8: rename the file, or write .json") from error
    return path


def write_thumbnails(
    source: str | Path,
    segments: Sequence[Segment],
    folder: str | Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> list[Path]:
    """Write the middle frame of each segment as JPEG, and contact sheets of several.

    Names are `0001_0m04.2s_label.jpg`, with the time of the frame, and `sheet_001.jpg`.

    Args:
        source: the video.
        segments: of the video, in their order.
        folder: a new folder, written atomically.
        limits: of decoding, for each sixteen frames.

    Returns:
        The paths of the thumbnails, in the order of the segments.

    Raises:
        VideoError: a frame cannot be decoded.
        UsageError: the folder is not empty.
    """
    folder = Path(folder)
    with atomic_folder(folder) as unfinished:
        if not segments:
            return []
        size = reduced_size(source, THUMBNAIL, limits=limits)
        names = []
        for first in range(0, len(segments), _AT_ONCE):
            some = segments[first : first + _AT_ONCE]
            middles = [(segment.start + segment.end) / 2 for segment in some]
            frames = decode(source, middles, size=size, interpolation="area", limits=limits).data
            for number, (segment, time, frame) in enumerate(zip(some, middles, frames, strict=True), start=first + 1):
                names.append(f"{number:04d}_{time_name(time, digits=1)}_{label_name(segment.label)}.jpg")
                save_image(frame.permute(1, 2, 0).numpy(), unfinished / names[-1])
        if len(segments) > 1:
            _write_sheets(unfinished, names, segments)
    return [folder / name for name in names]


def _table(timelines: Sequence[Timeline], table: Path) -> str:
    text = io.StringIO(newline="")
    writer = CsvWriter(text)
    writer.writerow(SEGMENT_COLUMNS)
    for timeline in timelines:
        path = check_table_path(as_path(timeline.source), table)
        for segment in timeline.segments:
            span = round(segment.start, 6), round(segment.end, 6)
            writer.writerow((path, segment.label, *span, round(segment.confidence, 6)))
    return text.getvalue()


def _subtitles(segments: Sequence[Segment]) -> str:
    """Return WebVTT (W3C, 2019): numbered cues with escaped text."""
    parts = ["WEBVTT\n"]
    for number, segment in enumerate(segments, start=1):
        start = round(1000 * segment.start)
        end = max(start + 1, round(1000 * segment.end))  # a cue must not be empty
        label = " ".join(style.plot_text(segment.label, longest=len(segment.label)).split())
        text = f"{label} {confidence_text(segment.confidence)}"
        for sign, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(sign, escape)
        parts.append(f"{number}\n{_stamp(start)} --> {_stamp(end)}\n{text}\n")
    return "\n".join(parts)


def _stamp(milliseconds: int) -> str:
    seconds, part = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}.{part:03d}"


def _write_sheets(folder: Path, names: Sequence[str], segments: Sequence[Segment]) -> None:
    """Write contact sheets of the thumbnails in a folder, with time and label below each."""
    for sheet, first in enumerate(range(0, len(names), SHEET), start=1):
        chosen = list(zip(names, segments, strict=True))[first : first + SHEET]
        images = [_small(folder / name) for name, _ in chosen]
        captions = [f"{style.clock_text(segment.start)}  {segment.label}" for _, segment in chosen]
        columns = 4 if images[0].shape[1] >= images[0].shape[0] else 6
        sheet_image = image_grid(list(zip(captions, images, strict=True)), columns=columns)
        save_image(sheet_image, folder / f"sheet_{sheet:03d}.jpg")


def _small(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        image.thumbnail((_ON_SHEET, _ON_SHEET), Image.Resampling.LANCZOS)
        return np.asarray(image.convert("RGB"))
