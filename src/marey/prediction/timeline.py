"""Timelines: probabilities and segments of a long video."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marey.data import Segment
from marey.encoders import Encoder
from marey.models import ActionModel
from marey.prediction.frame_sampler import FrameSampler, batch_samples, prefetch
from marey.prediction.pipeline import UNKNOWN, Answer, sort_by_probability
from marey.prediction.segmentation import Segmentation, find_segments, smooth
from marey.prediction.stream import Inference, make_inference
from marey.prediction.windows import Grid, RecurrentInference, WindowInference, WindowOutput
from marey.video import Playback, StreamFrame

_BATCH: Final = 16  # samples that are encoded as one batch


@dataclass(frozen=True)
class Timeline:
    """Probabilities at evenly spaced timestamps of a video, and the labelled segments that follow from them.

    Attributes:
        source: the video, as it was named.
        duration: seconds.
        labels: the classes, in the order of `probabilities`.
        times: float64 (N,), timestamps in seconds from the first frame, ascending.
        probabilities: float32 (N, classes), the weighted mean of all windows around a timestamp, smoothed.
        segments: ascending and without overlap; between them it is none of the classes. Those labelled "unknown" are
            unlike all training clips; their confidence is the share of the windows that are.
        window: seconds of a window.
        images: number of images that were encoded.
    """

    source: str
    duration: float
    labels: tuple[str, ...]
    times: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float32]
    segments: tuple[Segment, ...]
    window: float
    images: int = 0

    def __repr__(self) -> str:
        """Show source, duration and the number of segments."""
        return f"Timeline({self.source!r}, duration={self.duration:.3f}, segments={len(self.segments)})"

    def at(self, time: float) -> tuple[tuple[str, float], ...]:
        """Return the classes with their probabilities at the timestamp nearest to a time, most probable first."""
        return sort_by_probability(self.labels, self.probabilities_at(time))

    def probabilities_at(self, time: float) -> npt.NDArray[np.float32]:
        """Return the probabilities at the timestamp nearest to a time, (classes,), in the order of `labels`."""
        place = int(np.searchsorted(self.times, time))
        if place == len(self.times) or (place > 0 and time - self.times[place - 1] <= self.times[place] - time):
            place -= 1
        nearest: npt.NDArray[np.float32] = self.probabilities[place]
        return nearest

    def segment_at(self, time: float) -> Segment | None:
        """Return the segment at a time; None where it is none of the classes."""
        place = bisect_right(self.segments, time, key=lambda segment: segment.start) - 1
        return self.segments[place] if place >= 0 and time < self.segments[place].end else None

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON: the segments, without the probabilities."""
        return {
            "source": self.source,
            "duration": self.duration,
            "window": self.window,
            "segments": [segment.as_dict() for segment in self.segments],
        }


def read_timeline(
    model: ActionModel,
    encoder: Encoder,
    playback: Playback,
    *,
    source: str,
    rule: Segmentation,
    inference: Inference = "window",
    on_time: Callable[[float], None] | None = None,
) -> Timeline | None:
    """Play a source to its end; only probabilities are kept.

    Those of a timestamp are the centre-weighted mean of all windows that contain it.

    Args:
        model: head and contract.
        encoder: its encoder.
        playback: the source.
        source: its name.
        rule: windows, and what is a segment.
        inference: "window", or "recurrent" for what `stream_predict` gives with a causal head.
        on_time: called with the time that has been reached, in seconds.

    Returns:
        The timeline; None where the source is shorter than one window.
    """
    infer, grid = make_inference(model, encoder, rule, inference=inference)
    before = encoder.images
    marks = rule.unknown == "mark" and model.familiarity is not None and isinstance(infer, WindowInference)
    averager = OverlapAverager(len(model.labels), spread=None if isinstance(infer, RecurrentInference) else grid)
    marked = OverlapAverager(len(model.labels) + 1, spread=grid) if marks else None
    last: StreamFrame | None = None
    count = 0
    for frame, samples in prefetch(batch_samples(FrameSampler(playback, model.config.contract, grid.period), _BATCH)):
        last = frame
        count += len(samples)
        for output in infer.add(samples):
            averager.add(output)
            if marked is not None:
                marked.add(replace(output, probabilities=output.with_unknown()))
        if on_time is not None and samples:
            on_time(samples[-1].time)
    if last is None or averager.empty:
        return None
    times = np.asarray((np.arange(count) + 0.5) * grid.period, dtype=np.float64)
    width = round(rule.smooth / grid.period)
    probabilities = smooth(averager.mean(count), width)
    decided, names = probabilities, model.labels
    if marked is not None:
        decided, names = smooth(marked.mean(count), width), (*model.labels, UNKNOWN)
    return Timeline(
        source=source,
        duration=last.end,
        labels=model.labels,
        times=times,
        probabilities=probabilities.astype(np.float32),
        segments=find_segments(decided, times, names, duration=last.end, rule=rule),
        window=grid.window,
        images=encoder.images - before,
    )


def timeline_of_clip(
    answer: Answer, model: ActionModel, *, source: str, duration: float, rule: Segmentation
) -> Timeline:
    """Return the timeline of a video that is no longer than one window: the same probabilities at all timestamps.

    Args:
        answer: for the whole video as a clip.
        model: the model that gave them.
        source: the video's name.
        duration: seconds.
        rule: what is a segment.
    """
    count = model.config.contract.sampling.count
    times = np.asarray((np.arange(count) + 0.5) * (duration / count), dtype=np.float64)
    rows = np.tile(np.asarray(answer.probabilities, dtype=np.float64), (count, 1))
    decided, names = rows, model.labels
    if rule.unknown == "mark" and answer.unknown:
        decided, names = np.eye(len(names) + 1)[[-1] * count], (*names, UNKNOWN)
    return Timeline(
        source=source,
        duration=duration,
        labels=model.labels,
        times=times,
        probabilities=rows.astype(np.float32),
        segments=find_segments(decided, times, names, duration=duration, rule=rule),
        window=duration,
        images=count * len(model.config.contract.streams),
    )


class OverlapAverager:
    """Average of the probabilities of overlapping windows, weighted to the centre of each window.

    Args:
        classes: number of them.
        spread: the grid, where an output counts for all timestamps of its window; None where only for the last.
    """

    def __init__(self, classes: int, *, spread: Grid | None) -> None:
        self._sums = np.zeros((0, classes))
        self._weights = np.zeros(0)
        span = spread.span if spread is not None else 1
        self._shape = 1 - np.abs((np.arange(span) + 0.5) * 2 / span - 1) + 1e-3
        self._spread = spread
        self.empty = True

    def add(self, output: WindowOutput) -> None:
        """Add the probabilities of a window."""
        first = output.last if self._spread is None else output.first
        end = first + len(self._shape)
        if end > len(self._weights):
            more = max(end, 2 * len(self._weights)) - len(self._weights)
            self._sums = np.concatenate([self._sums, np.zeros((more, self._sums.shape[1]))])
            self._weights = np.concatenate([self._weights, np.zeros(more)])
        self._sums[first:end] += self._shape[:, None] * output.probabilities.numpy()
        self._weights[first:end] += self._shape
        self.empty = False

    def mean(self, count: int) -> npt.NDArray[np.float64]:
        """Return (count, classes) at the first `count` timestamps; those outside of all windows copy the nearest."""
        known = np.flatnonzero(self._weights[:count])
        rows = self._sums[known] / self._weights[known, None]
        nearest = np.searchsorted(known, np.arange(count)).clip(max=len(known) - 1)
        return np.asarray(rows[nearest])
