"""Ways of watching a video: whole, by windows, or frame by frame."""

from __future__ import annotations

from typing import Any, Literal

from marey.data import Clip
from marey.prediction.predictor import Predictor
from marey.prediction.segmentation import Segmentation
from marey.prediction.single_frames import label_single_frames
from marey.prediction.timeline import Timeline
from marey.video import probe

Way = Literal["clip", "window", "frame", "single frames"]
"""A label a clip, windows over a video, windows with an answer for each frame, or each frame by itself."""


def timeline_of(predictor: Predictor, clip: Clip, way: Way, rule: Segmentation, **options: Any) -> Timeline:
    """Return the timeline of a video.

    Args:
        predictor: the model.
        clip: the video.
        way: of watching it; not "clip".
        rule: windows and what is a segment.
        options: of `Predictor.timeline`, such as `on_progress`.

    Raises:
        VideoError: it cannot be used.
    """
    if way == "frame" and rule.stride is None:
        rule = rule.model_copy(update={"stride": 1 / probe(clip.path).frame_rate})
    if way == "single frames":
        return label_single_frames(predictor.pipeline, clip.path, segmentation=rule, **options)
    return predictor.timeline(clip.path, segmentation=rule, **options)
