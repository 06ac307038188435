"""A video with what is said of it drawn on its frames, single frames of that, and all of a clip on one plate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from marey.atomic import whole_folder
from marey.errors import UsageError
from marey.prediction import Timeline
from marey.reports.caption import Caption, draw_caption
from marey.reports.chronophotograph import INSTANTS, chronophotograph
from marey.reports.image_io import reduced_size, save_picture, time_name
from marey.video import Limits, Playback, PlayedFrame, Sampling, VideoWriter, decode, play, probe

_TOLERANCE: Final = 1e-6  # s: an instant computed from a timestamp means that frame
_PLATE_SIDE: Final = 720  # pixels of the longer side
_PLATE_FRAMES: Final = 24  # for the background, in memory at once


Classes = Sequence[tuple[str, float]]
"""Classes with their probabilities, most probable first."""

CaptionAt = Callable[[float], Caption]
"""What to say at a time, in seconds from the first frame."""


def caption_of_clip(top: Classes, duration: float, *, label: str | None) -> CaptionAt:
    """One answer at all times.

    Args:
        top: the classes to show with their probabilities, most probable first.
        duration: of the clip, seconds.
        label: the most probable class; None where it is none of them.
    """
    confidence = None if label is None else dict(top)[label]
    return lambda time: Caption(label, confidence, tuple(top), time, duration)


def caption_of_timeline(timeline: Timeline, classes: int, *, steady: bool = True) -> CaptionAt:
    """What happens at each time.

    Args:
        timeline: of the video.
        classes: how many to show.
        steady: the label of the segment at each time; otherwise the most probable class at each.
    """

    def caption_at(time: float) -> Caption:
        ranked = timeline.at(time)
        label: str | None = ranked[0][0]
        if steady:
            segment = timeline.segment_at(time)
            label = None if segment is None else segment.label
        confidence = None if label is None else dict(ranked)[label]
        return Caption(label, confidence, ranked[:classes], time, timeline.duration)

    return caption_at


def annotate_video(
    source: str | Path,
    out: str | Path,
    caption_at: CaptionAt,
    *,
    resize: Callable[[tuple[int, int]], tuple[int, int]] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Write a video again with a caption on every frame.

    Size, times of the frames and sound stay; the picture is upright. Memory holds a few frames, and the file appears
    when it is complete.

    Args:
        source: a local video.
        out: the new one, which ends in .mp4.
        caption_at: what to say at a time, in seconds from the first frame.
        resize: from the height and width of the source, as it is shown, to those of the new one; None keeps them.
        limits: of reading.
        on_progress: called after each frame with the seconds that are done.

    Raises:
        VideoError: the source cannot be read to its end.
        UsageError: `out` is the source, or no mp4.
    """
    source, out = Path(source), Path(out)
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"{out} would take the place of its own source: choose another name")
    with play(source, limits=limits) as playback:
        size = playback.size if resize is None else resize(playback.size)
        with VideoWriter(out, size=size, frame_rate=playback.frame_rate, sound_of=source) as writer:
            for frame in playback:
                writer.write(_labelled(playback, frame, caption_at, size), time=frame.time, end=frame.end)
                if on_progress is not None:
                    on_progress(frame.end)


def write_labelled_frames(
    source: str | Path,
    folder: str | Path,
    caption_at: CaptionAt,
    *,
    every: float | None = None,
    suffix: Literal[".jpg", ".png"] = ".jpg",
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[float], None] | None = None,
) -> int:
    """Write frames with their captions as pictures, called `000105_0m04.200s.jpg` by number and time.

    Args:
        source: a local video.
        folder: a new one. It is there when all pictures are.
        caption_at: what to say at a time, in seconds from the first frame.
        every: seconds from one picture to the next; None for all frames.
        suffix: JPEG, or PNG without loss.
        limits: of reading.
        on_progress: called after each frame with the seconds that are done.

    Returns:
        How many were written.

    Raises:
        VideoError: the source cannot be read to its end.
        UsageError: the folder has something in it, or a value that cannot be meant.
    """
    if every is not None and not (math.isfinite(every) and every > 0):
        raise UsageError(f"every has to be more than 0 seconds, not {every}")
    due, written = 0.0, 0
    with whole_folder(Path(folder)) as unfinished, play(source, limits=limits) as playback:
        for frame, until in _with_ends(playback):
            if every is None or due < until - _TOLERANCE:
                name = f"{frame.number:06d}_{time_name(frame.time, digits=3)}{suffix}"
                save_picture(_labelled(playback, frame, caption_at, playback.size), unfinished / name)
                written += 1
                due = due if every is None else every * math.ceil((until - _TOLERANCE) / every)
            if on_progress is not None:
                on_progress(until)
    return written


def plate_of(
    source: str | Path,
    *,
    instants: int = INSTANTS,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> npt.NDArray[np.uint8]:
    """All that moves in a clip, on one plate: its chronophotograph.

    Args:
        source: a local video.
        instants: how many to expose, evenly spaced over all of it.
        limits: of reading.

    Returns:
        uint8 (H, W, 3), as it is shown, at most 720 pixels to a side. `save_picture` writes it.

    Raises:
        VideoError: the source cannot be used.
        UsageError: fewer than one instant.
    """
    size = reduced_size(source, _PLATE_SIDE, limits=limits)
    sampling = Sampling(count=max(_PLATE_FRAMES, instants))
    times = sampling.instants(0.0, probe(source, limits=limits).duration, path=source)
    frames = decode(source, times, size=size, interpolation="area", limits=limits)
    return chronophotograph(frames.data, instants=instants)


def _labelled(
    playback: Playback, frame: PlayedFrame, caption_at: CaptionAt, size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    picture = playback.picture(frame, size=size).permute(1, 2, 0).numpy()
    return draw_caption(picture, caption_at(frame.time))


def _with_ends(playback: Playback) -> Iterator[tuple[PlayedFrame, float]]:
    """Each frame with the time at which the next one takes its place."""
    shown: PlayedFrame | None = None
    for frame in playback:
        if shown is not None:
            yield shown, frame.time
        shown = frame
    if shown is not None:
        yield shown, shown.end
