"""What a model says to a video over time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marey.data import Segment
from marey.encoders import Encoder
from marey.models import ActionModel
from marey.prediction.instants import Sampler, ahead, gathered
from marey.prediction.ranking import ranked
from marey.prediction.segmentation import Segmentation, find_segments, smooth
from marey.prediction.stream import Memory, reader_of
from marey.prediction.windows import Answer, Carried, Grid
from marey.video import Playback, PlayedFrame

_BATCH: Final = 16  # instants that are encoded together


@dataclass(frozen=True)
class Timeline:
    """Probabilities at evenly spaced instants of a video, and the labelled segments that follow from them.

    Attributes:
        source: the video, as it was named.
        duration: seconds.
        labels: the classes, in the order of `probabilities`.
        times: float64 (N,), the instants in seconds from the first frame, ascending.
        probabilities: float32 (N, classes), the mean of all windows that an instant lies in, smoothed.
        segments: ascending and without overlap; between them it is none of the classes.
        window: seconds that the model looks at, at a time.
        pictures: how many the encoder was shown for it.
    """

    source: str
    duration: float
    labels: tuple[str, ...]
    times: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float32]
    segments: tuple[Segment, ...]
    window: float
    pictures: int = 0

    def at(self, time: float) -> tuple[tuple[str, float], ...]:
        """The classes with their probabilities at the instant nearest to a time, most probable first."""
        place = int(np.searchsorted(self.times, time))
        if place == len(self.times) or (place > 0 and time - self.times[place - 1] <= self.times[place] - time):
            place -= 1
        return ranked(self.labels, self.probabilities[place])

    def segment_at(self, time: float) -> Segment | None:
        """The segment that a time lies in; None where it is none of the classes."""
        place = bisect_right(self.segments, time, key=lambda segment: segment.start) - 1
        return self.segments[place] if place >= 0 and time < self.segments[place].end else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the segments, without the probabilities of every instant."""
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
    memory: Memory = "window",
    on_instant: Callable[[float], None] | None = None,
) -> Timeline | None:
    """Watch a source to its end; frames are forgotten as they pass, and probabilities kept.

    An instant's probabilities are the mean of all windows that it lies in, those in whose middle it lies counting most.

    Args:
        model: head and contract.
        encoder: its encoder.
        playback: the source.
        source: its name.
        rule: windows, and what is a segment.
        memory: "window", or "carried" for what a stream with a causal head says at each instant.
        on_instant: called with the time that has been reached, in seconds.

    Returns:
        The timeline; None where the source is shorter than one window.
    """
    reader, grid = reader_of(model, encoder, rule, memory=memory)
    before = encoder.pictures
    board = _Board(len(model.labels), spread=None if isinstance(reader, Carried) else grid)
    last: PlayedFrame | None = None
    instants = 0
    for frame, found in ahead(gathered(Sampler(playback, model.config.contract, grid.period), _BATCH)):
        last = frame
        instants += len(found)
        for answer in reader.add(found):
            board.add(answer)
        if on_instant is not None and found:
            on_instant(found[-1].time)
    if last is None or board.empty:
        return None
    times = np.asarray((np.arange(instants) + 0.5) * grid.period, dtype=np.float64)
    probabilities = smooth(board.mean(instants), round(rule.smooth / grid.period))
    return Timeline(
        source=source,
        duration=last.end,
        labels=model.labels,
        times=times,
        probabilities=probabilities.astype(np.float32),
        segments=find_segments(probabilities, times, model.labels, duration=last.end, rule=rule),
        window=grid.window,
        pictures=encoder.pictures - before,
    )


def timeline_of_clip(
    probabilities: Sequence[float], model: ActionModel, *, source: str, duration: float, rule: Segmentation
) -> Timeline:
    """The timeline of a video that is no longer than one window: the same answer at all of its instants.

    Args:
        probabilities: of the whole video as a clip, (classes,).
        model: whose they are.
        source: the video's name.
        duration: seconds.
        rule: what is a segment.
    """
    count = model.config.contract.sampling.count
    times = np.asarray((np.arange(count) + 0.5) * (duration / count), dtype=np.float64)
    rows = np.tile(np.asarray(probabilities, dtype=np.float64), (count, 1))
    return Timeline(
        source=source,
        duration=duration,
        labels=model.labels,
        times=times,
        probabilities=rows.astype(np.float32),
        segments=find_segments(rows, times, model.labels, duration=duration, rule=rule),
        window=duration,
        pictures=count * len(model.config.contract.streams),
    )


class _Board:
    """Where the answers of windows are laid over each other.

    Args:
        classes: number of them.
        spread: the grid, where an answer speaks for all instants of its window; None where only for the last.
    """

    def __init__(self, classes: int, *, spread: Grid | None) -> None:
        self._sums = np.zeros((0, classes))
        self._weights = np.zeros(0)
        span = spread.span if spread is not None else 1
        self._shape = 1 - np.abs((np.arange(span) + 0.5) * 2 / span - 1) + 1e-3
        self._spread = spread
        self.empty = True

    def add(self, answer: Answer) -> None:
        first = answer.last if self._spread is None else answer.first
        end = first + len(self._shape)
        if end > len(self._weights):
            more = max(end, 2 * len(self._weights)) - len(self._weights)
            self._sums = np.concatenate([self._sums, np.zeros((more, self._sums.shape[1]))])
            self._weights = np.concatenate([self._weights, np.zeros(more)])
        self._sums[first:end] += self._shape[:, None] * answer.probabilities.numpy()
        self._weights[first:end] += self._shape
        self.empty = False

    def mean(self, instants: int) -> npt.NDArray[np.float64]:
        """(instants, classes); what no window reached says what its nearest neighbour does."""
        known = np.flatnonzero(self._weights[:instants])
        rows = self._sums[known] / self._weights[known, None]
        nearest = np.searchsorted(known, np.arange(instants)).clip(max=len(known) - 1)
        return np.asarray(rows[nearest])
