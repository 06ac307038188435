"""Annotated video: captions on all frames, single annotated frames, and the chronophotograph of a clip."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from marey.atomic import atomic_folder
from marey.errors import UsageError
from marey.prediction import Timeline
from marey.remote_path import as_path
from marey.reports.caption import Caption, draw_caption
from marey.reports.chronophotograph import EXPOSURES, chronophotograph
from marey.reports.image_io import reduced_size, save_image, time_name
from marey.video import TIME_TOLERANCE, Limits, Playback, Sampling, StreamFrame, VideoWriter, decode, play, probe

_LONGEST_SIDE: Final = 720  # pixels of a chronophotograph
_FRAMES: Final = 24  # for the background of a chronophotograph, in memory at once


Classes = Sequence[tuple[str, float]]
"""Classes with their probabilities, most probable first."""

CaptionAt = Callable[[float], Caption]
"""Function from a time, in seconds from the first frame, to its caption."""


def caption_of_clip(top: Classes, duration: float, *, label: str | None) -> CaptionAt:
    """Return the same caption for all times.

    Args:
        top: the classes to show with their probabilities, most probable first.
        duration: of the clip, seconds.
        label: the most probable class, None below the threshold, or "unknown".
    """
    confidence = None if label is None else dict(top).get(label)  # of unknown clips there is none
    return lambda time: Caption(label, confidence, tuple(top), time, duration)


def caption_of_timeline(timeline: Timeline, classes: int, *, steady: bool = True) -> CaptionAt:
    """Return the caption of each time of a timeline.

    Args:
        timeline: of the video.
        classes: number of classes to show.
        steady: show the label of the segment; otherwise the most probable class of each time.
    """

    def caption_at(time: float) -> Caption:
        ranked = timeline.at(time)
        label: str | None = ranked[0][0]
        if steady:
            segment = timeline.segment_at(time)
            label = None if segment is None else segment.label
        confidence = None if label is None else dict(ranked).get(label)
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
    """Write a copy of a video with a caption on every frame.

    Size, timestamps and sound stay; frames are upright. Memory use does not depend on the duration, and the file is
    written atomically.

    Args:
        source: a local video.
        out: the new video, `.mp4`.
        caption_at: function from seconds, from the first frame, to the caption.
        resize: function from (height, width) of the source, as it is shown, to that of the new one; None keeps it.
        limits: of reading.
        on_progress: called after each frame with the finished seconds.

    Raises:
        VideoError: the source cannot be read to its end.
        UsageError: `out` is the source, or is not `.mp4`.
    """
    source, out = as_path(source), Path(out)
    check_other_file(source, out)
    with play(source, limits=limits) as playback:
        size = playback.size if resize is None else resize(playback.size)
        with VideoWriter(out, size=size, frame_rate=playback.frame_rate, sound_of=source) as writer:
            for frame in playback:
                writer.write(_labelled(playback, frame, caption_at, size), time=frame.time, end=frame.end)
                if on_progress is not None:
                    on_progress(frame.end)


def write_annotated_frames(
    source: str | Path,
    folder: str | Path,
    caption_at: CaptionAt,
    *,
    every: float | None = None,
    suffix: Literal[".jpg", ".png"] = ".jpg",
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[float], None] | None = None,
) -> int:
    """Write annotated frames as images, named by number and time: `000105_0m04.200s.jpg`.

    Args:
        source: a local video.
        folder: a new folder, written atomically.
        caption_at: function from seconds, from the first frame, to the caption.
        every: seconds from one frame to the next; None for all frames.
        suffix: JPEG, or PNG without loss.
        limits: of reading.
        on_progress: called after each frame with the finished seconds.

    Returns:
        The number of images.

    Raises:
        VideoError: the source cannot be read to its end.
        UsageError: the folder is not empty, or `every` is not more than 0.
    """
    if every is not None and not (math.isfinite(every) and every > 0):
        raise UsageError(f"every has to be more than 0 seconds, not {every}")
    due, written = 0.0, 0
    with atomic_folder(Path(folder)) as unfinished, play(source, limits=limits) as playback:
        for frame, until in _with_ends(playback):
            if every is None or due < until - TIME_TOLERANCE:
                name = f"{frame.number:06d}_{time_name(frame.time, digits=3)}{suffix}"
                save_image(_labelled(playback, frame, caption_at, playback.size), unfinished / name)
                written += 1
                due = due if every is None else every * math.ceil((until - TIME_TOLERANCE) / every)
            if on_progress is not None:
                on_progress(until)
    return written


def chronophotograph_of(
    source: str | Path,
    *,
    exposures: int = EXPOSURES,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> npt.NDArray[np.uint8]:
    """Return the chronophotograph of a clip: all phases of its movement in one image.

    Args:
        source: a local video.
        exposures: number of frames to expose, evenly spaced.
        limits: of reading.

    Returns:
        uint8 RGB `(H, W, 3)`, upright, at most 720 pixels to a side; `save_image` writes it.

    Raises:
        VideoError: the source cannot be used.
        UsageError: `exposures` is less than 1.
    """
    size = reduced_size(source, _LONGEST_SIDE, limits=limits)
    sampling = Sampling(count=max(_FRAMES, exposures))
    times = sampling.timestamps(0.0, probe(source, limits=limits).duration, path=source)
    frames = decode(source, times, size=size, interpolation="area", limits=limits)
    return chronophotograph(frames.data, exposures=exposures)


def _labelled(
    playback: Playback, frame: StreamFrame, caption_at: CaptionAt, size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    image = playback.to_rgb(frame, size=size).permute(1, 2, 0).numpy()
    return draw_caption(image, caption_at(frame.time))


def _with_ends(playback: Playback) -> Iterator[tuple[StreamFrame, float]]:
    """Yield each frame with the time when the next one replaces it."""
    shown: StreamFrame | None = None
    for frame in playback:
        if shown is not None:
            yield shown, frame.time
        shown = frame
    if shown is not None:
        yield shown, shown.end


def check_other_file(source: Path, out: Path) -> None:
    """Refuse to write a video over the one that it is made of.

    Raises:
        UsageError: both are the same file.
    """
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"{out} would replace its own source: choose another name")
