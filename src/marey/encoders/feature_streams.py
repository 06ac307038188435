"""Streams that make their features themselves, beside those whose images an encoder sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.encoders.streams import Stream
from marey.video import Limits, Sampling, decode_each, play

if TYPE_CHECKING:
    from marey.encoders.encoder import Encoder

Times = npt.NDArray[np.float64]
Reorder = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]


class Observer(Protocol):
    """The part of a feature stream that observes one source.

    Attributes:
        size: (H, W) in pixels of the frames that it looks at; None where it needs none.
    """

    @property
    def size(self) -> tuple[int, int] | None:
        """See above."""

    def at(self, times: Times, image: Tensor | None) -> Tensor:
        """Return what there is at some timestamps, (U,), as float32 (U, S).

        Args:
            times: seconds.
            image: the frame that is shown at all of them, uint8 (3, H, W); None for an observer without a size.
        """


class FeatureStream(Stream):
    """A stream that makes features (T, D) itself, in two steps.

    An observer notes S numbers at each of the stream's `times`; they belong to their timestamp alone, so windows of a
    long video share them. `encode` makes the features of a clip or a window of its observations.
    """

    @property
    def dim(self) -> int:
        """D of its features."""
        raise NotImplementedError(f"{type(self).__name__} does not define dim")

    @property
    def looks(self) -> bool:
        """True if the observer needs frames."""
        raise NotImplementedError(f"{type(self).__name__} does not define looks")

    def observer(self, path: Path | None, *, shape: tuple[int, int] | None, limits: Limits) -> Observer:
        """Return an observer of a source.

        Args:
            path: of the video; None for a live source, or frames in memory.
            shape: (H, W) of its frames as displayed; None where it is a file, and the stream does not look at frames.
            limits: of reading.

        Raises:
            VideoError: what it needs beside the video is missing, or cannot be used.
            UsageError: the source cannot have it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define observer")

    def encode(self, observed: Tensor) -> Tensor:
        """Return the features of a clip or a window: float32 (T, K, 1 + S) to float32 (T, D).

        The first number of each observation is its time from the timestamp in seconds.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define encode")

    def mirror(self, observed: Tensor) -> Tensor:
        """Return the observations of the mirror image."""
        raise NotImplementedError(f"{type(self).__name__} does not define mirror")

    def identity(self, path: Path) -> Mapping[str, Any]:
        """Return all that its features of a video depend on beside the video, for the cache: options and hashes."""
        raise NotImplementedError(f"{type(self).__name__} does not define identity")

    def resolved(self) -> Self:
        """Return the stream as contracts have it: with the hashes of the files that it names."""
        return self


def feature_streams(streams: Mapping[str, Stream]) -> dict[str, FeatureStream]:
    """Return the streams that make their features themselves."""
    return {name: stream for name, stream in streams.items() if isinstance(stream, FeatureStream)}


def observe_file(
    stream: FeatureStream,
    path: Path,
    timestamps: Times,
    *,
    span: tuple[float, float],
    sampling: Sampling,
    reorder: Reorder,
    limits: Limits,
) -> Tensor:
    """Return the observations of a clip, float32 (T, K, 1 + S).

    Args:
        stream: it observes.
        path: the video.
        timestamps: (T,), seconds.
        span: start of the clip, and the last timestamp that lies in it.
        sampling: how its frames are decoded.
        reorder: gives each of the distinct times, by number, the number of another one.
        limits: of decoding.

    Raises:
        VideoError: the clip, or what the stream needs beside it, cannot be used.
    """
    shape = None
    if stream.looks:
        with play(path, limits=limits) as playback:
            shape = playback.size
    observer = stream.observer(path, shape=shape, limits=limits)

    def frames(times: Times) -> dict[int, Tensor]:
        shown: Tensor | None = None
        found: dict[int, Tensor] = {}
        decoded = decode_each(
            path, times, size=observer.size, frames=sampling.frames, decoder=sampling.decoder, limits=limits
        )
        for place, image in decoded:
            if image is not shown:
                shown, seen = image, observer.at(times[place : place + 1], image)[0]
            found[place] = seen
        return found

    return gather(stream, observer, timestamps, span=span, reorder=reorder, look=frames)


def gather(
    stream: FeatureStream,
    observer: Observer,
    timestamps: Times,
    *,
    span: tuple[float, float],
    reorder: Reorder,
    look: Callable[[Times], Mapping[int, Tensor]],
) -> Tensor:
    """Return the observations around each timestamp, float32 (T, K, 1 + S), each time observed once.

    Args:
        stream: its `times` are observed.
        observer: of the source.
        timestamps: (T,), seconds.
        span: the first and the last time that may be observed.
        reorder: as for `observe_file`.
        look: returns what the observer sees at each of some times, ascending; called if it needs frames.
    """
    times = np.clip(stream.times(timestamps), *span)
    distinct, where = np.unique(times, return_inverse=True)
    if observer.size is None:
        seen = observer.at(distinct, None)
    else:
        found = look(distinct)
        seen = torch.stack([found[place] for place in range(len(distinct))])
    order = reorder(np.arange(len(distinct)))
    values = seen[torch.from_numpy(order[where.reshape(-1)])]
    return with_offsets(values.view(*times.shape, -1), times - timestamps[:, None])


def with_offsets(values: Tensor, offsets: Times) -> Tensor:
    """Return observations with their times before them: (T, K, S) and (T, K) to (T, K, 1 + S)."""
    return torch.cat([torch.from_numpy(offsets.astype(np.float32))[..., None], values], dim=-1)


def encode_parts(encoder: Encoder, streams: Mapping[str, Stream], parts: Sequence[tuple[str, Tensor]]) -> list[Tensor]:
    """Return the features of streams of clips, in their order, (T, D) each.

    Args:
        encoder: sees the images of all clips as one batch.
        streams: of the contract.
        parts: name of a stream, and its images, uint8 (T, 3, H, W), or its observations.
    """
    own = feature_streams(streams)
    images = [values for name, values in parts if name not in own]
    encoded = iter(encoder.encode_clips(torch.stack(images)) if images else ())
    return [own[name].encode(values) if name in own else next(encoded) for name, values in parts]
