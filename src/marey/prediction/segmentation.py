"""From probabilities over time to labelled segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from marey.data import Segment

Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Segmentation(BaseModel):
    """How a long video is looked at, and when a probability is a segment.

    Attributes:
        window: seconds that the model looks at, at a time; None for as long as the clips were that it learned from,
            and at most two seconds. Dense sampling has its own.
        stride: seconds from one window to the next; None for the distance of a window's instants, and for a network
            that reads whole windows a quarter of the window.
        smooth: seconds over which probabilities are averaged after that.
        threshold: what a class has to reach for its segment to begin; below it is none of them.
        release: what it has to keep for the segment to go on.
        margin: by how much another class has to be more probable before it takes over.
        min_duration: seconds; shorter ones go to their neighbours, or away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = None
    stride: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = None
    smooth: Seconds = 0.5
    threshold: Share = 0.5
    release: Share = 0.3
    margin: Share = 0.1
    min_duration: Seconds = 1.0

    @model_validator(mode="after")
    def _check_release(self) -> Self:
        if self.release > self.threshold:
            raise ValueError(
                f"release={self.release:g} is above threshold={self.threshold:g}: segments would end as they begin"
            )
        return self


class Hysteresis:
    """The label over time, which does not flicker: it begins at one probability and ends at a lower one.

    Args:
        rule: threshold, release and margin.
    """

    def __init__(self, rule: Segmentation) -> None:
        self._rule = rule
        self._current: int | None = None

    def __call__(self, probabilities: npt.NDArray[np.floating]) -> int | None:
        """The class at the next instant, (classes,); None for none of them."""
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
    """Instants [first, end) of one class, or of none."""

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
    """The labelled spans of a video.

    Each instant stands for the time until halfway to its neighbours, the first and the last for the video's ends.

    Args:
        probabilities: (N, classes).
        times: (N,), ascending, seconds.
        labels: names of the classes.
        duration: of the video, seconds.
        rule: what begins, keeps and ends a segment.
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


def _absorb_short(
    runs: list[_Run], probabilities: npt.NDArray[np.floating], edges: npt.NDArray[np.float64], least: float
) -> None:
    """Give each run that is too short, the shortest first, to the neighbour that is more probable there.

    A short gap between two segments is taken for a gap of the model, a short segment between two gaps for its mistake.
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

        def says(other: _Run, span: npt.NDArray[np.floating] = span) -> float:
            return -1.0 if other.label is None else float(span[:, other.label].mean())

        run.label = max(beside, key=says).label
        _join(runs)
    if len(runs) == 1 and lasts(runs[0]) < min(least, float(edges[-1])):
        runs.clear()


def _join(runs: list[_Run]) -> None:
    """Make one of neighbours of the same label."""
    joined: list[_Run] = []
    for run in runs:
        if joined and joined[-1].label == run.label:
            joined[-1].end = run.end
        else:
            joined.append(run)
    runs[:] = joined


def smooth(values: npt.NDArray[np.floating], width: int) -> npt.NDArray[np.float64]:
    """The centred moving average over `width` instants, fewer at the ends: (N, classes) to the same."""
    found = np.asarray(values, dtype=np.float64)
    if width <= 1 or len(found) <= 1:
        return found
    sums = np.concatenate([np.zeros((1, found.shape[1])), found.cumsum(0)])
    places = np.arange(len(found))
    first = np.maximum(0, places - (width - 1) // 2)
    end = np.minimum(len(found), places + width // 2 + 1)
    return np.asarray((sums[end] - sums[first]) / (end - first)[:, None])
