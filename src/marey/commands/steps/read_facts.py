"""Sentences on what was read of a video: its frames, the timestamps, and the shape of the features."""

from __future__ import annotations

from marey.data import Clip
from marey.encoders import Contract, Features
from marey.prediction import Timeline
from marey.video import probe


def clip_read(clip: Clip, features: Features, contract: Contract, *, name: str) -> str:
    """Return what was read of a clip that was labelled as a whole.

    Args:
        clip: a span of a file.
        features: of one view, stream name to (T, D), or (T, C, H, W) of frames.
        contract: how it was read.
        name: of the clip.
    """
    shapes = "; ".join(f"{stream} {_shape(tuple(values.shape))}" for stream, values in features.items())
    kind = "frames" if contract.gives_images else f"features of {contract.encoder.name}"
    views = len(contract.testing.views)
    several = f", {views} views" if views > 1 else ""
    return f"{name}: {_video(clip)}; {contract.sampling.count} timestamps{several}; {kind}: {shapes}"


def timeline_read(clip: Clip, timeline: Timeline, contract: Contract) -> str:
    """Return what was read of a video that was watched over time."""
    return (
        f"{clip.id}: {_video(clip)}; windows of {timeline.window:.3g} s with {contract.sampling.count} timestamps; "
        f"{timeline.images:,} images encoded by {contract.encoder.name}; "
        f"probabilities {_shape(timeline.probabilities.shape)}"
    )


def _video(clip: Clip) -> str:
    info = probe(clip.path)
    frames = info.frame_count if info.frame_count is not None else round(info.duration * info.frame_rate)
    return f"{frames:,} frames of {info.width} x {info.height}, {info.frame_rate:.4g} a second, {info.duration:.2f} s"


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
