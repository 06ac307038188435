"""From a source that is read once to the pictures at evenly spaced instants, each made once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import torch
from torch import Tensor

from marey.encoders import Contract, Stream
from marey.errors import VideoError
from marey.video import Playback, PlayedFrame

T = TypeVar("T")

_TOLERANCE: Final = 1e-6  # s: as decoding has it, an instant computed from a timestamp means that frame


@dataclass(frozen=True, slots=True)
class Instant:
    """One look at a source.

    Attributes:
        index: counted from 0.
        time: seconds from the first frame.
        pictures: stream name to uint8 (3, H, W).
        seen: stream name to the numbers of the frames that its picture was made of.
        frame: the latest frame that was needed.
    """

    index: int
    time: float
    pictures: Mapping[str, Tensor]
    seen: Mapping[str, tuple[int, ...]]
    frame: PlayedFrame


class Sampler:
    """What is on screen at the instants (index + 1/2) x period, as the streams of a contract.

    Streams that compare frames look `offset` seconds before and after an instant, past the ends of any window, up to
    the ends of the source. Memory holds the small pictures of moments that are not complete yet, and one frame.

        frames    |0    |1    |2    |3    |4
        instants     ^     ^     ^     ^         each is known once the frame after it has come
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
        self._shown: tuple[int, Tensor] | None = None

    def __iter__(self) -> Iterator[tuple[PlayedFrame, tuple[Instant, ...]]]:
        """Each frame of the source, with the instants that are complete now that it is there."""
        frame: PlayedFrame | None = None
        for following in self._playback:
            if frame is not None:
                yield frame, tuple(self._complete(frame, following.time))
            frame = following
        if frame is not None:
            yield frame, tuple(self._complete(frame, frame.end, over=True))

    def _complete(self, frame: PlayedFrame, until: float, *, over: bool = False) -> Iterable[Instant]:
        """Note the moments at which `frame` is on screen, which is until the next one comes."""
        for offset in self._offsets:
            while True:
                index = self._next[offset]
                instant = (index + 0.5) * self._period
                moment = max(0.0, instant + offset)
                if until <= moment + _TOLERANCE and not (over and instant + _TOLERANCE < until):
                    break
                self._known[offset, index] = (frame.number, self._picture(frame))
                self._next[offset] += 1
        while all((offset, self._index) in self._known for offset in self._offsets):
            yield self._take(frame)

    def _take(self, frame: PlayedFrame) -> Instant:
        known = {offset: self._known.pop((offset, self._index)) for offset in self._offsets}
        pictures, seen = {}, {}
        for name, stream in self._streams.items():
            seen[name] = tuple(known[offset][0] for offset in stream.offsets)
            frames = torch.stack([known[offset][1] for offset in stream.offsets])
            pictures[name] = stream.combine(frames.unsqueeze(0))[0]
        found = Instant(self._index, (self._index + 0.5) * self._period, pictures, seen, frame)
        self._index += 1
        return found

    def _picture(self, frame: PlayedFrame) -> Tensor:
        if self._shown is None or self._shown[0] != frame.number:
            picture = self._playback.picture(
                frame, size=self._contract.size, fit=self._contract.fit, interpolation=self._contract.interpolation
            )
            self._shown = (frame.number, picture)
        return self._shown[1]


def gathered(
    watched: Iterable[tuple[PlayedFrame, tuple[Instant, ...]]], size: int
) -> Iterator[tuple[PlayedFrame, list[Instant]]]:
    """Instants in batches of at least `size`, the last one whatever is left, each with the latest frame."""
    batch: list[Instant] = []
    last: PlayedFrame | None = None
    for frame, instants in watched:
        last = frame
        batch += instants
        if len(batch) >= size:
            yield frame, batch
            batch = []
    if last is not None:
        yield last, batch


def in_groups(
    watched: Iterable[tuple[PlayedFrame, tuple[Instant, ...]]], size: int
) -> Iterator[list[tuple[PlayedFrame, tuple[Instant, ...]]]]:
    """So many frames at a time with their instants, at last whatever is left; an error comes after what was read."""
    group: list[tuple[PlayedFrame, tuple[Instant, ...]]] = []
    try:
        for each in watched:
            group.append(each)
            if len(group) == size:
                yield group
                group = []
    except VideoError:
        if group:
            yield group
        raise
    if group:
        yield group


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items in their order, the next one already in the making on a thread while one is worked on."""
    end = object()
    iterator = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="marey-watch") as pool:
        waiting = pool.submit(next, iterator, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, iterator, end)
            yield cast(T, item)
