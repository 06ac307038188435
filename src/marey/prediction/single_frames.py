"""Prediction for each frame of a video by itself: the baseline that sees no movement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from marey.prediction.pipeline import ClipPipeline, Parts, mean_of_views
from marey.prediction.segmentation import Segmentation, find_segments
from marey.prediction.timeline import Timeline
from marey.video import Limits, Playback, StreamFrame, play, probe

_BATCH: Final = 16  # frames that are encoded together


def label_single_frames(
    pipeline: ClipPipeline,
    source: str | Path,
    *,
    segmentation: Segmentation = Segmentation(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[float], None] | None = None,
) -> Timeline:
    """Label each frame of a video as a clip in which nothing moves: that frame and no other.

    Karpathy et al., Large-scale Video Classification with Convolutional Neural Networks, CVPR 2014, call it the
    single-frame baseline. Probabilities are not averaged over time; streams of movement see none.

    Args:
        pipeline: model and encoder.
        source: a video file.
        segmentation: what is a segment; its window, stride and smoothing are not used.
        limits: of decoding.
        on_progress: called with the share that is done, from 0 to 1.

    Returns:
        The timeline: a timestamp for each frame, when it appears.

    Raises:
        VideoError: the file cannot be used.
        UsageError: the model reads the key frames of files.
    """
    model, encoder = pipeline.model, pipeline.encoder
    assert encoder is not None  # noqa: S101 - a pipeline without one has features
    duration = max(probe(source, limits=limits).duration, 1e-6)
    before, end = encoder.images, 0.0
    times: list[float] = []
    rows: list[tuple[float, ...]] = []
    with play(source, limits=limits) as playback:
        clips = _still_clips(pipeline, playback)
        while some := list(islice(clips, _BATCH)):
            for (frame, _), parts in zip(some, _encode(pipeline, [parts for _, parts in some]), strict=True):
                times.append(frame.time)
                rows.append(mean_of_views(pipeline.classify(parts)))
                end = frame.end
            if on_progress is not None:
                on_progress(min(1.0, end / duration))
    found, at = np.asarray(rows, dtype=np.float64), np.asarray(times, dtype=np.float64)
    return Timeline(
        source=str(source),
        duration=end,
        labels=model.labels,
        times=at,
        probabilities=found.astype(np.float32),
        segments=find_segments(found, at, model.labels, duration=end, rule=segmentation),
        window=end / len(times),
        images=encoder.images - before,
    )


def _still_clips(pipeline: ClipPipeline, playback: Playback) -> Iterator[tuple[StreamFrame, Parts]]:
    """Yield each frame, and the clip that is made of it, read as the contract has it."""
    sampling = pipeline.model.config.contract.sampling
    # A dense sampling asks for a length: the frame stands still for so long.
    copies, rate = (1, playback.frame_rate) if sampling.rate is None else (sampling.count, sampling.rate)
    for frame in playback:
        image = playback.to_rgb(frame, size=playback.size)
        yield frame, pipeline.decode(image[None].expand(copies, *image.shape), frame_rate=rate)


def _encode(pipeline: ClipPipeline, clips: list[Parts]) -> list[Parts]:
    """Encode clips; an image that a clip repeats is encoded once, where each image is encoded by itself."""
    assert pipeline.encoder is not None  # noqa: S101 - asked before
    alike = all(torch.equal(part, part[:1].expand_as(part)) for parts in clips for part in parts.values())
    if not pipeline.encoder.per_image or not alike:
        return pipeline.encode(clips)
    first = pipeline.encode([{key: part[:1] for key, part in parts.items()} for parts in clips])
    return [
        {key: _repeat(values, len(parts[key])) for key, values in encoded.items()}
        for parts, encoded in zip(clips, first, strict=True)
    ]


def _repeat(values: Tensor, count: int) -> Tensor:
    return values.expand(count, *values.shape[1:])
