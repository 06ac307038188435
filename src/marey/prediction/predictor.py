"""Prediction with a trained model: clips in, labels with probabilities out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch

from marey.data import Clip
from marey.data.hashing import bytes_hash
from marey.encoders import Encoder, FeatureCache, Features, FrameOrder, Progress, clip_span, iterate_views
from marey.errors import ModelFormatError, UnknownNameError, UsageError, VideoError
from marey.models import ActionModel, load_model
from marey.prediction.clip_prediction import Prediction, prediction_of_answer
from marey.prediction.pipeline import (
    Answer,
    ClipPipeline,
    Frames,
    Probabilities,
    Source,
    Unknown,
    expand,
    mean_of_answers,
    mean_of_views,
)
from marey.prediction.promises import Promises, draw_of
from marey.prediction.segmentation import Segmentation
from marey.prediction.stream import Inference, OnFrame, StreamPrediction, stream_predict
from marey.prediction.timeline import Timeline, read_timeline, timeline_of_clip
from marey.remote_path import as_path
from marey.video import Limits, Playback, StreamFrame, is_live, open_live, play, probe, require_decoder

OnFeatures = Callable[[Clip, Features], None]


class Predictor:
    """A model and its encoder, ready to predict.

    Args:
        model: a model folder, a run with one in it, or a loaded model.
        encoder: the model's encoder, where it is loaded already.
        device: where the encoder runs.
        engine: what runs it, as for `marey.encoders.load_encoder`.
        cache: of features.
        limits: of decoding, each clip.

    Attributes:
        model: the loaded model.
        pipeline: the steps from a clip to probabilities, without a cache.

    Raises:
        ModelFormatError: the folder is not a model, or the encoder's weights are not those of the training.
        WeightsError: the encoder's weights cannot be loaded.
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
        self.pipeline = ClipPipeline(self.model, self._encoder)
        self._cache = cache or FeatureCache()
        self._limits = limits

    @property
    def encoder(self) -> Encoder:
        """The model's encoder."""
        return self._encoder

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
        unknown: Unknown = "mark",
        risk: float | None = None,
        sets: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_features: OnFeatures | None = None,
    ) -> list[Prediction]:
        """Label clips.

        Args:
            sources: one or several files, folders, glob patterns, clips (spans of files), or arrays of frames: uint8
                RGB, (T, H, W, 3) or (T, 3, H, W).
            frame_rate: of arrays, in frames per second.
            threshold: below this probability of the most probable class the label is None.
            unknown: "mark" labels clips that are unlike all training clips "unknown"; "never" gives them the most
                probable class. Models of earlier versions cannot tell them.
            risk: give answers only where at most this share of them is wrong, by the clips that were held out of the
                training: it sets the threshold (`marey.evaluation.control_risk`).
            sets: also give a set of labels that holds the true one with this probability
                (`marey.evaluation.PredictionSets`).
            on_progress: called after each file.
            on_features: called with each clip of a file that could be read, and the features of its first view.

        Returns:
            One prediction a clip, in the order of the sources. A file that is named twice comes once; of a clip that
            cannot be used, `reason` says why.

        Raises:
            UsageError: an array of another shape, no frame rate for one, a threshold outside [0, 1], another word for
                `unknown`, or a risk or sets of a model that keeps no answers for held-out clips.
            DatasetError: a folder without videos, or a pattern that matches nothing.
        """
        if not 0 <= threshold <= 1:
            raise UsageError(f"threshold={threshold:g}: a probability lies from 0 to 1")
        if unknown not in get_args(Unknown):
            raise UnknownNameError("value of unknown", unknown, get_args(Unknown))
        if risk is not None and threshold:
            raise UsageError(
                f"threshold={threshold:g} and risk={risk:g}: the risk chooses the threshold; leave one out"
            )
        label = partial(
            self._label, threshold=threshold, unknown=unknown, promises=Promises.of(self.model, risk=risk, sets=sets)
        )
        single = isinstance(sources, str | Path | Clip | np.ndarray | torch.Tensor)
        expanded = expand(cast("Iterable[Source]", [sources] if single else sources))
        clips = [one for one in expanded if isinstance(one, Clip)]
        if frame_rate is None and len(clips) < len(expanded):
            raise UsageError("frames in memory need their frame rate: predict(frames, frame_rate=25.0)")
        labelled = []
        for clip, views in self._read(clips, on_progress):
            labelled.append(label(clip.id, views, draw=draw_of(clip) if sets is not None else ""))
            if on_features is not None and not isinstance(views, VideoError):
                on_features(clip, views[0])
        results = iter(labelled)
        predictions: list[Prediction] = []
        arrays = 0
        for one in expanded:
            if isinstance(one, Clip):
                predictions.append(next(results))
            else:
                arrays += 1
                read = self._read_array(one, frame_rate)
                content = bytes_hash(np.ascontiguousarray(np.asarray(one)).tobytes()) if sets is not None else ""
                predictions.append(label(f"array {arrays}", read, draw=content))
        return predictions

    def _label(
        self,
        name: str,
        views: list[Features] | VideoError,
        *,
        threshold: float,
        unknown: Unknown,
        promises: Promises,
        draw: str,
    ) -> Prediction:
        """Return the prediction of a clip from the features of its views."""
        if isinstance(views, VideoError):
            return Prediction(name, (), (), views.reason, views.detail)
        found = mean_of_answers(self.pipeline.answers(views))
        return prediction_of_answer(
            name, self.model, found, threshold=threshold, unknown=unknown, promises=promises, draw=draw
        )

    def _read(
        self,
        clips: Sequence[Clip],
        on_progress: Callable[[Progress], None] | None,
        *,
        order: FrameOrder = "given",
    ) -> Iterator[tuple[Clip, list[Features] | VideoError]]:
        """Yield each clip with the features of its views, or why there are none."""
        views = self.pipeline.views
        found = iterate_views(
            [(clip, views) for clip in clips],
            self._encoder,
            self.model.config.contract,
            cache=self._cache,
            order=order,
            limits=self._limits,
            on_progress=on_progress,
        )
        for clip, result in zip(clips, found, strict=True):
            yield clip, result if isinstance(result, VideoError) else [result[view] for view in views]

    def _read_array(self, frames: Frames, frame_rate: float | None) -> list[Features] | VideoError:
        try:
            (parts,) = self.pipeline.encode([self.pipeline.decode(frames, frame_rate=frame_rate)])
        except VideoError as error:
            return error
        return self.pipeline.by_view(parts)

    def probabilities(
        self,
        clips: Sequence[Clip],
        *,
        order: FrameOrder = "given",
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[Probabilities | VideoError]:
        """Return the probabilities of each clip in the order of `labels`, or why there are none."""
        found = self.view_probabilities(clips, order=order, on_progress=on_progress)
        return [result if isinstance(result, VideoError) else mean_of_views(result) for result in found]

    def view_probabilities(
        self,
        clips: Sequence[Clip],
        *,
        order: FrameOrder = "given",
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[list[Probabilities] | VideoError]:
        """Return the probabilities of each view of each clip, or why there are none."""
        return [
            views if isinstance(views, VideoError) else self.pipeline.classify(views)
            for _, views in self._read(clips, on_progress, order=order)
        ]

    def view_answers(
        self,
        clips: Sequence[Clip],
        *,
        order: FrameOrder = "given",
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[list[Answer] | VideoError]:
        """Return the answers of the model and its members for each view of each clip, or why there are none."""
        return [
            views if isinstance(views, VideoError) else self.pipeline.answers(views, members=True)
            for _, views in self._read(clips, on_progress, order=order)
        ]

    def timeline(
        self,
        source: str | Path,
        *,
        segmentation: Segmentation = Segmentation(),  # noqa: B008 - frozen
        inference: Inference = "window",
        on_progress: Callable[[float], None] | None = None,
        memory: str | None = None,
    ) -> Timeline:
        """Label a long video over time, with a sliding window.

        Each frame is encoded once, however many windows contain it. Memory does not grow with the length of the
        video, except for the probabilities.

        Args:
            source: a video file.
            segmentation: windows, smoothing, and what is a segment.
            inference: "window", or "recurrent" for what `stream` predicts with a head that keeps a state.
            on_progress: called with the share that is done, from 0 to 1.
            memory: deprecated name of `inference`.

        Raises:
            VideoError: the file cannot be used.
            UsageError: a window that the model cannot have.
        """
        inference = _renamed(memory, inference)
        duration = max(probe(source, limits=self._limits).duration, 1e-6)

        def report(reached: float) -> None:
            if on_progress is not None:
                on_progress(min(1.0, reached / duration))

        with play(source, limits=self._limits) as playback:
            found = read_timeline(
                self.model,
                self._encoder,
                playback,
                source=str(source),
                rule=segmentation,
                inference=inference,
                on_time=report,
            )
        report(duration)
        return found if found is not None else self._of_short(as_path(source), segmentation)

    def _of_short(self, path: Path, rule: Segmentation) -> Timeline:
        """Label a video that is shorter than one window as a clip."""
        (result,) = self.view_answers([Clip(path)])
        if isinstance(result, VideoError):
            raise result
        _, duration = clip_span(Clip(path), self._limits)
        return timeline_of_clip(mean_of_answers(result), self.model, source=str(path), duration=duration, rule=rule)

    def stream(
        self,
        source: str | Path | Playback,
        *,
        segmentation: Segmentation = Segmentation(),  # noqa: B008 - frozen
        inference: Inference = "auto",
        on_frame: OnFrame | None = None,
        memory: str | None = None,
    ) -> Iterator[StreamPrediction]:
        """Predict while a source is played: a camera, a URL, a pipe, or a file.

            for prediction in model.stream("0"):
                print(prediction.time, prediction.label, prediction.confidence)

        Arguments and errors as for `stream_frames`, which also yields the frames.

        Args:
            source: as there, and so are the others.
            segmentation: windows, and how the label is kept steady.
            inference: "recurrent", "window", or "auto".
            on_frame: deprecated: use `stream_frames`. Called with each frame and the latest prediction.
            memory: deprecated name of `inference`.
        """
        if on_frame is not None:
            warnings.warn("on_frame: use Predictor.stream_frames, which yields them", DeprecationWarning, stacklevel=2)
        latest: StreamPrediction | None = None
        number = -1
        for frame, predictions in self.stream_frames(
            source, segmentation=segmentation, inference=_renamed(memory, inference)
        ):
            for latest in predictions:
                yield latest
            if on_frame is not None and frame.number != number:
                on_frame(frame, latest)
            number = frame.number

    def stream_frames(
        self,
        source: str | Path | Playback,
        *,
        segmentation: Segmentation = Segmentation(),  # noqa: B008 - frozen
        inference: Inference = "auto",
    ) -> Iterator[tuple[StreamFrame, list[StreamPrediction]]]:
        """Predict while a source is played, and yield each frame with the predictions that are new at it.

        The encoder sees no frame twice. A causal head takes one step a timestamp and keeps a state; other heads read a
        buffer of features of the latest window. A live source that is too fast loses its oldest frames, which are
        counted.

        Args:
            source: the number of a camera, rtsp://, http(s)://, "-" for standard input, a file, or what `marey.video`
                has opened.
            segmentation: windows, and how the label is kept steady.
            inference: "recurrent", "window", or "auto": recurrent where the head can.

        Yields:
            A frame, and the predictions since the frame before: mostly none or one. A frame that stays on screen for
            more than 64 timestamps comes several times, each with the predictions that are new.

        Raises:
            VideoError: the source cannot be used, or breaks off.
        """
        if isinstance(source, Playback):
            yield from stream_predict(self.model, self._encoder, source, rule=segmentation, inference=inference)
            return
        live = is_live(str(source))
        with open_live(str(source)) if live else play(source, limits=self._limits) as playback:
            yield from stream_predict(self.model, self._encoder, playback, rule=segmentation, inference=inference)

    def of_features(self, features: Features) -> Probabilities:
        """Return the probabilities of one view of a clip whose features are known: stream name to (T, D)."""
        return self.pipeline.classify([features])[0]


def _renamed(memory: str | None, inference: Inference) -> Inference:
    """Return `inference`, or what the older argument `memory` means."""
    if memory is None:
        return inference
    warnings.warn("memory is called inference now, and 'carried' 'recurrent'", DeprecationWarning, stacklevel=3)
    known: dict[str, Inference] = {"auto": "auto", "carried": "recurrent", "window": "window"}
    if memory not in known:
        raise UsageError(f"memory='{memory}' is none of {', '.join(known)}")
    return known[memory]
