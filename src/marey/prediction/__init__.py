"""Prediction: from clips, long videos and streams to labels with probabilities."""

from __future__ import annotations

from marey.prediction.pipeline import (
    ClipPipeline,
    Parts,
    Probabilities,
    Source,
    find_clips,
    mean_of_views,
    sort_by_probability,
)
from marey.prediction.predictor import Prediction, Predictor, prediction_of
from marey.prediction.search import Describer, Hit, Search, SummaryDescriber, window_of
from marey.prediction.segmentation import Segmentation, SegmentBuilder
from marey.prediction.stream import Inference, StreamPrediction
from marey.prediction.timeline import Timeline
from marey.prediction.words import WordDescriber, WordPredictor

__all__ = [
    "ClipPipeline",
    "Describer",
    "Hit",
    "Inference",
    "Parts",
    "Prediction",
    "Predictor",
    "Probabilities",
    "Search",
    "SegmentBuilder",
    "Segmentation",
    "Source",
    "StreamPrediction",
    "SummaryDescriber",
    "Timeline",
    "WordDescriber",
    "WordPredictor",
    "find_clips",
    "mean_of_views",
    "prediction_of",
    "sort_by_probability",
    "window_of",
]
