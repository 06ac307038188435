"""Videos and the clips of annotations, for the tests of importers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marey.data import ImportOptions, VideoList, detect_format, read_source

Row = tuple[str, str | None, float | None, float | None]


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def imported(source: Path, form: str, options: ImportOptions | None = None) -> VideoList:
    """Return the videos of a source, which has to be of the named format."""
    assert detect_format(source) == form
    found = read_source(source, options or ImportOptions())
    assert isinstance(found, VideoList)
    return found


def rows(found: VideoList) -> list[Row]:
    """Return name, label, start and end of each clip, in hundredths of a second."""

    def rounded(seconds: float | None) -> float | None:
        return None if seconds is None else round(seconds, 2)

    return [(clip.path.name, clip.label, rounded(clip.start), rounded(clip.end)) for clip in found.manifest.clips]


def touch(folder: Path, *names: str) -> Sequence[Path]:
    """Write files that are named like videos."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    return paths
