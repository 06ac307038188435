"""Frames of a source that is played once, sampled at evenly spaced timestamps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor

from marey.encoders import Contract, Stream
from marey.errors import VideoError
from marey.video import TIME_TOLERANCE, Playback, StreamFrame

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sample:
    """The encoder's input at one timestamp.

    Attributes:
        index: counted from 0.
        time: seconds from the first frame.
        images: stream name to uint8 (3, H, W).
        seen: stream name to the numbers of the frames that its image was made of.
        frame: the latest frame that was needed.
    """

    index: int
    time: float
    images: Mapping[str, Tensor]
    seen: Mapping[str, tuple[int, ...]]
    frame: StreamFrame


FrameSamples = tuple[StreamFrame, tuple[Sample, ...]]
"""A frame, and the samples that are complete once it is there."""


class FrameSampler:
    """The streams of a contract at the timestamps (index + 1/2) x period of a source.

    Streams that compare frames look `offset` seconds before and after a timestamp, past the ends of any window, up to
    the ends of the source. Memory holds the small images of incomplete samples, and one frame.

        frames      |0    |1    |2    |3    |4
        timestamps     ^     ^     ^     ^       each is known once the next frame has come
    """

    def __init__(self, playback: Playback, contract: Contract, period: float) -> None:
        self._playback = playback
        self._contract = contract
        self._period = period
        self._streams: dict[str, Stream] = dict(contract.streams)
        self._offsets = sorted({offset for stream in self._streams.values() for offset in stream.offsets})
        self._next = dict.fromkeys(self._offsets, 0)
        self._known: dict[tuple[float, int], tuple[int, Tensor]] = {}
        self._index = 0
        self._latest: tuple[int, Tensor] | None = None

    def __iter__(self) -> Iterator[FrameSamples]:
        """Yield each frame of the source, with the samples that are complete now that it is there."""
        frame: StreamFrame | None = None
        for following in self._playback:
            if frame is not None:
                yield frame, tuple(self._complete(frame, following.time))
            frame = following
        if frame is not None:
            yield frame, tuple(self._complete(frame, frame.end, over=True))

    def _complete(self, frame: StreamFrame, until: float, *, over: bool = False) -> Iterable[Sample]:
        """Note for which timestamps `frame` is on screen: until the next one comes."""
        for offset in self._offsets:
            while True:
                index = self._next[offset]
                timestamp = (index + 0.5) * self._period
                moment = max(0.0, timestamp + offset)
                if until <= moment + TIME_TOLERANCE and not (over and timestamp + TIME_TOLERANCE < until):
                    break
                self._known[offset, index] = (frame.number, self._image(frame))
                self._next[offset] += 1
        while all((offset, self._index) in self._known for offset in self._offsets):
            yield self._take(frame)

    def _take(self, frame: StreamFrame) -> Sample:
        known = {offset: self._known.pop((offset, self._index)) for offset in self._offsets}
        images, seen = {}, {}
        for name, stream in self._streams.items():
            seen[name] = tuple(known[offset][0] for offset in stream.offsets)
            frames = torch.stack([known[offset][1] for offset in stream.offsets])
            images[name] = stream.combine(frames.unsqueeze(0))[0]
        sample = Sample(self._index, (self._index + 0.5) * self._period, images, seen, frame)
        self._index += 1
        return sample

    def _image(self, frame: StreamFrame) -> Tensor:
        if self._latest is None or self._latest[0] != frame.number:
            image = self._playback.to_rgb(
                frame, size=self._contract.size, fit=self._contract.fit, interpolation=self._contract.interpolation
            )
            self._latest = (frame.number, image)
        return self._latest[1]


def batch_samples(played: Iterable[FrameSamples], size: int) -> Iterator[tuple[StreamFrame, list[Sample]]]:
    """Yield samples in batches of at least `size`, then the rest, each with the latest frame."""
    batch: list[Sample] = []
    last: StreamFrame | None = None
    for frame, samples in played:
        last = frame
        batch += samples
        if len(batch) >= size:
            yield frame, batch
            batch = []
    if last is not None:
        yield last, batch


def batch_frames(played: Iterable[FrameSamples], size: int) -> Iterator[list[FrameSamples]]:
    """Yield `size` frames at a time with their samples, then the rest; an error comes after what was read."""
    batch: list[FrameSamples] = []
    try:
        for each in played:
            batch.append(each)
            if len(batch) == size:
                yield batch
                batch = []
    except VideoError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Yield the items in their order; a thread makes the next one meanwhile."""
    end = object()
    iterator = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="marey-watch") as pool:
        waiting = pool.submit(next, iterator, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, iterator, end)
            yield cast(T, item)
