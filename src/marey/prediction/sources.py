"""What a caller may point at, as clips: files, folders, globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from marey.data import VIDEO_SUFFIXES, Clip
from marey.errors import DatasetError


def find_clips(sources: Iterable[str | Path]) -> list[Clip]:
    """The clips that sources stand for, each file once, in the order in which they were named.

    A file is taken whatever it is called, so that its own fault is reported. A folder stands for the video files
    in it and below it; a pattern with `*`, `?` or `[...]`, where no file has that very name, for what it matches.

    Raises:
        DatasetError: a folder without videos, or a pattern that matches nothing.
    """
    found: dict[Path, None] = {}
    for source in sources:
        found.update(dict.fromkeys(_expand(Path(source))))
    return [Clip(path) for path in found]


def _expand(source: Path) -> list[Path]:
    if source.is_dir():
        videos = [
            Path(folder) / name
            for folder, _, names in os.walk(source)
            for name in names
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".")
        ]
        if not videos:
            kinds = " ".join(sorted(VIDEO_SUFFIXES))
            raise DatasetError(f"no videos in {source}: none of its files ends in one of {kinds}")
        return sorted(videos)
    if glob.has_magic(str(source)) and not source.exists():
        matches = sorted(Path(match) for match in glob.glob(str(source), recursive=True))  # noqa: PTH207 - absolute too
        files = [match for match in matches if match.is_file()]
        if not files:
            raise DatasetError(f"no file matches '{source}'")
        return files
    return [source]
