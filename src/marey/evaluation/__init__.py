"""What a model is worth on a test set: its predictions, the metrics, and how far both can be trusted."""

from __future__ import annotations

from marey.evaluation.calibration import Reliability, expected_calibration_error, fit_temperature, reliability
from marey.evaluation.comparison import Answers, Difference, OrderEffect, Pooled, difference, holm, pool
from marey.evaluation.cost import count_flops
from marey.evaluation.evaluation import Evaluation, Row, leak_sentence
from marey.evaluation.intervals import Interval, Resampling, bootstrap, macro_f1_of
from marey.evaluation.metrics import METRICS, Metric, MetricRow, ScoredClips, metric_rows, register_metric
from marey.evaluation.scoring import FAILED, ClassScores, Metrics, score
from marey.evaluation.segment_counts import F1_AT, TIOU
from marey.evaluation.segments import (
    NO_LABEL,
    SegmentClassScores,
    SegmentInterval,
    SegmentScores,
    VideoScores,
    score_segments,
)
from marey.evaluation.tables import read_predictions, write_metrics, write_predictions

__all__ = [
    "F1_AT",
    "FAILED",
    "METRICS",
    "NO_LABEL",
    "TIOU",
    "Answers",
    "ClassScores",
    "Difference",
    "Evaluation",
    "Interval",
    "Metric",
    "MetricRow",
    "Metrics",
    "OrderEffect",
    "Pooled",
    "Reliability",
    "Resampling",
    "Row",
    "ScoredClips",
    "SegmentClassScores",
    "SegmentInterval",
    "SegmentScores",
    "VideoScores",
    "bootstrap",
    "count_flops",
    "difference",
    "expected_calibration_error",
    "fit_temperature",
    "holm",
    "leak_sentence",
    "macro_f1_of",
    "metric_rows",
    "pool",
    "read_predictions",
    "register_metric",
    "reliability",
    "score",
    "score_segments",
    "write_metrics",
    "write_predictions",
]
