"""Trained models at work."""

from __future__ import annotations

from marey.prediction.predictor import Prediction, Predictor, Source, mean_of_views, prediction_of
from marey.prediction.ranking import ranked
from marey.prediction.segmentation import Segmentation
from marey.prediction.sources import find_clips
from marey.prediction.stream import Memory, StreamPrediction
from marey.prediction.timeline import Timeline

__all__ = [
    "Memory",
    "Prediction",
    "Predictor",
    "Segmentation",
    "Source",
    "StreamPrediction",
    "Timeline",
    "find_clips",
    "mean_of_views",
    "prediction_of",
    "ranked",
]
