"""From clips to features: what is cached is read, the rest is decoded and encoded, several clips at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final, Protocol

import torch
from torch import Tensor

from marey.data import Clip, content_hash
from marey.encoders.cache import Claim, FeatureCache
from marey.encoders.contract import Contract, FrameOrder, View, read_clip_views
from marey.encoders.encoder import Encoder
from marey.errors import VideoError
from marey.video import Limits

Features = dict[str, Tensor]
"""Stream name to float32 (T, D), or to the pictures themselves, uint8 (T, C, H, W)."""

Reading = tuple[Clip, tuple[View, ...]]
"""A clip, and the ways in which it is read."""

_MOST_WORKERS: Final = 16  # each has a batch in memory
_AHEAD: Final = 2  # clips a worker that wait for whoever asked: memory is bounded by this, not by the data set
_LOOK_AHEAD: Final = 256  # clips that are looked through for one which no other process has in hand
_FILL: Final = 128  # pictures that a GPU is given at once


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an extraction has come.

    Attributes:
        done: clips that are through, cached and failed ones among them.
        total: clips in all.
        cached: clips whose features were there already.
        failed: clips that cannot be used.
    """

    done: int
    total: int
    cached: int
    failed: int


_Part = tuple[View, str]
"""One stream of one reading of a clip: what is encoded, and cached, by itself."""


@dataclass(slots=True)
class _Job:
    """One clip on its way.

    Attributes:
        keys: where its parts are in the cache.
        features: what is known of them.
        cached: whether all was known from the beginning.
        pictures: what has still to be encoded.
        claim: held meanwhile, so that no other process does the same.
        elsewhere: whether another process has it in hand.
    """

    keys: dict[_Part, str]
    features: dict[_Part, Tensor]
    cached: bool
    pictures: dict[_Part, Tensor] = field(default_factory=dict)
    claim: Claim | None = None
    elsewhere: bool = False

    @property
    def found(self) -> dict[View, Features]:
        """View to stream to features, once it is through."""
        views: dict[View, Features] = {}
        for view, stream in self.keys:
            views.setdefault(view, {})[stream] = self.features[view, stream]
        return views

    def release(self) -> None:
        """Let others have it."""
        if self.claim is not None:
            self.claim.release()
            self.claim = None


class _Step(Protocol):
    """What a worker does with a clip."""

    def __call__(self, reading: Reading, *, insist: bool = False) -> _Job:
        """Take a clip on; one that another process has in hand is left to it, unless it is insisted on."""


def extract(
    clips: Sequence[Clip],
    encoder: Encoder,
    contract: Contract,
    *,
    cache: FeatureCache,
    view: View = View(),  # noqa: B008 - frozen
    order: FrameOrder = "given",
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Features | VideoError]:
    """The features of clips, in their order; a clip that cannot be used gives its error in its place.

    Args:
        clips: what to read.
        encoder: the frozen network.
        contract: how a clip becomes its input.
        cache: where features are looked up and kept.
        view: which reading of the clips.
        order: the order of their frames.
        limits: of decoding, each clip.
        on_progress: called after each clip.

    Returns:
        For each clip its features, stream name to float32 (T, D), or the `VideoError` that says why there are none.
    """
    readings = [(clip, (view,)) for clip in clips]
    found = iterate_views(readings, encoder, contract, cache=cache, order=order, limits=limits, on_progress=on_progress)
    return [result if isinstance(result, VideoError) else result[view] for result in found]


def iterate_views(
    readings: Sequence[Reading],
    encoder: Encoder,
    contract: Contract,
    *,
    cache: FeatureCache,
    order: FrameOrder = "given",
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[dict[View, Features] | VideoError]:
    """The features of clips that are read in one or several ways each, clip by clip, in their order.

    Decoding runs ahead of the encoder by a few clips. A clip and its mirror image are decoded once. Whoever keeps
    nothing of it needs no more memory for more clips.

    Args:
        readings: clips, and in which ways each is read.
        encoder: as for `extract`, and so are the others.
        contract: how a clip becomes its input.
        cache: where features are looked up and kept.
        order: the order of their frames.
        limits: of decoding, each clip.
        on_progress: called after each clip.

    Yields:
        For each clip the features of its readings, or the `VideoError` that says why there are none.
    """
    cached = failed = 0
    extraction = _Extraction(encoder, contract, cache, order, limits)
    for done, job in enumerate(extraction.jobs(readings), start=1):
        if isinstance(job, VideoError):
            failed += 1
        else:
            cached += job.cached
        if on_progress is not None:
            on_progress(Progress(done, len(readings), cached, failed))
        yield job if isinstance(job, VideoError) else job.found


class _Extraction:
    """Looks clips up, decodes and encodes them, in the way that suits the device.

    On a processor each worker does whole clips, on a core of its own. All cores on one batch would wait for each other
    at each layer, and for the decoder's thread: two cores took 1.6 times as long. A GPU is fed by all cores, and its
    batches are filled across clips.
    """

    def __init__(
        self, encoder: Encoder, contract: Contract, cache: FeatureCache, order: FrameOrder, limits: Limits
    ) -> None:
        self._encoder = encoder
        self._contract = contract
        self._cache = cache
        self._order = order
        self._limits = limits

    def jobs(self, readings: Sequence[Reading]) -> Iterator[_Job | VideoError]:
        """What became of each clip, in their order."""
        if self._encoder.device.type == "cpu":
            return _ahead(self._prepare_and_encode, readings)
        return self._filling_batches(_ahead(self._prepare, readings))

    def _prepare_and_encode(self, reading: Reading, *, insist: bool = False) -> _Job:
        job = self._prepare(reading, insist=insist)
        self._encode([job])
        return job

    def _prepare(self, reading: Reading, *, insist: bool = False) -> _Job:
        """Look a clip up; decode it where that is not enough, and where it is free."""
        clip, views = reading
        content = content_hash(clip.path)
        keys = {
            (view, stream): self._cache.key(
                clip,
                self._contract,
                stream,
                content=content,
                view=view,
                order=self._order,
                engine=self._encoder.cache_tag,
            )
            for view in views
            for stream in self._contract.streams
        }
        features = self._known(keys)
        job = _Job(keys, features, cached=len(features) == len(keys))
        if job.cached:
            return job
        patience = 2 * self._limits.timeout if insist else 0.0
        job.claim = self._cache.claim(next(iter(keys.values())), patience=patience)
        if job.claim is None and not insist:
            job.elsewhere = True
            return job
        try:
            job.features = self._known(keys)  # by now another process may have done it
            missing = [part for part in keys if part not in job.features]
            wanted = {view: tuple(stream for other, stream in missing if other == view) for view, _ in missing}
            if wanted:
                read = read_clip_views(clip, self._contract, wanted, order=self._order, limits=self._limits)
                job.pictures = {(view, stream): read[view][stream] for view, stream in missing}
        except BaseException:
            job.release()
            raise
        job.cached = not job.pictures
        return job

    def _known(self, keys: dict[_Part, str]) -> dict[_Part, Tensor]:
        known = {part: self._cache.get(key, mapped=self._contract.gives_pictures) for part, key in keys.items()}
        return {part: features for part, features in known.items() if features is not None}

    def _encode(self, jobs: Sequence[_Job]) -> None:
        """Encode what jobs still need, in one go, and keep it."""
        parts = [(job, part) for job in jobs for part in job.pictures]
        try:
            if parts:
                encoded = self._encoder.encode_clips(torch.stack([job.pictures[part] for job, part in parts]))
                for (job, part), features in zip(parts, encoded, strict=True):
                    job.features[part] = self._keep(job.keys[part], features)
        finally:
            for job in jobs:
                job.pictures = {}
                job.release()

    def _keep(self, key: str, features: Tensor) -> Tensor:
        self._cache.put(key, features)
        kept = self._cache.get(key, mapped=True) if self._contract.gives_pictures else features.clone()
        return features if kept is None else kept

    def _filling_batches(self, jobs: Iterator[_Job | VideoError]) -> Iterator[_Job | VideoError]:
        """Encode clips together until a batch is full; the same clips always make the same batches."""
        group: list[_Job | VideoError] = []
        try:
            for job in jobs:
                group.append(job)
                pictures = sum(len(part) for each in _readable(group) for part in each.pictures.values())
                if pictures == 0 or pictures >= _FILL:
                    self._encode(_readable(group))
                    yield from group
                    group = []
            self._encode(_readable(group))
            yield from group
        finally:
            for left in _readable(group):
                left.release()


def _ahead(step: _Step, readings: Sequence[Reading]) -> Iterator[_Job | VideoError]:
    """Take clips on a few ahead of the one that is asked for, and hand them out in order.

    A clip that another process has in hand takes no place among them, and is looked at again when nothing else is left
    to do: then it is in the cache, or the other process is no more.
    """
    threads = torch.get_num_threads()
    workers = max(1, min(threads, len(readings), _MOST_WORKERS))
    rest = iter(readings)
    waiting: deque[tuple[Reading, Future[_Job]]] = deque()
    with ThreadPoolExecutor(workers, "marey-extract", torch.set_num_threads, (threads // workers,)) as pool:
        try:
            while True:
                while (
                    len(waiting) < _LOOK_AHEAD and sum(not _elsewhere(each) for _, each in waiting) < _AHEAD * workers
                ):
                    following = next(rest, None)
                    if following is None:
                        break
                    waiting.append((following, pool.submit(step, following)))
                if not waiting:
                    return
                reading, future = waiting[0]
                wait([future])
                if not _elsewhere(future):
                    waiting.popleft()
                    yield _result(future)
                elif busy := [each for _, each in waiting if not each.done()]:
                    wait(busy, return_when=FIRST_COMPLETED)
                else:
                    waiting[0] = reading, pool.submit(step, reading, insist=True)
        finally:
            for _, each in waiting:
                each.cancel()
            torch.set_num_threads(threads)  # PyTorch takes what the workers set for that of threads to come


def _elsewhere(future: Future[_Job]) -> bool:
    return future.done() and future.exception() is None and future.result().elsewhere


def _result(future: Future[_Job]) -> _Job | VideoError:
    try:
        return future.result()
    except VideoError as error:
        return error


def _readable(jobs: Sequence[_Job | VideoError]) -> list[_Job]:
    return [job for job in jobs if isinstance(job, _Job)]
