"""Prediction: from clips, long videos and streams to labels with probabilities."""

from __future__ import annotations

from marey.prediction.clip_prediction import Prediction, prediction_of, prediction_of_answer
from marey.prediction.explainer import explain_clip
from marey.prediction.explanation import MEANING, Explanation, SpanAnswer, StreamShare
from marey.prediction.pipeline import (
    UNKNOWN,
    Answer,
    ClipPipeline,
    Parts,
    Probabilities,
    Source,
    Unknown,
    find_clips,
    mean_of_answers,
    mean_of_views,
    sort_by_probability,
)
from marey.prediction.predictor import Predictor
from marey.prediction.promises import Promises, draw_of
from marey.prediction.search import Describer, Hit, Search, SummaryDescriber, window_of
from marey.prediction.segmentation import Segmentation, SegmentBuilder
from marey.prediction.single_frames import label_single_frames
from marey.prediction.stream import Inference, StreamPrediction
from marey.prediction.timeline import Timeline
from marey.prediction.watching import Way, timeline_of
from marey.prediction.words import WordDescriber, WordPredictor

__all__ = [
    "MEANING",
    "UNKNOWN",
    "Answer",
    "ClipPipeline",
    "Describer",
    "Explanation",
    "Hit",
    "Inference",
    "Parts",
    "Prediction",
    "Predictor",
    "Probabilities",
    "Promises",
    "Search",
    "SegmentBuilder",
    "Segmentation",
    "Source",
    "SpanAnswer",
    "StreamPrediction",
    "StreamShare",
    "SummaryDescriber",
    "Timeline",
    "Unknown",
    "Way",
    "WordDescriber",
    "WordPredictor",
    "draw_of",
    "explain_clip",
    "find_clips",
    "label_single_frames",
    "mean_of_answers",
    "mean_of_views",
    "prediction_of",
    "prediction_of_answer",
    "sort_by_probability",
    "timeline_of",
    "window_of",
]
