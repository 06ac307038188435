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
from marey.encoders.contract import Contract, FrameOrder, View, read_clip
from marey.encoders.frame import FrameEncoder
from marey.errors import VideoError
from marey.video import Limits

Features = dict[str, Tensor]
"""Stream name to float32 (T, D)."""

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


@dataclass(slots=True)
class _Job:
    """One clip on its way: what is known, and what has still to be encoded."""

    keys: dict[str, str]
    features: Features
    pictures: dict[str, Tensor] = field(default_factory=dict)


def extract(
    clips: Sequence[Clip],
    encoder: FrameEncoder,
    contract: Contract,
    *,
    cache: FeatureCache,
    view: View = View(),  # noqa: B008 - frozen
    order: FrameOrder = "given",
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Features | VideoError]:
    """The features of clips, in their order; a clip that cannot be used gives its error in its place.

    Decoding runs ahead of the encoder by a few clips, so memory does not grow with their number or length.

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
    results: list[Features | VideoError] = []
    cached = failed = 0

    def prepare(clip: Clip) -> _Job:
        content = content_hash(clip.path)
        keys = {
            stream: cache.key(clip, contract, stream, content=content, view=view, order=order)
            for stream in contract.streams
        }
        found = {stream: cache.get(key) for stream, key in keys.items()}
        job = _Job(keys, {stream: value for stream, value in found.items() if value is not None})
        missing = tuple(stream for stream in keys if stream not in job.features)
        if missing:
            job.pictures = read_clip(clip, contract, streams=missing, view=view, order=order, limits=limits)
        return job

    for job in _ahead(prepare, clips):
        if isinstance(job, VideoError):
            failed += 1
            results.append(job)
        else:
            cached += not job.pictures
            results.append(_encode(job, encoder, contract, cache))
        if on_progress is not None:
            on_progress(Progress(len(results), len(clips), cached, failed))
    return results


def _encode(job: _Job, encoder: FrameEncoder, contract: Contract, cache: FeatureCache) -> Features:
    if job.pictures:
        counts = [len(pictures) for pictures in job.pictures.values()]
        encoded = encoder.encode(torch.cat(list(job.pictures.values()))).split(counts)
        for stream, features in zip(job.pictures, encoded, strict=True):
            job.features[stream] = features.clone()
            cache.put(job.keys[stream], job.features[stream])
    return {stream: job.features[stream] for stream in contract.streams}


def _ahead(prepare: Callable[[Clip], _Job], clips: Sequence[Clip]) -> Iterator[_Job | VideoError]:
    """Prepare clips on threads, a few ahead of the one that is asked for, in order."""
    waiting: deque[Future[_Job]] = deque()
    rest = iter(clips)
    with ThreadPoolExecutor(_DECODERS, thread_name_prefix="marey-decode") as pool:
        try:
            for clip in rest:
                waiting.append(pool.submit(prepare, clip))
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
