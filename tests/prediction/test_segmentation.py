from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from marey.prediction.segmentation import Hysteresis, Segmentation, SegmentBuilder, find_segments, smooth

LABELS = ("run", "walk")
PLAIN = Segmentation(smooth=0, threshold=0.5, release=0.3, margin=0.1, min_duration=0)


def rows(*walk: float, total: float = 1.0) -> np.ndarray:
    """Return probabilities of "walk" at each timestamp; "run" has what is left of `total`."""
    return np.array([[total - value, value] for value in walk])


def found(values: np.ndarray, rule: Segmentation = PLAIN, *, period: float = 1.0) -> list[tuple[float, float, str]]:
    times = np.asarray((np.arange(len(values)) + 0.5) * period, dtype=np.float64)
    segments = find_segments(values, times, LABELS, duration=len(values) * period, rule=rule)
    return [(segment.start, segment.end, segment.label) for segment in segments]


def test_a_boundary_lies_halfway_between_two_timestamps() -> None:
    assert found(rows(0.1, 0.1, 0.9, 0.9, 0.9)) == [(0, 2, "run"), (2, 5, "walk")]


def test_the_label_does_not_flicker_where_two_classes_are_nearly_alike() -> None:
    values = rows(0.6, 0.48, 0.53, 0.47, 0.53)
    assert found(values) == [(0, 5, "walk")]
    restless = PLAIN.model_copy(update={"margin": 0.0})
    assert len(found(values, restless)) > 1


def test_below_the_threshold_it_is_none_of_the_classes() -> None:
    values = np.array([[0.3, 0.3], [0.3, 0.3], [0.1, 0.8], [0.1, 0.8], [0.2, 0.2]])
    assert found(values) == [(2, 4, "walk")]


def test_a_segment_begins_at_the_threshold_and_goes_on_until_the_release() -> None:
    values = np.array([[0, 0.45], [0, 0.55], [0, 0.4], [0, 0.35], [0, 0.25], [0, 0.45]])
    assert found(values) == [(1, 4, "walk")]
    label_at = Hysteresis(PLAIN)
    assert [label_at(row) for row in values] == [None, 1, 1, 1, None, None]


def test_a_short_segment_is_merged_into_the_more_probable_neighbour() -> None:
    rule = PLAIN.model_copy(update={"min_duration": 2.0})
    assert found(rows(0.9, 0.9, 0.2, 0.9, 0.9), rule) == [(0, 5, "walk")]
    assert found(rows(0.9, 0.9, 0.9, 0.2, 0.2, 0.2), rule) == [(0, 3, "walk"), (3, 6, "run")]


def test_a_short_segment_between_two_gaps_is_dropped_and_a_short_gap_is_closed() -> None:
    rule = PLAIN.model_copy(update={"min_duration": 2.0})
    low, high = [0.1, 0.1], [0.1, 0.9]
    assert found(np.array([low, low, high, low, low]), rule) == []
    assert found(np.array([high, high, low, high, high]), rule) == [(0, 5, "walk")]


def test_a_video_shorter_than_the_least_duration_may_still_be_one_segment() -> None:
    rule = PLAIN.model_copy(update={"min_duration": 60.0})
    assert found(rows(0.9, 0.9), rule) == [(0, 2, "walk")]


def test_the_confidence_is_the_mean_probability_over_the_span() -> None:
    (segment,) = find_segments(rows(0.6, 0.8), np.array([0.5, 1.5]), LABELS, duration=2.0, rule=PLAIN)
    assert segment.confidence == pytest.approx(0.7)


def test_no_timestamps_give_no_segments() -> None:
    assert find_segments(np.zeros((0, 2)), np.zeros(0), LABELS, duration=1.0, rule=PLAIN) == ()


def test_segments_never_overlap_and_last_at_least_min_duration() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.dirichlet([0.5, 0.5, 0.5], size=rng.integers(1, 40))[:, :2]
        rule = PLAIN.model_copy(update={"min_duration": float(rng.integers(0, 5))})
        segments = found(values, rule)
        for (_, end, label), (start, _, following) in pairwise(segments):
            assert end <= start
            assert end < start or label != following
        if len(segments) > 1:
            assert min(end - start for start, end, _ in segments) >= rule.min_duration


def test_smoothing_is_a_centred_mean_that_shortens_at_the_ends() -> None:
    values = np.array([[0.0], [3.0], [6.0], [9.0]])
    assert smooth(values, 3).ravel().tolist() == [1.5, 3.0, 6.0, 7.5]
    assert smooth(values, 1).ravel().tolist() == values.ravel().tolist()


def test_a_release_above_the_threshold_is_refused_with_both_values() -> None:
    with pytest.raises(ValidationError, match=r"release=0.6 is above threshold=0.4"):
        Segmentation(threshold=0.4, release=0.6)


def test_a_segment_builder_joins_equal_labels_and_leaves_out_none() -> None:
    builder = SegmentBuilder()
    assert builder.until(5.0) == ()
    for time, label, confidence in ((1, "run", 0.5), (2, "run", 0.7), (3, None, 0.4), (4, "walk", 0.9), (5, "run", 1)):
        builder.add(time, label, confidence)
    found = builder.until(builder.end)
    assert [(one.start, one.end, one.label) for one in found] == [(1, 3, "run"), (4, 5, "walk")]
    assert [one.confidence for one in found] == pytest.approx([0.6, 0.9])
    assert [one.label for one in builder.until(6.0)] == ["run", "walk", "run"]
