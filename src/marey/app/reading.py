"""One clip as the model reads it: its pictures, what it says to them, and how long each step took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.data import Clip
from marey.encoders import clip_span, read_clip
from marey.models import load_model
from marey.prediction import Predictor, Timeline, mean_of_views, ranked
from marey.reports import chronophotograph
from marey.video import Sampling, decode, probe

Pictures = npt.NDArray[np.uint8]
"""RGB `(T, H, W, 3)`."""

_HEIGHT = 240  # pixels of the frames that are shown
_PLATE = Sampling(count=14)


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long the steps took."""

    decode: float
    encode: float
    head: float


@dataclass(frozen=True)
class Reading:
    """What a model saw of a clip, and what it says.

    Attributes:
        top: all classes with their probabilities, most probable first.
        seconds: how long it took.
        start: first second of the clip in its file.
        end: its last.
        instants: (T,), the seconds that were looked at.
        frames: the frames at those instants, at most 240 pixels high.
        streams: name of a stream to the pictures that the encoder got, (T, H, W, 3).
    """

    top: tuple[tuple[str, float], ...]
    seconds: Seconds
    start: float
    end: float
    instants: npt.NDArray[np.float64]
    frames: Pictures
    streams: dict[str, Pictures]


class Reader:
    """A model that shows its work: the same answers as `Predictor.predict`, step by step and never from the cache.

    Args:
        model: a model folder, or a run with one in it.

    Raises:
        ModelFormatError: the folder is no model.
        WeightsError: its encoder's weights cannot be had.
    """

    def __init__(self, model: Path) -> None:
        loaded = load_model(model)
        contract = loaded.config.contract
        self._encoder = loaded.load_encoder()
        self._predictor = Predictor(loaded, encoder=self._encoder)
        self._contract = contract

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes."""
        return self._predictor.labels

    def read(self, clip: Clip) -> Reading:
        """Recognise a clip.

        Raises:
            VideoError: the file cannot be used.
        """
        spent = {"decode": 0.0, "encode": 0.0, "head": 0.0}
        said: list[tuple[float, ...]] = []
        shown: dict[str, Tensor] = {}
        for view in self._contract.testing.views:
            began = time.perf_counter()
            pictures = read_clip(clip, self._contract, view=view)
            decoded = time.perf_counter()
            encoded = self._encoder.encode_clips(torch.stack(list(pictures.values())))
            done = time.perf_counter()
            said.append(self._predictor.of_features(dict(zip(pictures, encoded, strict=True))))
            spent["decode"] += decoded - began
            spent["encode"] += done - decoded
            spent["head"] += time.perf_counter() - done
            shown = shown or pictures
        start, end = clip_span(clip)
        instants = self._contract.sampling.instants(start, end, path=clip.path)
        frames = decode(clip.path, instants, size=_shown_size(clip.path))
        return Reading(
            ranked(self.labels, mean_of_views(said)),
            Seconds(**spent),
            start,
            end,
            instants,
            _last_channel(frames.data),
            {name: _last_channel(values) for name, values in shown.items()},
        )

    def timeline(self, path: Path, *, on_progress: Callable[[float], None]) -> Timeline:
        """What the model says over time to a long video.

        Raises:
            VideoError: the file cannot be used.
        """
        return self._predictor.timeline(path, on_progress=on_progress)


def plate(clip: Clip) -> npt.NDArray[np.uint8]:
    """All that moves in a clip, on one picture `(H, W, 3)`.

    Raises:
        VideoError: the file cannot be used.
    """
    instants = _PLATE.instants(*clip_span(clip), path=clip.path)
    return chronophotograph(decode(clip.path, instants, size=_shown_size(clip.path, 2 * _HEIGHT)).data)


def _shown_size(path: Path, height: int = _HEIGHT) -> tuple[int, int]:
    info = probe(path)
    rows = min(height, info.height)
    return rows, max(1, round(info.width * rows / info.height))


def _last_channel(frames: Tensor) -> Pictures:
    found: Pictures = frames.permute(0, 2, 3, 1).contiguous().numpy()
    return found if found.shape[-1] == 3 else np.repeat(found, 3, axis=-1)
