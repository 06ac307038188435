"""From a span of time to the instants to look at."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from marey.errors import UnknownNameError, UsageError, VideoError

Instants = npt.NDArray[np.float64]
Short = Literal["clamp", "repeat", "wrap", "error"]
FrameChoice = Literal["exact", "keyframes"]
Decoder = Literal["pyav", "torchcodec"]


class Sampling(BaseModel):
    """The rule from a clip to the instants, in seconds, to look at.

    A window of the clip is cut into `count` equal segments, and each gives one instant: its middle, or a
    random moment of it. The kinds differ in the window.

        uniform, count=4                the whole clip, whatever its length

            start                                               end
              |-----------|-----------|-----------|-----------|
                    x           x           x           x

        dense, count=4, rate=r          count / rate seconds of it: instants lie 1 / rate seconds apart

            start                                               end
              |           |-----|-----|-----|-----|           |
                             x     x     x     x

    Attributes:
        kind: "uniform" or "dense".
        count: number of instants.
        rate: instants per second; dense only.
        position: "middle" takes the middle of the segments, and for dense the middle of the clip. "random",
            for training, takes any moment of each segment, and for dense a window anywhere in the clip.
        short: what dense does with a clip that is shorter than count / rate seconds; see `SHORT`.
            Uniform fits every clip: on a very short one, neighbouring instants show the same frame.
        frames: "exact" takes the frame on screen at each instant. "keyframes" takes the nearest key frame, of which a
            video has one every few seconds: nothing else is decoded, and neighbouring instants may show the same one.
            For streams that look at one frame at a time, and for files, not for windows over a long video.
        decoder: "pyav" reads every file. "torchcodec" shows the same frames where TorchCodec is installed; files
            without timestamps are refused. Its pixels are a little different, and so are the features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["uniform", "dense"] = "uniform"
    count: Annotated[int, Field(ge=1, le=100_000)] = 16
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    position: Literal["middle", "random"] = "middle"
    short: Short = "clamp"
    frames: FrameChoice = "exact"
    decoder: Decoder = "pyav"

    @model_validator(mode="after")
    def _check_rate(self) -> Sampling:
        if self.kind == "dense" and self.rate is None:
            raise ValueError("dense sampling needs a rate, in instants per second")
        if self.kind == "uniform" and self.rate is not None:
            raise ValueError(
                f"uniform sampling takes no rate, and rate is {self.rate}; kind='dense' looks at a fixed rate"
            )
        return self

    @model_validator(mode="after")
    def _check_decoder(self) -> Sampling:
        check_decoder(self.frames, self.decoder)
        return self

    def instants(
        self,
        start: float,
        end: float,
        *,
        generator: np.random.Generator | None = None,
        part: tuple[int, int] = (0, 1),
        path: str | Path = "the clip",
    ) -> Instants:
        """The instants of the span [start, end).

        With `part` a span is looked at several times, at other instants each time: number k of n takes the moment
        (k + 1/2) / n of each segment, and for dense the window that lies so far along the clip.

        Args:
            start: seconds.
            end: seconds.
            generator: the source of chance; needed where `position` is "random".
            part: k and n; only where `position` is "middle".
            path: the file to name where the clip is too short.

        Returns:
            float64 (count,), seconds in [start, end); ascending, except where `short` starts again.

        Raises:
            UsageError: a span that ends before it starts, or chance without a generator.
            VideoError: `too_short`, where `short` is "error".
        """
        start, end = float(start), float(end)
        if not (math.isfinite(start) and math.isfinite(end) and start < end):
            raise UsageError(f"a span has to end after it starts, in seconds, and this one is [{start}, {end})")
        if self.position == "random" and generator is None:
            raise UsageError("position='random' needs a generator, as numpy.random.default_rng(seed)")
        number, parts = part
        within = (number + 0.5) / parts if self.position == "middle" or generator is None else generator
        if self.rate is None:
            moments = _segments(start, end - start, self.count, within)
        else:
            moments = self._dense(start, end, self.rate, within, path)
        return np.clip(moments, start, np.nextafter(end, start))

    def _dense(
        self, start: float, end: float, rate: float, within: float | np.random.Generator, path: str | Path
    ) -> Instants:
        fitting = min(self.count, max(1, math.floor((end - start) * rate + 1e-6)))
        if fitting < self.count and self.short == "error":
            raise VideoError(
                path,
                "too_short",
                f"{self.count} instants at {rate:g} a second take {self.count / rate:.3f} s, "
                f"and it lasts {end - start:.3f} s",
            )
        length = min(fitting / rate, end - start)
        slack = end - start - length
        offset = slack * (within if isinstance(within, float) else within.random())
        moments = _segments(start + offset, length, fitting, 0.5)
        return moments[SHORT[self.short](fitting, self.count)]


def check_decoder(frames: str, decoder: str) -> None:
    """Raise a `UsageError`, which is a `ValueError`, where frames cannot be chosen so.

    Raises:
        UnknownNameError: one of the names is not known.
        UsageError: the decoder cannot choose frames in this way.
    """
    if frames not in get_args(FrameChoice):
        raise UnknownNameError("choice of frames", frames, get_args(FrameChoice))
    if decoder not in get_args(Decoder):
        raise UnknownNameError("decoder", decoder, get_args(Decoder))
    if frames == "keyframes" and decoder != "pyav":
        raise UsageError(f"key frames are read by decoder 'pyav', not by '{decoder}'; leave decoder out")


def _segments(start: float, length: float, count: int, within: float | np.random.Generator) -> Instants:
    """One moment of each segment: the same share of all, or any."""
    share = np.full(count, within) if isinstance(within, float) else within.random(count)
    return np.asarray(start + (np.arange(count) + share) * (length / count), dtype=np.float64)


def clamp(fitting: int, count: int) -> npt.NDArray[np.int64]:
    """The last instant stays: 3 that fit and 5 that are asked for give 0 1 2 2 2."""
    return np.minimum(np.arange(count), fitting - 1)


def repeat(fitting: int, count: int) -> npt.NDArray[np.int64]:
    """Each instant stays for about as long, in slow motion: 3 for 5 give 0 0 1 1 2."""
    return np.arange(count) * fitting // count


def wrap(fitting: int, count: int) -> npt.NDArray[np.int64]:
    """The clip starts again: 3 for 5 give 0 1 2 0 1."""
    return np.arange(count) % fitting


SHORT: dict[str, Callable[[int, int], npt.NDArray[np.int64]]] = {
    "clamp": clamp,
    "repeat": repeat,
    "wrap": wrap,
    "error": clamp,  # nothing is missing where it has not been refused
}
"""Short-clip policies: from how many instants fit, and how many are asked for, to which of them to take."""
