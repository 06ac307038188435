"""Prediction on a cluster: clips or whole videos go to actors, probabilities come back."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marey.cluster.model_files import ModelFiles
from marey.data import Clip
from marey.encoders import Encoder, FeatureCache
from marey.errors import UsageError, VideoError
from marey.models import ActionModel
from marey.prediction import Prediction, Predictor, Segmentation, Timeline, Way, timeline_of


@dataclass(frozen=True)
class Labelling:
    """All that an actor needs to know for labelling videos.

    Attributes:
        model: the files of the model.
        device: where its encoder runs.
        engine: what runs it; None to choose on the node.
        way: of watching a video.
        rules: arguments of `Predictor.predict`, for clips.
        rule: windows and what is a segment, for the others.
    """

    model: ModelFiles
    device: str
    engine: str | None
    way: Way
    rules: dict[str, Any]
    rule: Segmentation

    @classmethod
    def of(
        cls,
        model: ActionModel,
        encoder: Encoder,
        *,
        device: str,
        engine: str | None,
        way: Way,
        rules: dict[str, Any],
        rule: Segmentation,
    ) -> Labelling:
        """Return what labels videos as a model does in this process.

        Args:
            model: loaded here.
            encoder: its encoder, whose engine the actors take, where they have the same kind of device.
            device: of the actors.
            engine: that was asked for, which counts where they have another.
            way: of watching a video.
            rules: arguments of `Predictor.predict`.
            rule: windows and what is a segment.
        """
        chosen = (encoder.engine or None) if encoder.device.type == device else engine
        return cls(ModelFiles.of(model), device, chosen, way, rules, rule)

    def start(self) -> LabellingWork:
        """Load the model, in an actor."""
        return LabellingWork(self)


Labelled = Prediction | Timeline
"""The answer for a clip; the timeline of a video, or why there is none."""


class LabellingWork:
    """The work of an actor that labels videos."""

    note = ""

    def __init__(self, job: Labelling) -> None:
        self._job = job
        try:
            self._predictor = Predictor(job.model.load(), device=job.device, engine=job.engine, cache=FeatureCache())
        except UsageError as error:
            raise UsageError(f"{socket.gethostname()}: {error}") from error

    def run(self, items: Sequence[Clip]) -> list[Labelled]:
        """Return the answer for each clip or video."""
        if self._job.way == "clip":
            return list(self._predictor.predict(items, **self._job.rules))
        return [self._watch(clip) for clip in items]

    def _watch(self, clip: Clip) -> Labelled:
        try:
            return timeline_of(self._predictor, clip, self._job.way, self._job.rule)
        except VideoError as error:
            return Prediction(str(clip.path), (), (), error.reason, error.detail)
