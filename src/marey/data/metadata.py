"""Lists of videos for other programs: a CSV file with the columns video_path, label and split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from marey.atomic import atomic_file
from marey.data.clip import Clip
from marey.data.csv_cells import CsvWriter
from marey.data.manifest import portable_path
from marey.errors import DatasetError

PATH_COLUMNS: Final = ("video_path", "video", "filename", "file", "filepath", "clip_path", "path")
"""Names of the column of paths in lists of other programs, the usual one first."""
LABEL_COLUMNS: Final = ("label", "class", "action", "category", "target", "class_name", "tag")
"""Names of the column of labels, likewise."""


def write_metadata(clips: Sequence[Clip], path: str | Path) -> None:
    """Write whole videos as a list: a row a video; the file appears when it is complete.

    Raises:
        DatasetError: a clip is a span of its file, which such a list cannot say.
    """
    path = Path(path)
    spans = [clip.id for clip in clips if clip.start is not None or clip.end is not None]
    if spans:
        raise DatasetError(f"{path} lists whole files, and {spans[0]} is a span of its file: write a manifest")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = CsvWriter(file)
        writer.writerow(("video_path", "label", "split"))
        writer.writerows((portable_path(clip.path, path.parent), clip.label, clip.split) for clip in clips)
