"""Feature extraction: cached clips are read, the others decoded and encoded, several clips at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final, Protocol

import torch
from torch import Tensor

from marey.data import Clip, content_hash
from marey.encoders.cache import FeatureCache, Lock
from marey.encoders.cache_entry import Expected, is_finite
from marey.encoders.clip_reader import read_clip_views
from marey.encoders.contract import Contract, FrameOrder, View
from marey.encoders.encoder import Encoder
from marey.encoders.feature_streams import FeatureStream, encode_parts
from marey.errors import VideoError
from marey.remote_path import is_remote
from marey.video import Limits

Features = dict[str, Tensor]
"""Stream name to float32 (T, D), or to raw frames, uint8 (T, C, H, W)."""

Reading = tuple[Clip, tuple[View, ...]]
"""A clip and its views."""

_MAX_WORKERS: Final = 16  # each has a batch in memory
_PREFETCH: Final = 2  # clips a worker that are finished ahead: memory is bounded by it, not by the data set
_LOOK_AHEAD: Final = 256  # clips that are searched for one that no other process has locked
_BATCH: Final = 128  # images of a batch on a GPU


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of an extraction.

    Attributes:
        done: clips that are finished, cached and failed ones among them.
        total: clips in all.
        cached: clips whose features were in the cache.
        failed: clips that cannot be used.
    """

    done: int
    total: int
    cached: int
    failed: int


_Part = tuple[View, str]
"""One stream of one view of a clip: the unit of encoding and caching."""


@dataclass(slots=True)
class _Job:
    """One clip in work.

    Attributes:
        clip: the clip.
        keys: of its parts in the cache.
        features: of the parts that are finished.
        cached: True if all parts were in the cache.
        images: of the parts that have still to be encoded, or the observations of a `FeatureStream`.
        lock: held meanwhile, so that no other process does the same.
        locked_by_other: True if another process works on it.
        changed: True if its file changed while it was read: its features are not those of the file that was hashed.
        fault: why its features cannot be used.
    """

    clip: Clip
    keys: dict[_Part, str]
    features: dict[_Part, Tensor]
    cached: bool
    images: dict[_Part, Tensor] = field(default_factory=dict)
    lock: Lock | None = None
    locked_by_other: bool = False
    changed: bool = False
    fault: VideoError | None = None

    @property
    def found(self) -> dict[View, Features]:
        """View to stream to features, once it is finished."""
        views: dict[View, Features] = {}
        for view, stream in self.keys:
            views.setdefault(view, {})[stream] = self.features[view, stream]
        return views

    def release(self) -> None:
        """Release the lock."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None


class _Step(Protocol):
    """The work of a thread on a clip."""

    def __call__(self, reading: Reading, *, insist: bool = False) -> _Job:
        """Process a clip; one that another process has locked is left to it, unless `insist` is set."""


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
    """Return the features of clips, in their order; a clip that cannot be used gives its error in its place.

    Args:
        clips: to be read.
        encoder: the frozen network.
        contract: how a clip becomes its input.
        cache: of features.
        view: the reading of the clips.
        order: of their frames.
        limits: of decoding, each clip.
        on_progress: called after each clip.

    Returns:
        For each clip its features, stream name to float32 (T, D), or the `VideoError` of one that cannot be used.
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
    """Yield the features of clips in one or several views each, clip by clip, in their order.

    Decoding runs ahead of the encoder by a few clips. A clip and its mirror image are decoded once. Memory does not
    grow with the number of clips.

    Args:
        readings: clips and their views.
        encoder: the frozen network.
        contract: how a clip becomes its input.
        cache: of features.
        order: of their frames.
        limits: of decoding, each clip.
        on_progress: called after each clip.

    Yields:
        For each clip the features of its views, or the `VideoError` of one that cannot be used.
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


def part_keys(
    reading: Reading, contract: Contract, cache: FeatureCache, *, content: str, order: FrameOrder, engine: str
) -> dict[tuple[View, str], str]:
    """Return the keys of a clip's features in the cache, by view and stream.

    Args:
        reading: the clip and its views.
        contract: how a clip becomes features.
        cache: of features.
        content: hash of the video file.
        order: of the frames.
        engine: see `Encoder.cache_tag`.
    """
    clip, views = reading
    return {
        (view, stream): cache.key(clip, contract, stream, content=content, view=view, order=order, engine=engine)
        for view in views
        for stream in contract.streams
    }


def result_keys(
    reading: Reading,
    result: object,
    encoder: Encoder,
    contract: Contract,
    cache: FeatureCache,
    *,
    order: FrameOrder,
) -> dict[tuple[View, str], str]:
    """Return the keys in the cache of what `iterate_views` gave for a clip, by view and stream.

    Args:
        reading: the clip and its views.
        result: its features, or why there are none.
        encoder: that made them.
        contract: how a clip becomes features.
        cache: of features.
        order: of the frames.

    Raises:
        VideoError: the clip cannot be used; or its file has gone meanwhile.
    """
    if isinstance(result, VideoError):
        raise result
    content = content_hash(reading[0].path)
    return part_keys(reading, contract, cache, content=content, order=order, engine=encoder.cache_tag)


class _Extraction:
    """Lookup, decoding and encoding of clips, in the way that suits the device.

    On a CPU each worker does whole clips on a core of its own: all cores on one batch would wait for each other at
    each layer, and for the decoder's thread (1.6 times as long on two cores). A GPU is fed by all cores, and its
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
        images = torch.uint8 if contract.gives_images else torch.float32
        self._expected = {
            name: Expected(torch.float32 if isinstance(stream, FeatureStream) else images, contract.shape_of(name))
            for name, stream in contract.streams.items()
        }

    def jobs(self, readings: Sequence[Reading]) -> Iterator[_Job | VideoError]:
        """Yield clips that are finished, in their order."""
        if self._encoder.device.type == "cpu":
            return _prefetch(self._prepare_and_encode, readings)
        return self._filling_batches(_prefetch(self._prepare, readings))

    def _prepare_and_encode(self, reading: Reading, *, insist: bool = False) -> _Job:
        job = self._prepare(reading, insist=insist)
        self._encode([job])
        if job.fault is not None:
            raise job.fault
        return job

    def _prepare(self, reading: Reading, *, insist: bool = False) -> _Job:
        """Look a clip up; decode it where something is missing, and no other process works on it."""
        clip, _ = reading
        content = content_hash(clip.path)
        keys = part_keys(
            reading, self._contract, self._cache, content=content, order=self._order, engine=self._encoder.cache_tag
        )
        features = self._known(keys)
        job = _Job(clip, keys, features, cached=len(features) == len(keys))
        if job.cached:
            return job
        timeout = 2 * self._limits.timeout if insist else 0.0
        job.lock = self._cache.lock(next(iter(keys.values())), timeout=timeout)
        if job.lock is None and not insist:
            job.locked_by_other = True
            return job
        try:
            job.features = self._known(keys)  # another process may have finished it meanwhile
            missing = [part for part in keys if part not in job.features]
            wanted = {view: tuple(stream for other, stream in missing if other == view) for view, _ in missing}
            if wanted:
                read = read_clip_views(clip, self._contract, wanted, order=self._order, limits=self._limits)
                job.images = {(view, stream): read[view][stream] for view, stream in missing}
                job.changed = content_hash(clip.path) != content
                if job.changed and is_remote(clip.path):  # its parts may be of two versions
                    raise VideoError(clip.path, "changed", "it was replaced while it was read: run it again")
        except BaseException:
            job.release()
            raise
        job.cached = not job.images
        return job

    def _known(self, keys: dict[_Part, str]) -> dict[_Part, Tensor]:
        known = {}
        for part, key in keys.items():
            features = self._cache.get(key, mapped=self._contract.gives_images, expected=self._expected[part[1]])
            if features is not None:
                known[part] = features
        return known

    def _encode(self, jobs: Sequence[_Job]) -> None:
        """Encode the missing parts of jobs in one batch, and store them."""
        parts = [(job, part) for job in jobs for part in job.images]
        try:
            if parts:
                given = [(part[1], job.images[part]) for job, part in parts]
                encoded = encode_parts(self._encoder, self._contract.streams, given)
                for (job, part), features in zip(parts, encoded, strict=True):
                    self._keep(job, part, features)
        finally:
            for job in jobs:
                job.images = {}
                job.release()

    def _keep(self, job: _Job, part: _Part, features: Tensor) -> None:
        """Give features to their clip and to the cache; a clip with some that are not finite cannot be used."""
        key, images = job.keys[part], self._contract.gives_images
        if not is_finite(features):
            detail = f"the encoder gives numbers for it that are not finite (stream '{part[1]}')"
            job.fault = VideoError(job.clip.id, "not_finite", detail)
            return
        if not job.changed:
            self._cache.keep(key, features)
        kept = self._cache.get(key, mapped=True) if images and not job.changed else features.clone()
        job.features[part] = features if kept is None else kept

    def _filling_batches(self, jobs: Iterator[_Job | VideoError]) -> Iterator[_Job | VideoError]:
        """Encode clips together until a batch is full; the same clips always make the same batches."""
        group: list[_Job | VideoError] = []
        try:
            for job in jobs:
                group.append(job)
                images = sum(len(part) for each in _readable(group) for part in each.images.values())
                if images == 0 or images >= _BATCH:
                    self._encode(_readable(group))
                    yield from map(_or_fault, group)
                    group = []
            self._encode(_readable(group))
            yield from map(_or_fault, group)
        finally:
            for left in _readable(group):
                left.release()


def _prefetch(step: _Step, readings: Sequence[Reading]) -> Iterator[_Job | VideoError]:
    """Process clips a few ahead of the one that is consumed, and yield them in order.

    A clip that another process has locked does not count, and is looked at again when nothing else is left to do:
    then it is in the cache, or the other process has ended.
    """
    threads = torch.get_num_threads()
    workers = max(1, min(threads, len(readings), _MAX_WORKERS))
    rest = iter(readings)
    waiting: deque[tuple[Reading, Future[_Job]]] = deque()
    with ThreadPoolExecutor(workers, "marey-extract", torch.set_num_threads, (threads // workers,)) as pool:
        try:
            while True:
                while (
                    len(waiting) < _LOOK_AHEAD
                    and sum(not _locked_by_other(each) for _, each in waiting) < _PREFETCH * workers
                ):
                    following = next(rest, None)
                    if following is None:
                        break
                    waiting.append((following, pool.submit(step, following)))
                if not waiting:
                    return
                reading, future = waiting[0]
                wait([future])
                if not _locked_by_other(future):
                    waiting.popleft()
                    yield _result(future)
                elif busy := [each for _, each in waiting if not each.done()]:
                    wait(busy, return_when=FIRST_COMPLETED)
                else:
                    waiting[0] = reading, pool.submit(step, reading, insist=True)
        finally:
            for _, each in waiting:
                each.cancel()
            torch.set_num_threads(threads)  # new threads inherit the number that was set last, by the workers


def _locked_by_other(future: Future[_Job]) -> bool:
    return future.done() and future.exception() is None and future.result().locked_by_other


def _result(future: Future[_Job]) -> _Job | VideoError:
    try:
        return future.result()
    except VideoError as error:
        return error


def _or_fault(job: _Job | VideoError) -> _Job | VideoError:
    return job if isinstance(job, VideoError) or job.fault is None else job.fault


def _readable(jobs: Sequence[_Job | VideoError]) -> list[_Job]:
    return [job for job in jobs if isinstance(job, _Job)]
