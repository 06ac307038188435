"""Films for the page: what the model says drawn on a clip, in the one form that every browser plays."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from marey.app.storage import prune
from marey.data import content_hash
from marey.data.hashing import bytes_hash
from marey.prediction import Timeline
from marey.reports import CaptionAt, annotate_video, caption_of_clip, caption_of_timeline
from marey.video import probe

_SHOWN: Final = 3  # classes on the picture
_HEIGHTS: Final = (480, 1080)  # pixels: words on a smaller picture are hard to read, and no page shows a larger one


def film_of_clip(
    path: Path, top: Sequence[tuple[str, float]], films: Path, *, on_progress: Callable[[float], None]
) -> Path:
    """A clip with one answer on all of its frames.

    Only pictures that were decoded reach the browser, and never the bytes of a file that somebody named.

    Args:
        path: the clip.
        top: what is said of it.
        films: folder of films; one that is there already is taken from it.
        on_progress: hears of the share that is done.

    Raises:
        VideoError: the file cannot be used.
    """
    duration = probe(path).duration
    caption_at = caption_of_clip(top[:_SHOWN], duration, label=top[0][0])
    return _film(path, repr(list(top)), caption_at, duration, films, on_progress)


def film_of_timeline(path: Path, timeline: Timeline, films: Path, *, on_progress: Callable[[float], None]) -> Path:
    """A long video with what is said at each moment; otherwise as `film_of_clip`."""
    what = repr([segment.as_dict() for segment in timeline.segments]) + repr(timeline.probabilities.tobytes())
    return _film(path, what, caption_of_timeline(timeline, _SHOWN), timeline.duration, films, on_progress)


def _film(
    path: Path,
    what: str,
    caption_at: CaptionAt,
    duration: float,
    films: Path,
    on_progress: Callable[[float], None],
) -> Path:
    key = bytes_hash(f"{content_hash(path)} {_HEIGHTS} {what}".encode())
    film = films / f"{key}.mp4"
    if not film.is_file():
        films.mkdir(parents=True, exist_ok=True)
        annotate_video(
            path, film, caption_at, resize=_shown_size, on_progress=lambda done: on_progress(min(1.0, done / duration))
        )
        prune(films)
    os.utime(film)
    return film


def _shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width, both even, of the film of a video of that height and width."""
    height, width = size
    scale = min(max(height, _HEIGHTS[0]), _HEIGHTS[1]) / height
    return 2 * max(1, round(height * scale / 2)), 2 * max(1, round(width * scale / 2))
