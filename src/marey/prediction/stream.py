"""A source that goes on: answers as it is watched, and its timeline once it has ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from marey.encoders import Encoder
from marey.models import ActionModel
from marey.prediction.instants import Sampler, ahead, in_groups
from marey.prediction.ranking import ranked
from marey.prediction.segmentation import Hysteresis, Segmentation
from marey.prediction.windows import Carried, Grid, Windows, can_carry, plan_grid
from marey.video import Playback, PlayedFrame

Memory = Literal["auto", "carried", "window"]

_RATE_OVER: Final = 30  # frames
_TOGETHER: Final = 16  # frames of a file whose instants are encoded in one go; a live source waits for none


@dataclass(frozen=True, slots=True)
class StreamPrediction:
    """What a model says to a source at one instant.

    Attributes:
        time: seconds from the first frame.
        label: the action, which does not flicker; None for none of the classes.
        confidence: its probability, or that of the most probable class where there is none.
        labels: the classes, most probable first.
        probabilities: of those, in the same order.
        latency: seconds from the arrival of the newest frame that it rests on until the answer.
        rate: frames a second at which the source is watched.
        dropped: frames so far that came too fast and were left out.
    """

    time: float
    label: str | None
    confidence: float
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    latency: float
    rate: float
    dropped: int

    def top(self, k: int) -> tuple[tuple[str, float], ...]:
        """The `k` most probable classes with their probabilities."""
        return tuple(zip(self.labels[:k], self.probabilities[:k], strict=True))

    def as_dict(self, k: int) -> dict[str, Any]:
        """For JSON, a line an answer."""
        return {
            "time": round(self.time, 3),
            "label": self.label,
            "confidence": self.confidence,
            "top": [[label, probability] for label, probability in self.top(k)],
            "latency": round(self.latency, 4),
            "rate": round(self.rate, 2),
            "dropped": self.dropped,
        }


OnFrame = Callable[[PlayedFrame, StreamPrediction | None], None]
"""Called with each frame, and the latest answer, None before the first."""


def watch(
    model: ActionModel,
    encoder: Encoder,
    playback: Playback,
    *,
    rule: Segmentation,
    memory: Memory = "auto",
    on_frame: OnFrame | None = None,
) -> Iterator[StreamPrediction]:
    """Answers to a source while it is played.

    Args:
        model: head and contract.
        encoder: its encoder.
        playback: the source.
        rule: windows, and how the label is kept steady.
        memory: "carried" takes one step an instant with a head that keeps a state, "window" asks the head about the
            latest window, and "auto" carries where that is possible.
        on_frame: called with each frame.
    """
    reader, grid = reader_of(model, encoder, rule, memory=memory)
    steady = _Steady(model.labels, rule, grid)
    arrivals: deque[float] = deque(maxlen=_RATE_OVER)
    latest: StreamPrediction | None = None
    groups = in_groups(Sampler(playback, model.config.contract, grid.period), 1 if playback.live else _TOGETHER)
    for group in groups if playback.live else ahead(groups):
        answers = deque(reader.add([instant for _, instants in group for instant in instants]))
        for frame, instants in group:
            arrivals.append(time.monotonic())
            while answers and instants and answers[0].last <= instants[-1].index:
                answer = answers.popleft()
                probabilities, label = steady(answer.probabilities.numpy())
                order = ranked(model.labels, probabilities)
                now = time.monotonic()
                latest = StreamPrediction(
                    time=(answer.last + 0.5) * grid.period,
                    label=None if label is None else model.labels[label],
                    confidence=order[0][1] if label is None else float(probabilities[label]),
                    labels=tuple(name for name, _ in order),
                    probabilities=tuple(share for _, share in order),
                    latency=max(0.0, now - frame.arrived),
                    rate=(len(arrivals) - 1) / max(1e-9, now - arrivals[0]) if len(arrivals) > 1 else 0.0,
                    dropped=playback.dropped,
                )
                yield latest
            if on_frame is not None:
                on_frame(frame, latest)


def reader_of(
    model: ActionModel, encoder: Encoder, rule: Segmentation, *, memory: Memory
) -> tuple[Windows | Carried, Grid]:
    """What reads the instants of a source, and where those lie.

    Raises:
        UsageError: a window that the model cannot have, or a state where it keeps none.
    """
    carried = memory == "carried" or (memory == "auto" and can_carry(model, encoder))
    grid = plan_grid(
        model.config.contract,
        window=rule.window,
        typical=model.config.clip_seconds,
        stride=None if carried else rule.stride,  # a state goes in the steps that it has learned
        whole=not carried and (not encoder.per_picture or model.config.contract.gives_pictures),
    )
    return (Carried(model, encoder) if carried else Windows(model, encoder, grid)), grid


class _Steady:
    """The average over the latest answers, and a label that does not flicker."""

    def __init__(self, labels: tuple[str, ...], rule: Segmentation, grid: Grid) -> None:
        self._label = Hysteresis(rule)
        self._recent: deque[npt.NDArray[np.float64]] = deque(
            maxlen=max(1, round(rule.smooth / (grid.period * grid.stride)))
        )

    def __call__(self, probabilities: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], int | None]:
        self._recent.append(probabilities)
        mean = np.mean(self._recent, axis=0)
        return mean, self._label(mean)
