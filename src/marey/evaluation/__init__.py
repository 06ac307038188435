"""Evaluation: metrics of predictions, their intervals, calibration, comparisons."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from marey.evaluation.calibration import Reliability, expected_calibration_error, fit_temperature, reliability
from marey.evaluation.comparison import (
    Difference,
    OrderEffect,
    PooledScores,
    RankedRecipe,
    RunResults,
    difference,
    holm,
    pool,
    rank_recipes,
)
from marey.evaluation.cost import Cost, count_flops
from marey.evaluation.evaluation import ClipResult, Evaluation, leak_warning
from marey.evaluation.intervals import Bootstrap, Interval, bootstrap, macro_f1_of
from marey.evaluation.io import read_predictions, write_metrics, write_predictions
from marey.evaluation.metrics import (
    METRICS,
    Metric,
    MetricRow,
    ScoredClips,
    compute_metrics,
    metric_rows,
    register_metric,
)
from marey.evaluation.scoring import FAILED, ClassScores, Metrics, score
from marey.evaluation.segment_metrics import F1_AT, TIOU
from marey.evaluation.segments import (
    NO_LABEL,
    SegmentClassScores,
    SegmentInterval,
    SegmentScores,
    VideoScores,
    score_segments,
)
from marey.evaluation.stream_selection import StreamRow, StreamScore, StreamSelection, reasons
from marey.evaluation.untrimmed_evaluation import PlayedVideo, UntrimmedEvaluation

for _module in iter_modules(__path__):  # a new file registers its metrics by being there
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "F1_AT",
    "FAILED",
    "METRICS",
    "NO_LABEL",
    "TIOU",
    "Bootstrap",
    "ClassScores",
    "ClipResult",
    "Cost",
    "Difference",
    "Evaluation",
    "Interval",
    "Metric",
    "MetricRow",
    "Metrics",
    "OrderEffect",
    "PlayedVideo",
    "PooledScores",
    "RankedRecipe",
    "Reliability",
    "RunResults",
    "ScoredClips",
    "SegmentClassScores",
    "SegmentInterval",
    "SegmentScores",
    "StreamRow",
    "StreamScore",
    "StreamSelection",
    "UntrimmedEvaluation",
    "VideoScores",
    "bootstrap",
    "compute_metrics",
    "count_flops",
    "difference",
    "expected_calibration_error",
    "fit_temperature",
    "holm",
    "leak_warning",
    "macro_f1_of",
    "metric_rows",
    "pool",
    "rank_recipes",
    "read_predictions",
    "reasons",
    "register_metric",
    "reliability",
    "score",
    "score_segments",
    "write_metrics",
    "write_predictions",
]
