"""Frames of a source that is played once, sampled at evenly spaced timestamps."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from marey.encoders import (
    THUMBNAIL,
    Contract,
    RunningRegion,
    RunningStretch,
    Stream,
    feature_streams,
    luma,
    with_offsets,
)
from marey.errors import VideoError
from marey.video import TIME_TOLERANCE, Fit, Playback, Region, StreamFrame

T = TypeVar("T")
_PIECE: Final = 64  # timestamps of one frame that are handed out together: a frame may be on screen for hours


@dataclass(frozen=True, slots=True)
class Sample:
    """The encoder's input at one timestamp.

    Attributes:
        index: counted from 0.
        time: seconds from the first frame.
        images: stream name to uint8 (3, H, W), or to the observations of a `FeatureStream`, float32 (K, 1 + S).
        seen: stream name to the numbers of the frames that its image was made of.
        frame: the latest frame that was needed.
    """

    index: int
    time: float
    images: Mapping[str, Tensor]
    seen: Mapping[str, tuple[int, ...]]
    frame: StreamFrame


_Moment = tuple[bool | str, float]
"""A part of a frame that a sample needs: True for its luma alone, False for RGB, or the name of a `FeatureStream` for
what it observes; and seconds from the first frame."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The number of a frame, and its pixels, uint8 (C, H, W), or what a `FeatureStream` observes, float32 (S,).

    The frame itself is kept where pixels may be cut out anew.
    """

    number: int
    image: Tensor
    frame: StreamFrame | None


@dataclass(frozen=True, slots=True)
class _Planned:
    """A sample whose frames are still to come.

    Attributes:
        index: counted from 0.
        time: its timestamp.
        moments: stream name to the moments of its frames.
        first: the earliest of all moments.
        last: the latest.
    """

    index: int
    time: float
    moments: Mapping[str, tuple[_Moment, ...]]
    first: float
    last: float


FrameSamples = tuple[StreamFrame, tuple[Sample, ...]]
"""A frame, and the samples that are complete once it is there; one that stays on screen comes several times."""


class FrameSampler:
    """The streams of a contract at the timestamps (index + 1/2) x period of a source.

    Streams that compare frames look before and after a timestamp, past the ends of any window, up to the ends of the
    source. Memory holds the small images of incomplete samples, each once, and one frame. With `photometric: auto` all
    frames of a sample get the same stretch, the one that is known when the last of them has come: what changes between
    them has moved.

    With `fit: motion` they are cut out of the same region, likewise. Memory then holds the decoded frames of incomplete
    samples, too: where the region changes, their images are made anew. It starts as the whole frame, follows what has
    been seen, and may differ from one sample of a window to the next; a clip has one region, of all that moves in it.

        frames      |0    |1    |2    |3    |4
        timestamps     ^     ^     ^     ^       each is known once the next frame has come
    """

    def __init__(self, playback: Playback, contract: Contract, period: float) -> None:
        self._playback = playback
        self._contract = contract
        self._period = period
        self._streams: dict[str, Stream] = dict(contract.streams)
        self._observers = {
            name: stream.observer(playback.path, shape=playback.size, limits=playback.limits)
            for name, stream in feature_streams(contract.streams).items()
        }
        self._planned: deque[_Planned] = deque()
        self._next = self._plan(0)
        self._moments: dict[_Moment, _Known | None] = {}
        self._uses: Counter[_Moment] = Counter()
        self._latest: tuple[int, Tensor] | None = None
        self._latest_gray: tuple[int, Tensor] | None = None
        self._made: dict[str, tuple[tuple[int, ...], Tensor]] = {}
        self._light = RunningStretch() if contract.photometric == "auto" else None
        self._moving = RunningRegion() if contract.fit == "motion" else None
        self._fit: Fit | Region = "stretch" if contract.fit == "motion" else contract.fit

    def __iter__(self) -> Iterator[FrameSamples]:
        """Yield each frame of the source, with the samples that are complete now that it is there.

        A frame that stays on screen for more than 64 timestamps comes several times, with some of its samples each.
        """
        frame: StreamFrame | None = None
        for following in self._playback:
            if frame is not None:
                yield from self._pieces(frame, following.time)
            frame = following
        if frame is not None:
            yield from self._pieces(frame, frame.end, over=True)

    def _pieces(self, frame: StreamFrame, until: float, *, over: bool = False) -> Iterator[FrameSamples]:
        """Yield a frame with its samples, a piece of its time on screen after the other: until the next one comes."""
        self._watch(frame, until)
        length, reached = _PIECE * self._period, frame.time
        while until - reached > length:
            reached += length
            yield frame, tuple(self._complete(frame, reached))
        yield frame, tuple(self._complete(frame, until, over=over))

    def _complete(self, frame: StreamFrame, until: float, *, over: bool = False) -> Iterable[Sample]:
        """Note for which timestamps `frame` is on screen, up to a time, and yield the samples that are complete."""
        while self._next.first + TIME_TOLERANCE < until or (over and self._next.time + TIME_TOLERANCE < until):
            self._planned.append(self._next)
            for moments in self._next.moments.values():
                self._uses.update(moments)
                for moment in moments:
                    self._moments.setdefault(moment, None)
            self._next = self._plan(self._next.index + 1)
        last = max((sample.last for sample in self._planned if sample.time + TIME_TOLERANCE < until), default=until)
        end = max(until, last + 2 * TIME_TOLERANCE) if over else until
        for moment, known in self._moments.items():
            if known is None and moment[1] + TIME_TOLERANCE < end:
                kept = frame if self._moving is not None and isinstance(moment[0], bool) else None
                self._moments[moment] = _Known(frame.number, self._see(frame, *moment), kept)
        while self._planned and self._planned[0].time + TIME_TOLERANCE < until and self._is_known(self._planned[0]):
            yield self._take(self._planned.popleft(), frame)

    def _plan(self, index: int) -> _Planned:
        time = (index + 0.5) * self._period
        moments = {
            name: tuple(
                (name if name in self._observers else stream.gray, max(0.0, moment))
                for moment in stream.times(np.array([time]))[0].tolist()
            )
            for name, stream in self._streams.items()
        }
        every = [moment for each in moments.values() for _, moment in each]
        return _Planned(index, time, moments, min(every), max(every))

    def _is_known(self, sample: _Planned) -> bool:
        return all(self._moments[moment] is not None for each in sample.moments.values() for moment in each)

    def _take(self, sample: _Planned, frame: StreamFrame) -> Sample:
        images, seen = {}, {}
        for name, moments in sample.moments.items():
            known = [found for moment in moments if (found := self._moments[moment]) is not None]
            seen[name] = tuple(each.number for each in known)
            if name in self._observers:  # of the same frames at another time it may observe something else
                seen[name] = (*seen[name], sample.index)
                offsets = np.array([moment - sample.time for _, moment in moments])
                images[name] = with_offsets(torch.stack([each.image for each in known]), offsets)
                continue
            images[name] = self._combine(name, seen[name], torch.stack([each.image for each in known]))
        for moments in sample.moments.values():
            self._uses.subtract(moments)
            for moment in set(moments):
                if not self._uses[moment]:
                    del self._uses[moment], self._moments[moment]
        return Sample(sample.index, sample.time, images, seen, frame)

    def _combine(self, name: str, seen: tuple[int, ...], frames: Tensor) -> Tensor:
        """Return the image of a stream, uint8 (3, H, W), of its frames; of the same frames the same image."""
        made = self._made.get(name)
        if made is None or made[0] != seen:
            near = frames if self._light is None else self._light.stretch(frames)
            made = self._made[name] = (seen, self._streams[name].combine(near[None])[0])
        return made[1]

    def _see(self, frame: StreamFrame, kind: bool | str, time: float) -> Tensor:
        """Return what a sample needs of a frame, see `_Moment`."""
        if isinstance(kind, bool):
            return self._image(frame, gray=kind)
        observer = self._observers[kind]
        image = None if observer.size is None else self._playback.to_rgb(frame, size=observer.size)
        return observer.at(np.array([time]), image)[0]

    def _image(self, frame: StreamFrame, *, gray: bool) -> Tensor:
        if gray:
            if self._latest_gray is None or self._latest_gray[0] != frame.number:
                self._latest_gray = (frame.number, luma(self._image(frame, gray=False))[None])
            return self._latest_gray[1]
        if self._latest is None or self._latest[0] != frame.number:
            self._latest = (frame.number, self._cut(frame))
            if self._light is not None:
                self._light.add(self._image(frame, gray=True), frame.time)
        return self._latest[1]

    def _cut(self, frame: StreamFrame) -> Tensor:
        """Return the part of a frame that is read now, uint8 (3, H, W)."""
        return self._playback.to_rgb(
            frame,
            size=self._contract.size,
            fit=self._fit,
            interpolation=self._contract.interpolation,
            conversion=self._contract.conversion,
        )

    def _watch(self, frame: StreamFrame, until: float) -> None:
        """Look for movement in a frame; where another region is read from now on, cut it out of all known frames."""
        if self._moving is None or not self._moving.is_due(until):
            return
        small = self._playback.to_rgb(frame, size=THUMBNAIL, interpolation="area", conversion=self._contract.conversion)
        if not self._moving.add(small, frame.number, frame.time):
            return
        self._fit = self._moving.region or "stretch"
        self._latest = self._latest_gray = None
        made: dict[tuple[int, bool], Tensor] = {}
        for moment, known in self._moments.items():
            gray = moment[0]
            if known is None or known.frame is None or isinstance(gray, str):
                continue
            number = known.number
            if (number, False) not in made:
                made[number, False] = self._cut(known.frame)
            if gray and (number, True) not in made:
                made[number, True] = luma(made[number, False])[None]
            self._moments[moment] = _Known(number, made[number, gray], known.frame)


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
