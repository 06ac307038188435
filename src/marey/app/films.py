"""Films for the page: what the model says drawn on a clip, in the one form that every browser plays."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from marey.app.storage import prune
from marey.data import content_hash
from marey.prediction import Timeline
from marey.reports import Caption, draw_caption
from marey.video import VideoWriter, play, probe

Classes = Sequence[tuple[str, float]]
"""Classes with their probabilities, most probable first."""

_SHOWN: Final = 3  # classes on the picture
_HEIGHTS: Final = (480, 1080)  # pixels: words on a smaller picture are hard to read, and no page shows a larger one


def film_of_clip(path: Path, top: Classes, films: Path, *, on_progress: Callable[[float], None]) -> Path:
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
    label, confidence = top[0]
    duration = probe(path).duration

    def caption_at(time: float) -> Caption:
        return Caption(label, confidence, tuple(top[:_SHOWN]), time, duration)

    return _film(path, repr(list(top)), caption_at, duration, films, on_progress)


def film_of_timeline(path: Path, timeline: Timeline, films: Path, *, on_progress: Callable[[float], None]) -> Path:
    """A long video with what is said at each moment; otherwise as `film_of_clip`."""

    def caption_at(time: float) -> Caption:
        segment = timeline.segment_at(time)
        top = timeline.at(time)
        label = None if segment is None else segment.label
        share = None if label is None else dict(top)[label]
        return Caption(label, share, top[:_SHOWN], time, timeline.duration)

    what = repr([segment.as_dict() for segment in timeline.segments]) + repr(timeline.probabilities.tobytes())
    return _film(path, what, caption_at, timeline.duration, films, on_progress)


def _film(
    path: Path,
    what: str,
    caption_at: Callable[[float], Caption],
    duration: float,
    films: Path,
    on_progress: Callable[[float], None],
) -> Path:
    key = hashlib.blake2b(f"{content_hash(path)} {_HEIGHTS} {what}".encode(), digest_size=16).hexdigest()
    film = films / f"{key}.mp4"
    if not film.is_file():
        films.mkdir(parents=True, exist_ok=True)
        with play(path) as playback:
            size = _shown_size(playback.size)
            with VideoWriter(film, size=size, frame_rate=playback.frame_rate, sound_of=path) as writer:
                for frame in playback:
                    picture = playback.picture(frame, size=size).permute(1, 2, 0).numpy()
                    writer.write(draw_caption(picture, caption_at(frame.time)), time=frame.time)
                    on_progress(min(1.0, frame.time / duration))
        prune(films)
    os.utime(film)
    return film


def _shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width, both even, of the film of a video of that height and width."""
    height, width = size
    scale = min(max(height, _HEIGHTS[0]), _HEIGHTS[1]) / height
    return 2 * max(1, round(height * scale / 2)), 2 * max(1, round(width * scale / 2))
