"""Segmentation: from probabilities over time to labelled segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from marey.data import Segment

Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Segmentation(BaseModel):
    """Settings of the sliding window, and of the segments that follow from probabilities.

    Attributes:
        window: seconds of a window; None for the length of the clips that the model was trained on, at most two
            seconds. Dense sampling fixes it.
        stride: seconds from one window to the next; None for the spacing of a window's timestamps, and a quarter of
            the window for a network that reads whole windows.
        smooth: seconds over which probabilities are averaged after that.
        threshold: probability at which a segment of a class begins; below it is none of the classes.
        release: probability below which the segment ends.
        margin: by how much another class has to be more probable before it takes over.
        min_duration: seconds; shorter segments are merged into their neighbours, or dropped.
        unknown: "mark" labels what is unlike all training clips "unknown"; "never" does not. A window that lies over
            the change from one action to the next is unlike them, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = None
    stride: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = None
    smooth: Seconds = 0.5
    threshold: Share = 0.5
    release: Share = 0.3
    margin: Share = 0.1
    min_duration: Seconds = 1.0
    unknown: Literal["mark", "never"] = "never"

    @model_validator(mode="after")
    def _check_release(self) -> Self:
        if self.release > self.threshold:
            raise ValueError(
                f"release={self.release:g} is above threshold={self.threshold:g}: segments would end as they begin"
            )
        return self


class Hysteresis:
    """Label over time that does not flicker: it begins at one probability and ends at a lower one.

    Args:
        rule: threshold, release and margin.
    """

    def __init__(self, rule: Segmentation) -> None:
        self._rule = rule
        self._current: int | None = None

    def __call__(self, probabilities: npt.NDArray[np.floating]) -> int | None:
        """Return the class at the next timestamp, from (classes,); None for none of them."""
        best = int(probabilities.argmax())
        now = self._current
        if now is not None and probabilities[now] >= self._rule.release:
            if probabilities[best] - probabilities[now] > self._rule.margin:
                now = best if probabilities[best] >= self._rule.threshold else None
        else:
            now = best if probabilities[best] >= self._rule.threshold else None
        self._current = now
        return now


@dataclass(slots=True)
class _Run:
    """Timestamps [first, end) of one class, or of none."""

    first: int
    end: int
    label: int | None


def find_segments(
    probabilities: npt.NDArray[np.floating],
    times: npt.NDArray[np.float64],
    labels: Sequence[str],
    *,
    duration: float,
    rule: Segmentation,
) -> tuple[Segment, ...]:
    """Return the labelled segments of a video.

    Each timestamp stands for the time until halfway to its neighbours, the first and the last for the video's ends.

    Args:
        probabilities: (N, classes).
        times: (N,), ascending, seconds.
        labels: names of the classes.
        duration: of the video, seconds.
        rule: when a segment begins and ends.
    """
    if len(times) == 0:
        return ()
    edges = np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, [max(duration, float(times[-1]))]])
    label_at = Hysteresis(rule)
    runs: list[_Run] = []
    for place, row in enumerate(probabilities):
        label = label_at(row)
        if runs and runs[-1].label == label:
            runs[-1].end = place + 1
        else:
            runs.append(_Run(place, place + 1, label))
    _absorb_short(runs, probabilities, edges, rule.min_duration)
    return tuple(
        Segment(
            float(edges[run.first]),
            float(edges[run.end]),
            labels[run.label],
            min(1.0, float(probabilities[run.first : run.end, run.label].mean())),
        )
        for run in runs
        if run.label is not None and edges[run.end] > edges[run.first]
    )


class SegmentBuilder:
    """Segments of a stream, from the label at each timestamp; nothing else of it is kept.

    Attributes:
        end: seconds of the latest timestamp.
    """

    def __init__(self) -> None:
        self.end = 0.0
        self._segments: list[Segment] = []
        self._label: str | None = None
        self._start = self._sum = 0.0
        self._count = 0

    def add(self, time: float, label: str | None, confidence: float) -> None:
        """Add the label at the next timestamp; None for none of the classes."""
        if label != self._label:
            self._segments = list(self.until(time))
            self._label, self._start, self._sum, self._count = label, time, 0.0, 0
        self._sum += confidence
        self._count += 1
        self.end = time

    def until(self, time: float) -> tuple[Segment, ...]:
        """Return the segments up to a time, at which the last one ends."""
        if self._label is None or time <= self._start:
            return tuple(self._segments)
        return (*self._segments, Segment(self._start, time, self._label, min(1.0, self._sum / self._count)))


def _absorb_short(
    runs: list[_Run], probabilities: npt.NDArray[np.floating], edges: npt.NDArray[np.float64], least: float
) -> None:
    """Merge each run that is too short, the shortest first, into the neighbour that is more probable there.

    A short gap between two segments, and a short segment between two gaps, are taken for errors of the model.
    """

    def lasts(run: _Run) -> float:
        return float(edges[run.end] - edges[run.first])

    while len(runs) > 1:
        place = min(range(len(runs)), key=lambda index: lasts(runs[index]))
        run = runs[place]
        if lasts(run) >= least:
            return
        beside = [runs[index] for index in (place - 1, place + 1) if 0 <= index < len(runs)]
        span = probabilities[run.first : run.end]

        def probability(other: _Run, span: npt.NDArray[np.floating] = span) -> float:
            return -1.0 if other.label is None else float(span[:, other.label].mean())

        run.label = max(beside, key=probability).label
        _join(runs)
    if len(runs) == 1 and lasts(runs[0]) < min(least, float(edges[-1])):
        runs.clear()


def _join(runs: list[_Run]) -> None:
    """Merge neighbours of the same label."""
    joined: list[_Run] = []
    for run in runs:
        if joined and joined[-1].label == run.label:
            joined[-1].end = run.end
        else:
            joined.append(run)
    runs[:] = joined


def smooth(values: npt.NDArray[np.floating], width: int) -> npt.NDArray[np.float64]:
    """Return the centred moving average over `width` timestamps, fewer at the ends: (N, classes) to the same."""
    found = np.asarray(values, dtype=np.float64)
    if width <= 1 or len(found) <= 1:
        return found
    sums = np.concatenate([np.zeros((1, found.shape[1])), found.cumsum(0)])
    places = np.arange(len(found))
    first = np.maximum(0, places - (width - 1) // 2)
    end = np.minimum(len(found), places + width // 2 + 1)
    return np.asarray((sums[end] - sums[first]) / (end - first)[:, None])
