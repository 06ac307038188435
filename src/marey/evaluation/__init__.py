"""Evaluation: metrics of predictions, their intervals, calibration, comparisons."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from marey.evaluation.calibration import (
    Reliability,
    calibrated_error,
    expected_calibration_error,
    fit_temperature,
    reliability,
    uncalibrated,
)
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
from marey.evaluation.data_findings import DataFindings
from marey.evaluation.evaluation import ClipResult, Evaluation, leak_warning
from marey.evaluation.faithfulness import Faithfulness, faithfulness
from marey.evaluation.guarantees import Guarantees, measure_guarantees
from marey.evaluation.intervals import Bootstrap, Interval, bootstrap, macro_f1_of
from marey.evaluation.io import PROBABILITY, read_predictions, write_metrics, write_predictions
from marey.evaluation.label_errors import SuspectLabel, find_label_errors
from marey.evaluation.learning_curve import (
    FEWEST_SIZES,
    WORTH,
    CurvePoint,
    LearningCurve,
    Trial,
    curve_sizes,
    learning_curve,
)
from marey.evaluation.metrics import (
    METRICS,
    Metric,
    MetricRow,
    ScoredClips,
    compute_metrics,
    metric_rows,
    register_metric,
)
from marey.evaluation.near_duplicates import NearDuplicate, find_near_duplicates, likeness, propose_pairs
from marey.evaluation.prediction_sets import LEVEL, PredictionSets
from marey.evaluation.risk_control import RISK, RiskControl, control_risk
from marey.evaluation.scoring import FAILED, ClassScores, Metrics, score
from marey.evaluation.seeds import SeedAnswers
from marey.evaluation.segment_metrics import F1_AT, TIOU
from marey.evaluation.segments import (
    NO_LABEL,
    SegmentClassScores,
    SegmentInterval,
    SegmentScores,
    VideoScores,
    score_segments,
)
from marey.evaluation.shifts import ShiftResult
from marey.evaluation.stream_selection import HeldOut, StreamRow, StreamScore, StreamSelection, reasons
from marey.evaluation.typicality import ClassClips, typical_and_odd
from marey.evaluation.unknown import (
    LeftOutClass,
    Selective,
    UnknownActions,
    auroc,
    false_positives,
    left_out_class,
    selective,
    share_with_interval,
)
from marey.evaluation.untrimmed_evaluation import PlayedVideo, UntrimmedEvaluation

for _module in iter_modules(__path__):  # a new file registers its metrics by being there
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "F1_AT",
    "FAILED",
    "FEWEST_SIZES",
    "LEVEL",
    "METRICS",
    "NO_LABEL",
    "PROBABILITY",
    "RISK",
    "TIOU",
    "WORTH",
    "Bootstrap",
    "ClassClips",
    "ClassScores",
    "ClipResult",
    "Cost",
    "CurvePoint",
    "DataFindings",
    "Difference",
    "Evaluation",
    "Faithfulness",
    "Guarantees",
    "HeldOut",
    "Interval",
    "LearningCurve",
    "LeftOutClass",
    "Metric",
    "MetricRow",
    "Metrics",
    "NearDuplicate",
    "OrderEffect",
    "PlayedVideo",
    "PooledScores",
    "PredictionSets",
    "RankedRecipe",
    "Reliability",
    "RiskControl",
    "RunResults",
    "ScoredClips",
    "SeedAnswers",
    "SegmentClassScores",
    "SegmentInterval",
    "SegmentScores",
    "Selective",
    "ShiftResult",
    "StreamRow",
    "StreamScore",
    "StreamSelection",
    "SuspectLabel",
    "Trial",
    "UnknownActions",
    "UntrimmedEvaluation",
    "VideoScores",
    "auroc",
    "bootstrap",
    "calibrated_error",
    "compute_metrics",
    "control_risk",
    "count_flops",
    "curve_sizes",
    "difference",
    "expected_calibration_error",
    "faithfulness",
    "false_positives",
    "find_label_errors",
    "find_near_duplicates",
    "fit_temperature",
    "holm",
    "leak_warning",
    "learning_curve",
    "left_out_class",
    "likeness",
    "macro_f1_of",
    "measure_guarantees",
    "metric_rows",
    "pool",
    "propose_pairs",
    "rank_recipes",
    "read_predictions",
    "reasons",
    "register_metric",
    "reliability",
    "score",
    "score_segments",
    "selective",
    "share_with_interval",
    "typical_and_odd",
    "uncalibrated",
    "write_metrics",
    "write_predictions",
]
