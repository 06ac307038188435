"""A trained model at work: clips in, labels with probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.data import Clip
from marey.encoders import (
    Encoder,
    FeatureCache,
    Features,
    FrameOrder,
    Progress,
    clip_span,
    iterate_views,
    read_frames,
)
from marey.errors import ModelFormatError, Reason, UsageError, VideoError
from marey.models import ActionModel, load_model
from marey.prediction.ranking import ranked
from marey.prediction.segmentation import Segmentation
from marey.prediction.sources import find_clips
from marey.prediction.stream import Memory, OnFrame, StreamPrediction, watch
from marey.prediction.timeline import Timeline, read_timeline, timeline_of_clip
from marey.video import Limits, Playback, is_live, open_live, play, probe, require_decoder

Source = str | Path | npt.NDArray[np.uint8] | torch.Tensor


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says to one clip.

    Attributes:
        source: the clip, as it was named.
        labels: the classes, most probable first; none where the clip cannot be used.
        probabilities: of those, in the same order.
        reason: why the clip cannot be used, as one word; None where it can.
        detail: the reason in words.
        threshold: below this probability of the most probable class it is none of the classes.
    """

    source: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    reason: Reason | None = None
    detail: str = ""
    threshold: float = 0.0

    @property
    def label(self) -> str | None:
        """The most probable class; None where its probability is below the threshold, or the clip cannot be used."""
        return self.labels[0] if self.labels and self.probabilities[0] >= self.threshold else None

    @property
    def confidence(self) -> float | None:
        """The probability of the most probable class, whatever the threshold."""
        return self.probabilities[0] if self.probabilities else None

    def top(self, k: int) -> tuple[tuple[str, float], ...]:
        """The `k` most probable classes with their probabilities."""
        return tuple(zip(self.labels[:k], self.probabilities[:k], strict=True))

    def as_dict(self, k: int) -> dict[str, Any]:
        """For JSON: source, label, confidence and the `k` most probable, or the reason why there are none.

        The label is None where it is none of the classes.
        """
        if self.reason is not None:
            return {"source": self.source, "reason": self.reason, "detail": self.detail}
        return {
            "source": self.source,
            "label": self.label,
            "confidence": self.confidence,
            "top": [[label, probability] for label, probability in self.top(k)],
        }


def prediction_of(
    source: str, labels: Sequence[str], probabilities: Sequence[float], *, threshold: float = 0.0
) -> Prediction:
    """Return the prediction of a clip whose probabilities are known, in the order of the model's labels."""
    order = ranked(labels, probabilities)
    return Prediction(
        source, tuple(label for label, _ in order), tuple(share for _, share in order), threshold=threshold
    )


class Predictor:
    """A model folder, its encoder, and the way from a clip to probabilities that evaluation takes as well.

    Args:
        model: a model folder, a run with one in it, or a model that is loaded already.
        encoder: the model's, where it is loaded already.
        device: where the encoder runs.
        engine: what runs it, as for `marey.encoders.load_encoder`.
        cache: of features.
        limits: of decoding, each clip.

    Raises:
        ModelFormatError: the folder is no model, or the encoder's weights are not those that it was trained on.
        WeightsError: the encoder's weights cannot be had.
        UsageError: the decoder that its clips are read with cannot be used here.
    """

    def __init__(
        self,
        model: str | Path | ActionModel,
        *,
        encoder: Encoder | None = None,
        device: str = "cpu",
        engine: str | None = None,
        cache: FeatureCache | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.model = model if isinstance(model, ActionModel) else load_model(model)
        contract = self.model.config.contract
        require_decoder(contract.sampling.decoder)
        self._encoder = encoder or self.model.load_encoder(device=device, engine=engine)
        if self._encoder.hash != contract.encoder_hash:
            raise ModelFormatError(
                f"the model was trained on features of {contract.encoder.name} with weights "
                f"{contract.encoder_hash}, and the weights here are {self._encoder.hash}: its answers would mean "
                "nothing; install the weights that it was trained with, or train it again"
            )
        self._cache = cache or FeatureCache()
        self._limits = limits

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of `probabilities`."""
        return self.model.labels

    def predict(
        self,
        sources: Source | Iterable[Source],
        *,
        frame_rate: float | None = None,
        threshold: float = 0.0,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[Prediction]:
        """Label clips.

        Args:
            sources: one or several files, folders, glob patterns, or arrays of frames: uint8 RGB, (T, H, W, 3) or
                (T, 3, H, W).
            frame_rate: of arrays, in frames per second.
            threshold: below this probability of the most probable class it is none of the classes: the label is None.
            on_progress: called after each file.

        Returns:
            A prediction a clip, each file once, in the order of the sources; one that cannot be used says why in
            `reason`.

        Raises:
            UsageError: an array of another shape, no frame rate for one, or a threshold that is no probability.
            DatasetError: a folder without videos, or a pattern that matches nothing.
        """
        if not 0 <= threshold <= 1:
            raise UsageError(f"threshold={threshold:g}: a probability lies from 0 to 1")
        several = [sources] if isinstance(sources, str | Path | np.ndarray | torch.Tensor) else list(sources)
        given: list[Clip | npt.NDArray[np.uint8] | torch.Tensor] = []
        named: set[Path] = set()
        for source in several:
            if isinstance(source, str | Path):
                given += [clip for clip in find_clips([source]) if clip.path not in named]
                named.update(clip.path for clip in given if isinstance(clip, Clip))
            else:
                given.append(source)
        if frame_rate is None and len(named) < len(given):
            raise UsageError("frames in memory need their frame rate: predict(frames, frame_rate=25.0)")
        clips = [clip for clip in given if isinstance(clip, Clip)]
        results = iter(self.probabilities(clips, on_progress=on_progress))
        predictions: list[Prediction] = []
        arrays = 0
        for what in given:
            if isinstance(what, Clip):
                predictions.append(self._prediction(what.id, next(results), threshold))
            else:
                arrays += 1
                found = self._of_array(what, frame_rate or 0.0)
                predictions.append(self._prediction(f"array {arrays}", found, threshold))
        return predictions

    def probabilities(
        self,
        clips: Sequence[Clip],
        *,
        order: FrameOrder = "given",
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[tuple[float, ...] | VideoError]:
        """For each clip its probabilities in the order of `labels`, or why there are none."""
        found = self.view_probabilities(clips, order=order, on_progress=on_progress)
        return [result if isinstance(result, VideoError) else mean_of_views(result) for result in found]

    def view_probabilities(
        self,
        clips: Sequence[Clip],
        *,
        order: FrameOrder = "given",
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[list[tuple[float, ...]] | VideoError]:
        """For each clip the probabilities of each way in which the contract has it read, or why there are none."""
        views = self.model.config.contract.testing.views
        found = iterate_views(
            [(clip, views) for clip in clips],
            self._encoder,
            self.model.config.contract,
            cache=self._cache,
            order=order,
            limits=self._limits,
            on_progress=on_progress,
        )
        return [
            result if isinstance(result, VideoError) else [self.of_features(result[view]) for view in views]
            for result in found
        ]

    def timeline(
        self,
        source: str | Path,
        *,
        segmentation: Segmentation = Segmentation(),  # noqa: B008 - frozen
        memory: Memory = "window",
        on_progress: Callable[[float], None] | None = None,
    ) -> Timeline:
        """What happens when in a long video.

        Windows slide over it, and each instant is encoded once, however many windows it lies in. Memory does not grow
        with the length of the video, but for the probabilities.

        Args:
            source: a video file.
            segmentation: windows, smoothing, and what is a segment.
            memory: "window", or "carried" for what `stream` says with a head that keeps a state.
            on_progress: called with the share that is done, from 0 to 1.

        Raises:
            VideoError: the file cannot be used.
            UsageError: a window that the model cannot have.
        """
        duration = max(probe(source, limits=self._limits).duration, 1e-6)

        def said(reached: float) -> None:
            if on_progress is not None:
                on_progress(min(1.0, reached / duration))

        with play(source, limits=self._limits) as playback:
            found = read_timeline(
                self.model,
                self._encoder,
                playback,
                source=str(source),
                rule=segmentation,
                memory=memory,
                on_instant=said,
            )
        said(duration)
        return found if found is not None else self._of_short(Path(source), segmentation)

    def _of_short(self, path: Path, rule: Segmentation) -> Timeline:
        """A video that is shorter than one window is a clip."""
        (result,) = self.probabilities([Clip(path)])
        if isinstance(result, VideoError):
            raise result
        _, duration = clip_span(Clip(path), self._limits)
        return timeline_of_clip(result, self.model, source=str(path), duration=duration, rule=rule)

    def stream(
        self,
        source: str | Path | Playback,
        *,
        segmentation: Segmentation = Segmentation(),  # noqa: B008 - frozen
        memory: Memory = "auto",
        on_frame: OnFrame | None = None,
    ) -> Iterator[StreamPrediction]:
        """Answers while a source is played: a camera, an address, a pipe, or a file.

            for prediction in model.stream("0"):
                print(prediction.time, prediction.label, prediction.confidence)

        The encoder sees no frame twice. Heads that keep a state take one step an instant, others are asked about a ring
        of features of the latest window. A live source that is too fast loses its oldest frames, which are counted.

        Args:
            source: the number of a camera, rtsp://, http(s)://, "-" for standard input, a file, or what `marey.video`
                has opened.
            segmentation: windows, and how the label is kept steady.
            memory: "carried", "window", or "auto": carried where the head can.
            on_frame: called with each frame and the latest answer.

        Raises:
            VideoError: the source cannot be used, or breaks off.
        """
        rule = segmentation
        if isinstance(source, Playback):
            yield from watch(self.model, self._encoder, source, rule=rule, memory=memory, on_frame=on_frame)
            return
        live = is_live(str(source))
        with open_live(str(source)) if live else play(source, limits=self._limits) as playback:
            yield from watch(self.model, self._encoder, playback, rule=rule, memory=memory, on_frame=on_frame)

    def of_features(self, features: Features) -> tuple[float, ...]:
        """Probabilities of a clip whose features are known."""
        return tuple(self.model.probabilities(features).tolist())

    def _of_array(
        self, array: npt.NDArray[np.uint8] | torch.Tensor, frame_rate: float
    ) -> tuple[float, ...] | VideoError:
        contract = self.model.config.contract
        found = []
        try:
            for view in contract.testing.views:
                pictures = read_frames(array, contract, frame_rate=frame_rate, view=view)
                encoded = self._encoder.encode_clips(torch.stack(list(pictures.values())))
                found.append(self.of_features(dict(zip(pictures, encoded, strict=True))))
        except VideoError as error:
            return error
        return mean_of_views(found)

    def _prediction(self, source: str, result: tuple[float, ...] | VideoError, threshold: float) -> Prediction:
        if isinstance(result, VideoError):
            return Prediction(source, (), (), result.reason, result.detail)
        return prediction_of(source, self.labels, result, threshold=threshold)


def mean_of_views(probabilities: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """What several readings of a clip say together: the mean of their probabilities."""
    if len(probabilities) == 1:
        return probabilities[0]
    return tuple(np.mean(probabilities, axis=0).tolist())
