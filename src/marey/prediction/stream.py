"""Predictions while a source is played."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from marey.encoders import Encoder
from marey.models import ActionModel
from marey.prediction.frame_sampler import FrameSampler, batch_frames, prefetch
from marey.prediction.pipeline import UNKNOWN, sort_by_probability
from marey.prediction.segmentation import Hysteresis, Segmentation
from marey.prediction.windows import Grid, RecurrentInference, WindowInference, is_streamable, plan_grid
from marey.video import Playback, StreamFrame

Inference = Literal["auto", "recurrent", "window"]

_RATE_OVER: Final = 30  # frames
_TOGETHER: Final = 16  # frames of a file that are encoded as one batch; a live source waits for none


@dataclass(frozen=True, slots=True)
class StreamPrediction:
    """The prediction at one timestamp of a source.

    Attributes:
        time: seconds from the first frame.
        label: the action, which does not flicker; None for none of the classes, "unknown" for what is unlike all
            training clips.
        confidence: its probability, or that of the most probable class where there is none or it is unknown.
        labels: the classes, most probable first.
        probabilities: of those, in the same order.
        latency: seconds from the arrival of the newest frame that it rests on until the prediction.
        rate: frames a second at which the source is processed.
        dropped: frames so far that came too fast and were left out.
        lost: seconds so far in which a live source had broken off.
        unfamiliarity: how unlike the training clips the latest window is, above 1 for unknown; None where the model
            cannot tell, or keeps a state.
    """

    time: float
    label: str | None
    confidence: float
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    latency: float
    rate: float
    dropped: int
    unfamiliarity: float | None = None
    lost: float = 0.0

    def __repr__(self) -> str:
        """Show time, label and confidence."""
        return f"StreamPrediction(time={self.time:.3f}, label={self.label!r}, confidence={self.confidence:.3f})"

    def top(self, k: int) -> tuple[tuple[str, float], ...]:
        """Return the `k` most probable classes with their probabilities."""
        return tuple(zip(self.labels[:k], self.probabilities[:k], strict=True))

    def as_dict(self, k: int) -> dict[str, Any]:
        """Return for JSON, a line a prediction."""
        return {
            "time": round(self.time, 3),
            "label": self.label,
            "confidence": self.confidence,
            "top": [[label, probability] for label, probability in self.top(k)],
            "latency": round(self.latency, 4),
            "rate": round(self.rate, 2),
            "dropped": self.dropped,
            **({"lost": round(self.lost, 3)} if self.lost else {}),
            **({"unfamiliarity": self.unfamiliarity} if self.unfamiliarity is not None else {}),
        }


OnFrame = Callable[[StreamFrame, StreamPrediction | None], None]
"""Called with each frame, and the latest prediction, None before the first."""


def stream_predict(
    model: ActionModel,
    encoder: Encoder,
    playback: Playback,
    *,
    rule: Segmentation,
    inference: Inference = "auto",
) -> Iterator[tuple[StreamFrame, list[StreamPrediction]]]:
    """Yield each frame of a source with the predictions that are new at it.

    After a live source had broken off nothing is known of what came before: windows, states and labels begin anew.

    Args:
        model: head and contract.
        encoder: its encoder.
        playback: the source.
        rule: windows, and how the label is kept steady.
        inference: "recurrent" takes one step a timestamp with a head that keeps a state, "window" gives the head the
            latest window, and "auto" is recurrent where that is possible.
    """
    for start, stretch in playback.stretches():
        for frame, predictions in _predict_stretch(model, encoder, stretch, rule=rule, inference=inference):
            if start:
                frame = replace(frame, time=frame.time + start, end=frame.end + start)
                predictions = [replace(each, time=each.time + start) for each in predictions]
            yield frame, predictions


def _predict_stretch(
    model: ActionModel, encoder: Encoder, playback: Playback, *, rule: Segmentation, inference: Inference
) -> Iterator[tuple[StreamFrame, list[StreamPrediction]]]:
    infer, grid = make_inference(model, encoder, rule, inference=inference)
    smoothed, marked = SmoothedLabel(rule, grid), SmoothedLabel(rule, grid)
    names = (*model.labels, UNKNOWN)
    arrivals: deque[float] = deque(maxlen=_RATE_OVER)
    batches = batch_frames(
        FrameSampler(playback, model.config.contract, grid.period), 1 if playback.live else _TOGETHER
    )
    for batch in batches if playback.live else prefetch(batches):
        outputs = deque(infer.add([sample for _, samples in batch for sample in samples]))
        for frame, samples in batch:
            arrivals.append(time.monotonic())
            predictions = []
            while outputs and samples and outputs[0].last <= samples[-1].index:
                output = outputs.popleft()
                probabilities, label = smoothed(output.probabilities.numpy())
                if rule.unknown == "mark" and output.unfamiliarity is not None:
                    _, label = marked(output.with_unknown().numpy())
                confidence = None if label is None or label == len(model.labels) else float(probabilities[label])
                order = sort_by_probability(model.labels, probabilities)
                now = time.monotonic()
                predictions.append(
                    StreamPrediction(
                        time=(output.last + 0.5) * grid.period,
                        label=None if label is None else names[label],
                        confidence=order[0][1] if confidence is None else confidence,
                        labels=tuple(name for name, _ in order),
                        probabilities=tuple(share for _, share in order),
                        latency=max(0.0, now - frame.arrived),
                        rate=(len(arrivals) - 1) / max(1e-9, now - arrivals[0]) if len(arrivals) > 1 else 0.0,
                        dropped=playback.dropped,
                        unfamiliarity=output.unfamiliarity,
                        lost=playback.lost,
                    )
                )
            yield frame, predictions


def make_inference(
    model: ActionModel, encoder: Encoder, rule: Segmentation, *, inference: Inference
) -> tuple[WindowInference | RecurrentInference, Grid]:
    """Return what turns the samples of a source into probabilities, and their grid.

    Raises:
        UsageError: a window that the model cannot have, or recurrent inference with a head that keeps no state.
    """
    recurrent = inference == "recurrent" or (inference == "auto" and is_streamable(model, encoder))
    grid = plan_grid(
        model.config.contract,
        window=rule.window,
        typical=model.config.clip_seconds,
        stride=None if recurrent else rule.stride,  # a state takes the steps that it was trained with
        whole=not recurrent and (not encoder.per_image or model.config.contract.gives_images),
    )
    return (RecurrentInference(model, encoder) if recurrent else WindowInference(model, encoder, grid)), grid


class SmoothedLabel:
    """The average of the latest probabilities, and a label that does not flicker."""

    def __init__(self, rule: Segmentation, grid: Grid) -> None:
        self._label = Hysteresis(rule)
        self._recent: deque[npt.NDArray[np.float64]] = deque(
            maxlen=max(1, round(rule.smooth / (grid.period * grid.stride)))
        )

    def __call__(self, probabilities: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], int | None]:
        """Return the average with the next probabilities, (classes,), and the class or None."""
        self._recent.append(probabilities)
        mean = np.mean(self._recent, axis=0)
        return mean, self._label(mean)
