"""Scores of the segments found in long videos: over time, as segments, and as detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from marey.data import Segment
from marey.errors import UsageError
from marey.evaluation.intervals import LEVEL, RESAMPLES, Bootstrap, as_list, draws, few_note, percentiles, single_note
from marey.evaluation.metrics import MetricRow
from marey.evaluation.segment_metrics import (
    F1_AT,
    TIOU,
    Floats,
    average_precisions,
    edit_score,
    f1_of,
    segment_tables,
    time_table,
)

NO_LABEL: Final = "(none)"
"""Name in tables of the time in which there is none of the classes."""


@dataclass(frozen=True, slots=True)
class SegmentClassScores:
    """Scores of one class; None where it does not occur in the truth.

    Attributes:
        label: the class.
        segments: true segments of it.
        found: predicted segments of it.
        seconds: of true time.
        time_precision: share of its predicted time that is true; None where there is none.
        time_recall: share of its true time that is predicted.
        f1: per cent of overlap -> F1 of the segments.
        average_precision: overlap -> average precision.
        mistaken_for: the label that its time is most often confused with, and for how many seconds; None where never.
    """

    label: str
    segments: int
    found: int
    seconds: float
    time_precision: float | None
    time_recall: float | None
    f1: dict[int, float | None]
    average_precision: dict[float, float | None]
    mistaken_for: tuple[str, float] | None


@dataclass(frozen=True, slots=True)
class VideoScores:
    """Scores of one video.

    Attributes:
        frame_accuracy: share of its time with the right label.
        f1: per cent of overlap -> F1 of its segments.
        edit: 1 minus the edits from the predicted labels to the true ones, as a share of the longer list.
    """

    frame_accuracy: float
    f1: dict[int, float]
    edit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentInterval(Bootstrap):
    """Intervals of two metrics.

    Attributes:
        frame_accuracy: low and high end, or None where there is nothing to resample.
        f1: of F1@50, likewise.
    """

    frame_accuracy: tuple[float, float] | None
    f1: tuple[float, float] | None


@dataclass(frozen=True)
class SegmentScores:
    """Scores of the segments found in a set of long videos.

    Attributes:
        videos: name of each video -> its own scores, by name.
        seconds: of all videos together.
        segments: true segments.
        found: predicted segments.
        frame_accuracy: share of all time in which the label is right, or rightly none.
        unlabelled: share of all time in which none of the classes is true.
        majority_baseline: frame accuracy of always predicting the most frequent label, or none.
        f1: per cent of overlap -> F1 of the segments of all videos.
        edit: mean of the videos' edit scores.
        mean_ap: overlap -> mean over the classes of their average precision; None where there is no true segment.
        interval: bootstrap intervals of frame accuracy and F1@50.
        classes: the scores of each class, by name.
    """

    videos: dict[str, VideoScores]
    seconds: float
    segments: int
    found: int
    frame_accuracy: float
    unlabelled: float
    majority_baseline: float
    f1: dict[int, float]
    edit: float
    mean_ap: dict[float, float | None]
    interval: SegmentInterval
    classes: tuple[SegmentClassScores, ...]

    @property
    def majority(self) -> float:
        """Deprecated: `majority_baseline`."""
        return self.majority_baseline

    def __repr__(self) -> str:
        """Show the main numbers, and no table."""
        return (
            f"SegmentScores(frame_accuracy={self.frame_accuracy:.3f}, f1_50={self.f1[50]:.3f}, edit={self.edit:.3f}, "
            f"videos={len(self.videos)}, segments={self.segments}, found={self.found})"
        )

    @property
    def rows(self) -> list[MetricRow]:
        """The rows of a table of these scores."""
        span = self.interval
        meaning = "share of all time in which the label is right, or rightly none"
        rows = [MetricRow("frame_accuracy", "frame accuracy", self.frame_accuracy, span.frame_accuracy, meaning)]
        for at, value in self.f1.items():
            meaning = f"segments found and not invented, from {at}\N{NO-BREAK SPACE}% of overlap on"
            rows.append(MetricRow(f"f1_{at}", f"F1@{at}", value, span.f1 if at == 50 else None, meaning, at == 50))
        rows.append(MetricRow("edit", "edit score", self.edit, None, "whether the actions come in the right order"))
        for tiou, mean in self.mean_ap.items():
            meaning = f"from {tiou:.0%} of overlap on, the most confident segments first"
            rows.append(MetricRow(f"map_{tiou:g}", f"mAP at tIoU {tiou:g}", mean, None, meaning))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        span = self.interval
        return {
            "videos": len(self.videos),
            "seconds": self.seconds,
            "segments": self.segments,
            "found": self.found,
            "frame_accuracy": self.frame_accuracy,
            "frame_accuracy_interval": as_list(span.frame_accuracy),
            "unlabelled": self.unlabelled,
            "majority_baseline": self.majority_baseline,
            "f1": {str(at): value for at, value in self.f1.items()},
            "f1_50_interval": as_list(span.f1),
            "edit": self.edit,
            "mean_ap": {str(at): value for at, value in self.mean_ap.items()},
            "interval": span.as_dict(),
            "per_class": {
                row.label: {
                    "segments": row.segments,
                    "found": row.found,
                    "seconds": row.seconds,
                    "time_precision": row.time_precision,
                    "time_recall": row.time_recall,
                    "f1": {str(at): value for at, value in row.f1.items()},
                    "average_precision": {str(at): value for at, value in row.average_precision.items()},
                }
                for row in self.classes
            },
            "per_video": {
                name: {
                    "frame_accuracy": video.frame_accuracy,
                    "f1": {str(at): value for at, value in video.f1.items()},
                    "edit": video.edit,
                }
                for name, video in self.videos.items()
            },
        }


def score_segments(
    found: Mapping[str, Sequence[Segment]],
    truth: Mapping[str, Sequence[Segment]],
    durations: Mapping[str, float],
    *,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> SegmentScores:
    """Score predicted segments of long videos.

    *Frame accuracy* is exact: the share of all seconds in which the label is the true one, or rightly none. Where
    true segments overlap, each of their labels is right; of overlapping predictions the most confident counts. Time
    after the end of a video is left out.

    *Segmental F1@k* (Lea et al., Temporal Convolutional Networks for Action Segmentation and Detection, CVPR 2017;
    Farha and Gall, MS-TCN, CVPR 2019): a predicted segment is compared with the true one of its label that it
    overlaps most; where intersection over union is k % or more, that one is found, once. Counts are over all videos.
    Time without label is not scored. Two segments of one label that touch are two.

    *Edit score* (Lea et al., Segmental Spatiotemporal CNNs, ECCV 2016): the Levenshtein distance of the two lists of
    labels, as a share of the longer list, taken from 1; the mean over the videos.

    *Mean average precision* (Caba Heilbron et al., ActivityNet, CVPR 2015): the detections of a class are ranked by
    confidence; each takes the best true segment that is still free and overlaps enough; interpolated precision.

    Args:
        found: video -> predicted segments; a video that is not named has none.
        truth: video -> true segments, likewise.
        durations: video -> seconds; names every video.
        groups: video -> group that is resampled as one; a video that is not named is a group of its own. None: videos.
        seed: of the resampling.

    Raises:
        UsageError: no videos, a duration that is not positive, or segments of a video without one.
    """
    names = sorted(durations)
    _check(found, truth, durations)
    labels = sorted({segment.label for side in (found, truth) for name in side for segment in side[name]})
    sides = [(sorted(found.get(name, ()), key=_in_time), sorted(truth.get(name, ()), key=_in_time)) for name in names]

    # (videos, true label or none, predicted label or none) in seconds, and (videos, classes, thresholds) in segments
    time = np.array([time_table(*side, durations[name], labels) for name, side in zip(names, sides, strict=True)])
    hits, support, predicted = segment_tables(sides, labels)
    edits = [edit_score(*side) for side in sides]
    seconds = time.sum(axis=(1, 2))
    right = np.trace(time, axis1=1, axis2=2)
    per_video = {
        name: VideoScores(
            float(right[row] / seconds[row]),
            dict(
                zip(F1_AT, f1_of(hits[row].sum(axis=0), support[row].sum(), predicted[row].sum()).tolist(), strict=True)
            ),
            edits[row],
        )
        for row, name in enumerate(names)
    }
    precision = {label: average_precisions(dict(zip(names, sides, strict=True)), label) for label in labels}
    known = [label for index, label in enumerate(labels) if support[:, index].any()]
    true_time = time.sum(axis=(0, 2))
    return SegmentScores(
        videos=per_video,
        seconds=float(seconds.sum()),
        segments=int(support.sum()),
        found=int(predicted.sum()),
        frame_accuracy=float(right.sum() / seconds.sum()),
        unlabelled=float(true_time[-1] / seconds.sum()),
        majority_baseline=float(true_time.max() / seconds.sum()),
        f1=dict(zip(F1_AT, f1_of(hits.sum(axis=(0, 1)), support.sum(), predicted.sum()).tolist(), strict=True)),
        edit=float(np.mean(edits)),
        mean_ap={
            at: float(np.mean([precision[label][index] for label in known])) if known else None
            for index, at in enumerate(TIOU)
        },
        interval=_bootstrap(
            np.column_stack([right, seconds, hits[..., -1].sum(axis=1), support.sum(axis=1), predicted.sum(axis=1)]),
            None if groups is None else [f"group {groups[name]}" if name in groups else f"{name}" for name in names],
            seed=seed,
        ),
        classes=tuple(
            _class_scores(
                index,
                labels,
                time.sum(axis=0),
                f1_of(hits[:, index].sum(axis=0), support[:, index].sum(), predicted[:, index].sum()),
                precision[label],
                segments=int(support[:, index].sum()),
                found=int(predicted[:, index].sum()),
            )
            for index, label in enumerate(labels)
        ),
    )


def _check(
    found: Mapping[str, Sequence[Segment]], truth: Mapping[str, Sequence[Segment]], durations: Mapping[str, float]
) -> None:
    if not durations:
        raise UsageError("there is no video to score: give the duration of each one")
    for name, seconds in durations.items():
        if not 0 < seconds < float("inf"):
            raise UsageError(f"the duration of {name} has to be more than 0 seconds, not {seconds}")
    unknown = sorted((found.keys() | truth.keys()) - durations.keys())
    if unknown:
        raise UsageError(f"there are segments of {unknown[0]}, and no duration: give that of every video")


def _in_time(segment: Segment) -> tuple[float, float, str]:
    return segment.start, segment.end, segment.label


def _class_scores(
    index: int,
    labels: Sequence[str],
    time: Floats,
    f1: Floats,
    average_precision: Sequence[float],
    *,
    segments: int,
    found: int,
) -> SegmentClassScores:
    predicted, true, right = time[:, index].sum(), time[index].sum(), time[index, index]
    wrong = time[index].copy()
    wrong[index] = 0
    other = int(wrong.argmax())
    occurs = segments > 0
    return SegmentClassScores(
        label=labels[index],
        segments=segments,
        found=found,
        seconds=float(true),
        time_precision=float(right / predicted) if predicted and occurs else None,
        time_recall=float(right / true) if true else None,
        f1={at: float(value) if occurs else None for at, value in zip(F1_AT, f1, strict=True)},
        average_precision={at: value if occurs else None for at, value in zip(TIOU, average_precision, strict=True)},
        mistaken_for=((*labels, NO_LABEL)[other], float(wrong[other])) if wrong[other] else None,
    )


def _bootstrap(counts: Floats, groups: Sequence[str] | None, *, seed: int) -> SegmentInterval:
    """Return percentile intervals by drawing groups with replacement (Efron and Tibshirani 1993).

    Args:
        counts: (videos, 5): seconds that are right, seconds, segments found at 50 %, true segments, found segments.
        groups: of each video.
        seed: of the drawing.
    """
    unit: Literal["groups", "videos"] = "videos" if groups is None else "groups"
    member = np.arange(len(counts)) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(member.max()) + 1
    if units < 2:
        return SegmentInterval(unit, units, single_note(unit, "videos"), frame_accuracy=None, f1=None)
    summed = np.zeros((units, counts.shape[1]))
    np.add.at(summed, member, counts)
    drawn = np.concatenate([times @ summed for times in draws(units, seed=seed, resamples=RESAMPLES)])
    accuracy = percentiles(drawn[:, 0] / drawn[:, 1], LEVEL)
    f1 = percentiles(f1_of(drawn[:, 2], drawn[:, 3], drawn[:, 4]), LEVEL)
    note = few_note(unit, units, "intervals")
    if note is None and accuracy[0] == accuracy[1] and f1[0] == f1[1]:
        note = "all resamples give the same numbers; that is not certainty"
    return SegmentInterval(unit, units, note, frame_accuracy=accuracy, f1=f1)
