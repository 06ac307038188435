"""From clips to features: what is cached is read, the rest is decoded and encoded, side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from marey.data import Clip, content_hash
from marey.encoders.cache import FeatureCache
from marey.encoders.contract import Contract, FrameOrder, View, read_clip_views
from marey.encoders.encoder import Encoder
from marey.errors import VideoError
from marey.video import Limits

Features = dict[str, Tensor]
"""Stream name to float32 (T, D), or to the pictures themselves, uint8 (T, C, H, W)."""

Reading = tuple[Clip, tuple[View, ...]]
"""A clip, and the ways in which it is read."""

_DECODERS: Final = 2
_AHEAD: Final = 4  # clips that wait, decoded, for the encoder: memory is bounded by this, not by the data set


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
    """One clip on its way: what is known, and what has still to be encoded."""

    keys: dict[_Part, str]
    features: dict[_Part, Tensor]
    pictures: dict[_Part, Tensor] = field(default_factory=dict)


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

    def prepare(reading: Reading) -> _Job:
        clip, views = reading
        content = content_hash(clip.path)
        keys = {
            (view, stream): cache.key(clip, contract, stream, content=content, view=view, order=order)
            for view in views
            for stream in contract.streams
        }
        known = {part: cache.get(key, mapped=contract.gives_pictures) for part, key in keys.items()}
        job = _Job(keys, {part: value for part, value in known.items() if value is not None})
        missing = [part for part in keys if part not in job.features]
        wanted = {view: tuple(stream for other, stream in missing if other == view) for view, _ in missing}
        if wanted:
            read = read_clip_views(clip, contract, wanted, order=order, limits=limits)
            job.pictures = {(view, stream): read[view][stream] for view, stream in missing}
        return job

    for done, job in enumerate(_ahead(prepare, readings), start=1):
        result: dict[View, Features] | VideoError
        if isinstance(job, VideoError):
            failed += 1
            result = job
        else:
            cached += not job.pictures
            result = _encode(job, encoder, cache, mapped=contract.gives_pictures)
        if on_progress is not None:
            on_progress(Progress(done, len(readings), cached, failed))
        yield result


def _encode(job: _Job, encoder: Encoder, cache: FeatureCache, *, mapped: bool) -> dict[View, Features]:
    if job.pictures:
        encoded = encoder.encode_clips(torch.stack(list(job.pictures.values())))
        for part, features in zip(job.pictures, encoded, strict=True):
            cache.put(job.keys[part], features)
            kept = cache.get(job.keys[part], mapped=True) if mapped else features.clone()
            job.features[part] = features if kept is None else kept
    found: dict[View, Features] = {}
    for view, stream in job.keys:
        found.setdefault(view, {})[stream] = job.features[view, stream]
    return found


def _ahead(prepare: Callable[[Reading], _Job], readings: Sequence[Reading]) -> Iterator[_Job | VideoError]:
    """Prepare clips on threads, a few ahead of the one that is asked for, in order."""
    waiting: deque[Future[_Job]] = deque()
    with ThreadPoolExecutor(_DECODERS, thread_name_prefix="marey-decode") as pool:
        try:
            for reading in readings:
                waiting.append(pool.submit(prepare, reading))
                if len(waiting) >= _AHEAD:
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()


def _result(future: Future[_Job]) -> _Job | VideoError:
    try:
        return future.result()
    except VideoError as error:
        return error
