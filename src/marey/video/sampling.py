"""Choose the timestamps of a clip at which frames are decoded."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from marey.errors import UnknownNameError, UsageError, VideoError

Timestamps = npt.NDArray[np.float64]
ShortPolicy = Literal["clamp", "repeat", "wrap", "error"]
FrameChoice = Literal["exact", "keyframes"]
Decoder = Literal["pyav", "torchcodec"]


class Sampling(BaseModel):
    """The rule from a clip to timestamps in seconds.

    A window of the clip is divided into `count` equal segments, each of which gives one timestamp:
    its middle, or a random one. The kinds differ in the window.

        uniform, count=4                the whole clip, whatever its length

            start                                               end
              |-----------|-----------|-----------|-----------|
                    x           x           x           x

        dense, count=4, rate=r          count / rate seconds of it: timestamps are 1 / rate seconds apart

            start                                               end
              |           |-----|-----|-----|-----|           |
                             x     x     x     x

    Attributes:
        kind: "uniform" or "dense".
        count: number of timestamps.
        rate: timestamps per second; dense only.
        position: "middle" takes the middle of the segments, and for dense the middle of the clip.
            "random", for training, takes a random timestamp of each segment, and for dense a random
            window.
        short: how dense treats a clip that is shorter than count / rate seconds; see
            `SHORT_POLICIES`. Uniform fits every clip: in a very short one, neighbouring timestamps
            show the same frame.
        frames: "exact" takes the frame shown at each timestamp. "keyframes" takes the nearest key
            frame, of which a video has one every few seconds: no other frame is decoded, and
            neighbouring timestamps may give the same one. For streams of single frames, and for
            files, not for sliding windows over a long video.
        decoder: "pyav" reads every file. "torchcodec" returns the same frames if TorchCodec is
            installed; it refuses files without timestamps. Its pixels differ slightly, and so do
            the features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["uniform", "dense"] = "uniform"
    count: Annotated[int, Field(ge=1, le=100_000)] = 16
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    position: Literal["middle", "random"] = "middle"
    short: ShortPolicy = "clamp"
    frames: FrameChoice = "exact"
    decoder: Decoder = "pyav"

    @model_validator(mode="after")
    def _check(self) -> Sampling:
        if self.kind == "dense" and self.rate is None:
            raise ValueError("dense sampling needs a rate, in timestamps per second")
        if self.kind == "uniform" and self.rate is not None:
            raise ValueError(
                f"uniform sampling takes no rate, and rate is {self.rate}; kind='dense' samples at a fixed rate"
            )
        check_decoder(self.frames, self.decoder)
        return self

    def timestamps(
        self,
        start: float,
        end: float,
        *,
        generator: np.random.Generator | None = None,
        part: tuple[int, int] = (0, 1),
        path: str | Path = "the clip",
    ) -> Timestamps:
        """Return the timestamps of the span [start, end).

        With `part`, a span is sampled several times, each time at other timestamps: view k of n
        takes the fraction (k + 1/2) / n of each segment, and for dense the window at that fraction
        of the clip.

        Args:
            start: seconds.
            end: seconds.
            generator: random generator; required if `position` is "random".
            part: k and n; only if `position` is "middle".
            path: the file to name in the error of a clip that is too short.

        Returns:
            float64 (count,), seconds in [start, end); ascending, unless `short` starts again.

        Raises:
            UsageError: a span that ends before it starts, or "random" without a generator.
            VideoError: `too_short`, if `short` is "error".
        """
        start, end = float(start), float(end)
        if not (math.isfinite(start) and math.isfinite(end) and start < end):
            raise UsageError(f"a span has to end after it starts, in seconds, and this one is [{start}, {end})")
        if self.position == "random" and generator is None:
            raise UsageError("position='random' needs a generator, as numpy.random.default_rng(seed)")
        number, parts = part
        within = (number + 0.5) / parts if self.position == "middle" or generator is None else generator
        if self.rate is None:
            timestamps = _segments(start, end - start, self.count, within)
        else:
            timestamps = self._dense(start, end, self.rate, within, path)
        return np.clip(timestamps, start, np.nextafter(end, start))

    def instants(self, *span: float, **options: Any) -> Timestamps:
        """Return `timestamps`, whose older name this is; it goes with the next release."""
        warnings.warn("Sampling.instants is called timestamps now", DeprecationWarning, stacklevel=2)
        return self.timestamps(*span, **options)

    def _dense(
        self, start: float, end: float, rate: float, within: float | np.random.Generator, path: str | Path
    ) -> Timestamps:
        fitting = min(self.count, max(1, math.floor((end - start) * rate + 1e-6)))
        if fitting < self.count and self.short == "error":
            raise VideoError(
                path,
                "too_short",
                f"{self.count} timestamps at {rate:g} per second take {self.count / rate:.3f} s, "
                f"and it lasts {end - start:.3f} s",
            )
        length = min(fitting / rate, end - start)
        slack = end - start - length
        offset = slack * (within if isinstance(within, float) else within.random())
        timestamps = _segments(start + offset, length, fitting, 0.5)
        return timestamps[SHORT_POLICIES[self.short](fitting, self.count)]


def check_decoder(frames: str, decoder: str) -> None:
    """Raise a `UsageError`, which is a `ValueError`, if a decoder cannot choose frames in this way.

    Raises:
        UnknownNameError: one of the names is not known.
        UsageError: the combination is not supported.
    """
    if frames not in get_args(FrameChoice):
        raise UnknownNameError("choice of frames", frames, get_args(FrameChoice))
    if decoder not in get_args(Decoder):
        raise UnknownNameError("decoder", decoder, get_args(Decoder))
    if frames == "keyframes" and decoder != "pyav":
        raise UsageError(f"key frames are read by decoder 'pyav', not by '{decoder}'; leave decoder out")


def _segments(start: float, length: float, count: int, within: float | np.random.Generator) -> Timestamps:
    """Return one timestamp of each segment: the same fraction of all, or random ones."""
    fraction = np.full(count, within) if isinstance(within, float) else within.random(count)
    return np.asarray(start + (np.arange(count) + fraction) * (length / count), dtype=np.float64)


def clamp(fitting: int, count: int) -> npt.NDArray[np.int64]:
    """Repeat the last timestamp: 3 that fit and 5 that are requested give 0 1 2 2 2."""
    return np.minimum(np.arange(count), fitting - 1)


def repeat(fitting: int, count: int) -> npt.NDArray[np.int64]:
    """Repeat all timestamps about equally often, in slow motion: 3 for 5 give 0 0 1 1 2."""
    return np.arange(count) * fitting // count


def wrap(fitting: int, count: int) -> npt.NDArray[np.int64]:
    """Start the clip again: 3 for 5 give 0 1 2 0 1."""
    return np.arange(count) % fitting


SHORT_POLICIES: dict[str, Callable[[int, int], npt.NDArray[np.int64]]] = {
    "clamp": clamp,
    "repeat": repeat,
    "wrap": wrap,
    "error": clamp,  # used only for clips that are long enough
}
"""Policies for short clips: functions of the numbers of timestamps that fit and are requested."""
