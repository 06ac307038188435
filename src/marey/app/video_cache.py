"""Cache of annotated videos, in a codec that every browser plays."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from marey.app.reading import LIMITS
from marey.app.storage import prune
from marey.data import content_hash
from marey.data.hashing import bytes_hash
from marey.prediction import UNKNOWN, Timeline
from marey.reports import CaptionAt, annotate_video, caption_of_clip, caption_of_timeline
from marey.video import probe

_SHOWN: Final = 3  # classes in the caption
_HEIGHTS: Final = (480, 1080)  # pixels: text is hard to read on smaller frames, and no page shows larger ones


def annotated_clip(
    path: Path,
    top: Sequence[tuple[str, float]],
    folder: Path,
    *,
    unknown: bool = False,
    on_progress: Callable[[float], None],
) -> Path:
    """Return the path of a clip with its prediction drawn on all frames.

    Only decoded frames reach the browser, never the bytes of a file.

    Args:
        path: the clip.
        top: its classes and probabilities, most probable first.
        folder: the cache.
        unknown: the label is "unknown".
        on_progress: called with the share that is done.

    Raises:
        VideoError: the file cannot be used.
    """
    duration = probe(path, limits=LIMITS).duration
    label = UNKNOWN if unknown else top[0][0]
    caption_at = caption_of_clip(top[:_SHOWN], duration, label=label)
    return _annotated(path, repr((label, list(top))), caption_at, duration, folder, on_progress)


def annotated_timeline(path: Path, timeline: Timeline, folder: Path, *, on_progress: Callable[[float], None]) -> Path:
    """Return the path of a long video with the prediction of each time drawn on it; see `annotated_clip`."""
    what = repr([segment.as_dict() for segment in timeline.segments]) + repr(timeline.probabilities.tobytes())
    return _annotated(path, what, caption_of_timeline(timeline, _SHOWN), timeline.duration, folder, on_progress)


def _annotated(
    path: Path,
    what: str,
    caption_at: CaptionAt,
    duration: float,
    folder: Path,
    on_progress: Callable[[float], None],
) -> Path:
    key = bytes_hash(f"{content_hash(path)} {_HEIGHTS} {what}".encode())
    video = folder / f"{key}.mp4"
    if not video.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        annotate_video(
            path,
            video,
            caption_at,
            resize=_annotated_size,
            limits=LIMITS,
            on_progress=lambda done: on_progress(min(1.0, done / duration)),
        )
        prune(folder)
    os.utime(video)
    return video


def _annotated_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of the annotated video, both even, from those of the source."""
    height, width = size
    scale = min(max(height, _HEIGHTS[0]), _HEIGHTS[1]) / height
    return 2 * max(1, round(height * scale / 2)), 2 * max(1, round(width * scale / 2))
