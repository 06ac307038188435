"""Trained models at work."""

from __future__ import annotations

from marey.prediction.predictor import Prediction, Predictor, Source, mean_of_views
from marey.prediction.sources import find_clips

__all__ = ["Prediction", "Predictor", "Source", "find_clips", "mean_of_views"]
