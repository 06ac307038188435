"""Raw video streams, which state no time: folders of class folders with .h264, .hevc or .mjpeg files, and single files.

Their frames become lossless video at the frame rate that is stated, so that all commands see the same times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from marey.data.clip import Clip
from marey.data.folder import RAW_SUFFIXES, read_folder
from marey.data.importers.formats import ClipSet, ImportOptions, register_importer
from marey.data.importers.write import ClipSource, Image
from marey.data.text import join_first, pluralize, relative_name
from marey.errors import DatasetError
from marey.video import play


def _is_raw(source: Path) -> bool:
    if source.is_file():
        return source.suffix.lower() in RAW_SUFFIXES
    return source.is_dir() and any(path.suffix.lower() in RAW_SUFFIXES for path in source.rglob("*"))


@register_importer(
    "raw video", summary="raw streams (.h264, .hevc, .mjpeg) in class folders, or one of them", detect=_is_raw
)
def import_raw_video(source: Path, options: ImportOptions) -> ClipSet:
    """Import raw streams as clips at the frame rate that is stated.

    Raises:
        DatasetError: the folder is no folder of class folders, or holds other videos too.
    """
    manifest = None if source.is_file() else read_folder(source)
    listed = (Clip(source),) if manifest is None else manifest.clips
    others = [relative_name(clip.path, source) for clip in listed if clip.path.suffix.lower() not in RAW_SUFFIXES]
    if others:
        raise DatasetError(
            f"{source} holds raw streams and {pluralize(len(others), 'video')} with times of their own "
            f"({join_first(others)}): move the raw streams into a folder of their own"
        )
    root = source.parent if source.is_file() else source
    stems = Counter(clip.path.relative_to(root).with_suffix("") for clip in listed)
    clips = []
    for clip in listed:
        inside = clip.path.relative_to(root)
        name = inside.with_suffix("") if stems[inside.with_suffix("")] == 1 else inside
        changed = clip.path.stat().st_mtime
        frames = partial(_frames, clip.path)
        clips.append(ClipSource(name.as_posix(), clip.label, clip.group, clip.split, frames, clip.path, changed))
    notes = () if manifest is None else manifest.notes
    return ClipSet(tuple(clips), notes, {"source": str(source.absolute())})


def _frames(path: Path) -> Iterator[Image]:
    with play(path) as playback:
        for frame in playback:
            yield np.ascontiguousarray(playback.to_rgb(frame).permute(1, 2, 0).numpy())
