"""Metrics of segments: frame accuracy, segmental F1, edit score, average precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from marey.data import Segment

F1_AT: Final = (10, 25, 50)
"""Per cent of overlap from which a segment counts as found (Lea et al. 2017)."""

TIOU: Final = (0.3, 0.5, 0.7)
"""Overlaps from which a detection is correct in the mean average precision."""

_ROUNDING: Final = 1e-9  # of an overlap: seconds with decimals are not exact

Floats = npt.NDArray[np.float64]


def time_table(found: Sequence[Segment], truth: Sequence[Segment], duration: float, labels: Sequence[str]) -> Floats:
    """Return the seconds of each true label (rows) and each predicted label (columns); the last of both is none."""
    number = {label: index for index, label in enumerate(labels)}
    none = len(labels)
    ends = {0.0, duration} | {end for segment in (*found, *truth) for end in (segment.start, segment.end)}
    cuts = np.array(sorted(end for end in ends if end <= duration))
    true = np.zeros((len(cuts) - 1, none + 1), dtype=np.bool_)
    predicted = np.full(len(cuts) - 1, none)
    for segment in truth:
        first, last = np.searchsorted(cuts, (segment.start, segment.end))
        true[first:last, number[segment.label]] = True
    for segment in sorted(found, key=lambda segment: segment.confidence):
        first, last = np.searchsorted(cuts, (segment.start, segment.end))
        predicted[first:last] = number[segment.label]
    true[~true.any(axis=1), none] = True
    right = true[np.arange(len(predicted)), predicted]
    table = np.zeros((none + 1, none + 1))
    np.add.at(table, (np.where(right, predicted, true.argmax(axis=1)), predicted), np.diff(cuts))
    return table


def segment_tables(
    sides: Sequence[tuple[Sequence[Segment], Sequence[Segment]]], labels: Sequence[str]
) -> tuple[Floats, Floats, Floats]:
    """Count true segments that were found (videos, classes, F1_AT); true ones and found ones (videos, classes)."""
    hits = np.zeros((len(sides), len(labels), len(F1_AT)))
    support, predicted = np.zeros((2, len(sides), len(labels)))
    for row, (found, truth) in enumerate(sides):
        for index, label in enumerate(labels):
            overlap = _overlaps(found, truth, label)
            predicted[row, index], support[row, index] = overlap.shape
            if overlap.size:
                best = overlap.argmax(axis=1)
                enough = overlap.max(axis=1)[:, None] >= np.array(F1_AT) / 100 - _ROUNDING
                hits[row, index] = [len(set(best[column])) for column in enough.T]
    return hits, support, predicted


def _overlaps(found: Sequence[Segment], truth: Sequence[Segment], label: str) -> Floats:
    """Return intersection over union of the found segments of a label (rows) with the true ones (columns)."""
    spans = [np.array([(one.start, one.end) for one in side if one.label == label]) for side in (found, truth)]
    (start, end), (true_start, true_end) = (span.reshape(-1, 2).T for span in spans)
    shared = np.minimum(end[:, None], true_end) - np.maximum(start[:, None], true_start)
    whole = np.maximum(end[:, None], true_end) - np.minimum(start[:, None], true_start)
    overlap: Floats = np.maximum(shared, 0.0) / whole
    return overlap


def f1_of(hits: Floats, support: npt.ArrayLike, predicted: npt.ArrayLike) -> Floats:
    """Return F1 from counts; 1 where there are neither true nor predicted segments."""
    both = np.asarray(support, dtype=np.float64) + np.asarray(predicted, dtype=np.float64)
    f1: Floats = np.where(both > 0, 2 * hits / np.maximum(both, 1), 1.0)
    return f1


def edit_score(found: Sequence[Segment], truth: Sequence[Segment]) -> float:
    """Return 1 minus the Levenshtein distance of the lists of labels, as a share of the longer one."""
    row = list(range(len(truth) + 1))
    for done, segment in enumerate(found, start=1):
        before, row = row, [done]
        for column, true in enumerate(truth, start=1):
            change = before[column - 1] + (segment.label != true.label)
            row.append(min(change, before[column] + 1, row[-1] + 1))
    return 1 - row[-1] / max(len(found), len(truth), 1)


def average_precisions(videos: Mapping[str, tuple[Sequence[Segment], Sequence[Segment]]], label: str) -> list[float]:
    """Return the average precision of a class at each overlap of `TIOU`; 0 without true segments."""
    detections = []  # confidence, video, place in the video, and the overlaps with its true segments
    true = 0
    for name, (found, truth) in videos.items():
        overlap = _overlaps(found, truth, label)
        true += overlap.shape[1]
        of_label = [segment for segment in found if segment.label == label]
        detections += [(-one.confidence, name, place, overlap[place]) for place, one in enumerate(of_label)]
    detections.sort(key=lambda entry: entry[:3])
    result = []
    for least in TIOU:
        taken: set[tuple[str, int]] = set()
        right = np.zeros(len(detections))
        for rank, (_, name, _, overlap) in enumerate(detections):
            for best in np.argsort(-overlap, kind="stable"):
                if overlap[best] < least - _ROUNDING:
                    break
                if (name, int(best)) not in taken:
                    taken.add((name, int(best)))
                    right[rank] = 1
                    break
        precision = np.cumsum(right) / np.arange(1, len(detections) + 1)
        best_later = np.maximum.accumulate(precision[::-1])[::-1]  # interpolation: the best at this recall or above
        result.append(float((best_later * right).sum() / max(true, 1)))
    return result
