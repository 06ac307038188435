"""One clip as the model reads it: the frames that it gets, its prediction, and the time of each step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from marey.data import Clip
from marey.encoders import clip_span
from marey.prediction import Predictor, Timeline, mean_of_answers, prediction_of_answer, sort_by_probability
from marey.reports import chronophotograph
from marey.video import STRANGERS_MEMORY, Limits, Sampling, decode, probe

Images = npt.NDArray[np.uint8]
"""RGB `(T, H, W, 3)`."""

LIMITS: Final = Limits(max_memory=STRANGERS_MEMORY)
"""Limits of reading what users bring: they may have it from anywhere."""
_HEIGHT = 240  # pixels of the frames that are shown
_SAMPLING = Sampling(count=14)


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds that each step took."""

    decode: float
    encode: float
    head: float


@dataclass(frozen=True)
class Reading:
    """Input of a model from a clip, and its prediction.

    Attributes:
        top: all classes with their probabilities, most probable first.
        seconds: how long it took.
        start: first second of the clip in its file.
        end: its last.
        timestamps: (T,), the timestamps in seconds.
        frames: the frames at those timestamps, at most 240 pixels high.
        streams: name of a stream to the images that the encoder got, (T, H, W, 3).
        meanings: name of a stream to what its images show.
        why: why the clip is unknown, in words; empty where it is not.
    """

    top: tuple[tuple[str, float], ...]
    seconds: Seconds
    start: float
    end: float
    timestamps: npt.NDArray[np.float64]
    frames: Images
    streams: dict[str, Images]
    meanings: dict[str, str]
    why: str = ""


class Reader:
    """A model whose steps are shown: the predictions of `Predictor.predict`, never from the cache.

    Args:
        model: a model folder, or a run with one in it.

    Raises:
        ModelFormatError: the folder is not a model.
        WeightsError: its encoder's weights cannot be loaded.
    """

    def __init__(self, model: Path) -> None:
        self._predictor = Predictor(model, limits=LIMITS)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes."""
        return self._predictor.labels

    def read(self, clip: Clip) -> Reading:
        """Predict a clip.

        Raises:
            VideoError: the file cannot be used.
        """
        pipeline = self._predictor.pipeline
        began = time.perf_counter()
        parts = pipeline.decode(clip, limits=LIMITS)
        decoded = time.perf_counter()
        (features,) = pipeline.encode([parts])
        encoded = time.perf_counter()
        answer = mean_of_answers(pipeline.answers(features))
        seconds = Seconds(decoded - began, encoded - decoded, time.perf_counter() - encoded)
        start, end = clip_span(clip, LIMITS)
        timestamps = pipeline.model.config.contract.sampling.timestamps(start, end, path=clip.path)
        shown = decode(clip.path, timestamps, size=_shown_size(clip.path), limits=LIMITS).data
        return Reading(
            sort_by_probability(self.labels, answer.probabilities),
            seconds,
            start,
            end,
            timestamps,
            _last_channel(shown),
            {stream: _last_channel(frames) for (view, stream), frames in parts.items() if view == pipeline.views[0]},
            {name: stream.meaning for name, stream in pipeline.model.config.contract.streams.items()},
            prediction_of_answer(str(clip.path), pipeline.model, answer).why,
        )

    def timeline(self, path: Path, *, on_progress: Callable[[float], None]) -> Timeline:
        """Return the timeline of a long video.

        Raises:
            VideoError: the file cannot be used.
        """
        return self._predictor.timeline(path, on_progress=on_progress)


def clip_chronophotograph(clip: Clip) -> npt.NDArray[np.uint8]:
    """Draw all that moves in a clip on one image `(H, W, 3)`.

    Raises:
        VideoError: the file cannot be used.
    """
    timestamps = _SAMPLING.timestamps(*clip_span(clip, LIMITS), path=clip.path)
    size = _shown_size(clip.path, 2 * _HEIGHT)
    return chronophotograph(decode(clip.path, timestamps, size=size, limits=LIMITS).data)


def _shown_size(path: Path, height: int = _HEIGHT) -> tuple[int, int]:
    info = probe(path, limits=LIMITS)
    rows = min(height, info.height)
    return rows, max(1, round(info.width * rows / info.height))


def _last_channel(frames: Tensor) -> Images:
    found: Images = frames.permute(0, 2, 3, 1).contiguous().numpy()
    return found if found.shape[-1] == 3 else np.repeat(found, 3, axis=-1)
