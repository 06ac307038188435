from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from marey.data import Segment
from marey.errors import UsageError
from marey.evaluation import NO_LABEL, SegmentScores, score_segments

SET_A = {
    "truth": {"v": [Segment(0, 4, "a"), Segment(4, 6, "b"), Segment(8, 10, "a")]},
    "found": {"v": [Segment(0, 3, "a", 0.9), Segment(3, 6.5, "b", 0.6), Segment(8, 9, "b", 0.8)]},
    "durations": {"v": 10.0},
}


def test_one_video_scored_by_hand() -> None:
    scores = score_segments(SET_A["found"], SET_A["truth"], SET_A["durations"])  # type: ignore[arg-type]
    # right: a 0-3, b 4-6, none 6.5-8
    assert scores.frame_accuracy == pytest.approx(6.5 / 10)
    assert scores.unlabelled == pytest.approx(0.2)
    assert scores.majority_baseline == pytest.approx(0.6)  # a all the time
    # overlaps: a 3/4, b 2/3.5 = 0.57, the last b is wrong: two of three either way
    assert scores.f1 == {at: pytest.approx(2 / 3) for at in (10, 25, 50)}
    assert scores.edit == pytest.approx(1 - 1 / 3)  # a b b for a b a
    # a: one of two found, and it is right. b: the most confident is wrong, the second right.
    assert scores.mean_ap == {
        0.3: pytest.approx((1 / 2 + 1 / 2) / 2),
        0.5: pytest.approx((1 / 2 + 1 / 2) / 2),
        0.7: pytest.approx((1 / 2 + 0) / 2),
    }
    a, b = scores.classes
    assert (a.label, a.segments, a.found, a.seconds) == ("a", 2, 1, 6)
    assert (a.time_precision, a.time_recall) == (1.0, 0.5)
    assert a.f1[50] == pytest.approx(2 / 3)
    assert a.mistaken_for == ("b", 2.0)
    assert b.time_precision == pytest.approx(2 / 4.5)
    assert b.time_recall == 1.0
    assert b.f1[50] == pytest.approx(2 / 3)
    assert b.average_precision[0.7] == 0.0
    assert b.mistaken_for is None


def test_the_example_of_two_found_segments_on_one_true_one_counts_it_once() -> None:
    truth = {"v": [Segment(0, 10, "a")]}
    found = {"v": [Segment(0, 5.5, "a"), Segment(5.5, 10, "a")]}
    scores = score_segments(found, truth, {"v": 10.0})
    assert scores.f1 == {10: pytest.approx(2 / 3), 25: pytest.approx(2 / 3), 50: pytest.approx(2 / 3)}
    assert scores.classes[0].found == 2
    assert scores.mean_ap == {0.3: 1.0, 0.5: 1.0, 0.7: 0.0}  # the second of the two comes after all are found


@pytest.mark.parametrize("shift", [0.0, 0.08, 0.2, 1234.56])
def test_an_overlap_that_is_exactly_the_threshold_counts_wherever_it_lies(shift: float) -> None:
    truth = {"v": [Segment(shift, round(shift + 0.4, 2), "a")]}
    found = {"v": [Segment(shift, round(shift + 0.8, 2), "a")]}
    scores = score_segments(found, truth, {"v": shift + 1})
    assert scores.f1[50] == 1.0
    assert scores.mean_ap[0.5] == 1.0
    assert scores.mean_ap[0.7] == 0.0


def test_the_true_segments_score_one_and_no_segments_score_zero() -> None:
    truth, durations = SET_A["truth"], SET_A["durations"]
    perfect = score_segments(truth, truth, durations)  # type: ignore[arg-type]
    assert perfect.frame_accuracy == 1.0
    assert set(perfect.f1.values()) == {1.0}
    assert perfect.edit == 1.0
    assert set(perfect.mean_ap.values()) == {1.0}
    nothing = score_segments({}, truth, durations)  # type: ignore[arg-type]
    assert nothing.frame_accuracy == pytest.approx(0.2)  # the time that rightly has no label
    assert set(nothing.f1.values()) == {0.0}
    assert nothing.edit == 0.0
    assert set(nothing.mean_ap.values()) == {0.0}
    assert nothing.classes[0].mistaken_for == (NO_LABEL, 6.0)
    assert nothing.classes[0].time_precision is None


def test_a_set_in_which_nothing_is_true_has_no_average_precision() -> None:
    right = score_segments({}, {}, {"v": 3.0})
    assert (right.frame_accuracy, right.f1[50], right.edit, right.mean_ap[0.5]) == (1.0, 1.0, 1.0, None)
    wrong = score_segments({"v": [Segment(0, 3, "a")]}, {}, {"v": 3.0})
    assert (wrong.frame_accuracy, wrong.f1[50], wrong.edit, wrong.mean_ap[0.5]) == (0.0, 0.0, 0.0, None)
    assert wrong.classes[0].f1[50] is None


def test_splitting_a_segment_costs_f1_and_edits_and_no_time() -> None:
    truth = {"v": [Segment(0, 4, "a"), Segment(4, 8, "b")]}
    split = {"v": [Segment(0, 2, "a"), Segment(2, 4, "a"), Segment(4, 8, "b")]}
    whole, parts = (score_segments(found, truth, {"v": 8.0}) for found in (truth, split))
    assert parts.frame_accuracy == whole.frame_accuracy == 1.0
    assert parts.f1[50] < whole.f1[50]
    assert parts.edit < whole.edit


def test_more_confident_detections_are_ranked_first() -> None:
    truth = {"v": [Segment(0, 2, "a"), Segment(4, 6, "a")]}

    def found(wrong: float) -> dict[str, list[Segment]]:
        return {"v": [Segment(0, 2, "a", 0.8), Segment(4, 6, "a", 0.6), Segment(8, 9, "a", wrong)]}

    last, first = (score_segments(found(wrong), truth, {"v": 10.0}).mean_ap[0.5] for wrong in (0.1, 0.9))
    assert last == 1.0
    assert first == pytest.approx(2 / 3)  # precisions 1/2 and 2/3, interpolated: 2/3 at both recalls


def test_the_most_confident_of_overlapping_predictions_counts_and_any_overlapping_true_label_is_right() -> None:
    truth = {"v": [Segment(0, 4, "a"), Segment(2, 6, "b")]}
    for predicted in ("a", "b"):
        scores = score_segments({"v": [Segment(2, 4, predicted)]}, truth, {"v": 6.0})
        assert scores.frame_accuracy == pytest.approx(1 / 3)
    for confidence, right in ((0.5, 5 / 6), (0.3, 0.0)):
        both = {"v": [Segment(0, 6, "a", confidence), Segment(0, 6, "b", 0.4)]}
        assert score_segments(both, {"v": [Segment(0, 5, "a")]}, {"v": 6.0}).frame_accuracy == pytest.approx(right)


def test_time_after_the_end_of_a_video_does_not_count() -> None:
    truth = {"v": [Segment(0, 12, "a"), Segment(20, 30, "b")]}
    scores = score_segments({"v": [Segment(0, 10, "a"), Segment(15, 16, "b")]}, truth, {"v": 10.0})
    assert (scores.seconds, scores.frame_accuracy) == (10.0, 1.0)
    assert scores.classes[1].time_recall is None
    assert scores.segments == 2


def random_side(rng: np.random.Generator, length: int) -> list[Segment]:
    """Segments on whole seconds, of which no two of one label touch; frame lists know no other."""
    cuts = sorted(rng.choice(np.arange(length + 1), size=int(rng.integers(2, 9)), replace=False).tolist())
    side: list[Segment] = []
    for start, end in pairwise(cuts):
        label = str(rng.choice(["a", "b", "c", ""]))
        if label and not (side and side[-1].end == start and side[-1].label == label):
            side.append(Segment(float(start), float(end), label, float(rng.random())))
    return side


def frames(side: Sequence[Segment], length: int) -> list[str]:
    return [next((s.label for s in side if s.start <= second < s.end), "background") for second in range(length)]


def runs(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return the segments of frame lists, as the published code of MS-TCN reads them."""
    found: list[tuple[str, int, int]] = []
    last = "background"
    for second, label in enumerate([*labels, "background"]):
        if label != last:
            if last != "background":
                found[-1] = (*found[-1][:2], second)
            if label != "background":
                found.append((label, second, -1))
            last = label
    return found


def plain_f1(found: list[list[str]], truth: list[list[str]], least: float) -> float:
    tp = fp = fn = 0
    for predicted, true in zip(found, truth, strict=True):
        mine, theirs = runs(predicted), runs(true)
        hits = [False] * len(theirs)
        for label, start, end in mine:
            ious = [
                (min(end, b) - max(start, a)) / (max(end, b) - min(start, a)) * (label == other)
                for other, a, b in theirs
            ]
            best = max(range(len(ious)), key=ious.__getitem__) if ious else -1
            if best >= 0 and ious[best] >= least and not hits[best]:
                tp += 1
                hits[best] = True
            else:
                fp += 1
        fn += len(theirs) - sum(hits)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


def plain_edit(predicted: list[str], true: list[str]) -> float:
    mine, theirs = ([label for label, _, _ in runs(side)] for side in (predicted, true))

    def distance(m: int, n: int) -> int:
        if not m or not n:
            return m + n
        return min(
            distance(m - 1, n) + 1, distance(m, n - 1) + 1, distance(m - 1, n - 1) + (mine[m - 1] != theirs[n - 1])
        )

    return 1 - distance(len(mine), len(theirs)) / max(len(mine), len(theirs), 1)


def plain_ap(found: dict[str, list[Segment]], truth: dict[str, list[Segment]], label: str, least: float) -> float:
    ranked = sorted(
        ((s, name) for name in found for s in found[name] if s.label == label), key=lambda entry: -entry[0].confidence
    )
    free = {name: [s for s in truth[name] if s.label == label] for name in truth}
    total = sum(map(len, free.values()))
    curve, right = [], 0
    for rank, (segment, name) in enumerate(ranked, start=1):
        enough = [other for other in free[name] if segment.overlap(other) >= least]
        if enough:
            free[name].remove(max(enough, key=segment.overlap))
            right += 1
        curve.append((right / total, right / rank))
    area = reached = 0.0
    for recall, _ in curve:
        if recall > reached:
            area += (recall - reached) * max(precision for other, precision in curve if other >= recall)
            reached = recall
    return area


def test_random_segments_are_scored_as_plain_code_on_frames_scores_them() -> None:
    for seed in range(150):
        rng = np.random.default_rng(seed)
        lengths = {f"v{number}": int(rng.integers(10, 30)) for number in range(3)}
        truth = {name: random_side(rng, length) for name, length in lengths.items()}
        found = {name: random_side(rng, length) for name, length in lengths.items()}
        scores = score_segments(found, truth, lengths)
        true, predicted = ([frames(side[name], length) for name, length in lengths.items()] for side in (truth, found))
        seconds = [a == b for one, other in zip(true, predicted, strict=True) for a, b in zip(one, other, strict=True)]
        assert scores.frame_accuracy == pytest.approx(sum(seconds) / len(seconds))
        for at in (10, 25, 50):
            assert scores.f1[at] == pytest.approx(plain_f1(predicted, true, at / 100)), seed
        edits = [plain_edit(a, b) for a, b in zip(predicted, true, strict=True)]
        assert scores.edit == pytest.approx(sum(edits) / 3)
        known = {segment.label for side in truth.values() for segment in side}
        for least in (0.3, 0.5, 0.7):
            plain = [plain_ap(found, truth, label, least) for label in known]
            assert scores.mean_ap[least] == (pytest.approx(sum(plain) / len(plain)) if plain else None), seed


def many(seed: int = 0) -> tuple[dict[str, list[Segment]], dict[str, list[Segment]], dict[str, float]]:
    rng = np.random.default_rng(seed)
    truth = {f"v{number}": random_side(rng, 20) for number in range(8)}
    found = {name: random_side(rng, 20) for name in truth}
    return found, truth, dict.fromkeys(truth, 20.0)


def as_text(scores: SegmentScores) -> str:
    return json.dumps(scores.as_dict(), allow_nan=False)


def test_the_order_of_videos_and_segments_is_irrelevant() -> None:
    found, truth, durations = many()
    turned = score_segments(
        {name: found[name][::-1] for name in reversed(found)},
        {name: truth[name][::-1] for name in reversed(truth)},
        dict(reversed(durations.items())),
    )
    assert as_text(turned) == as_text(score_segments(found, truth, durations))


def test_intervals_are_those_of_groups_and_hold_the_score() -> None:
    found, truth, durations = many()
    alone = score_segments(found, truth, durations).interval
    assert (alone.unit, alone.units, alone.note) == ("videos", 8, None)
    groups = {name: f"p{int(name[1:]) % 6}" for name in durations}
    scores = score_segments(found, truth, durations, groups=groups)
    span = scores.interval
    assert (span.unit, span.units, span.note) == ("groups", 6, None)
    assert span.frame_accuracy is not None
    assert span.f1 is not None
    assert span.frame_accuracy[0] < scores.frame_accuracy < span.frame_accuracy[1]
    assert span.f1[0] <= scores.f1[50] <= span.f1[1]
    assert span == score_segments(found, truth, durations, groups=groups).interval
    assert span != score_segments(found, truth, durations, groups=groups, seed=1).interval


def test_an_unreliable_interval_has_a_note() -> None:
    found, truth, durations = many()
    one = score_segments(found, truth, durations, groups=dict.fromkeys(durations, "p1")).interval
    assert (one.f1, one.frame_accuracy) == (None, None)
    assert "no interval: all videos are one group" in str(one.note)
    few = {name: "p1" if name < "v4" else "p2" for name in durations}
    assert "only 2 groups" in str(score_segments(found, truth, durations, groups=few).interval.note)
    assert "not certainty" in str(score_segments(truth, truth, durations).interval.note)
    unnamed = score_segments(found, truth, durations, groups={"v0": "p1", "v1": "p1"}).interval
    assert (unnamed.unit, unnamed.units) == ("groups", 7)


@pytest.mark.parametrize(
    ("durations", "predicted"),
    [
        ({}, "there is no video"),
        ({"v": 0.0}, "more than 0 seconds, not 0.0"),
        ({"v": math.inf}, "not inf"),
        ({"v": math.nan}, "not nan"),
        ({"w": 3.0}, "segments of v, and no duration"),
    ],
)
def test_input_that_cannot_be_scored_is_refused(durations: dict[str, float], predicted: str) -> None:
    with pytest.raises(UsageError, match=predicted):
        score_segments({"v": [Segment(0, 1, "a")]}, {}, durations)


def test_rows_of_segment_scores_name_each_number_once_with_its_interval() -> None:
    scores = score_segments(SET_A["found"], SET_A["truth"], SET_A["durations"])  # type: ignore[arg-type]
    rows = {row.title: row for row in scores.rows}
    assert len(rows) == len(scores.rows) == 8
    assert rows["frame accuracy"].value == pytest.approx(0.65)
    assert rows["F1@50"].interval == scores.interval.f1
    assert rows["mAP at tIoU 0.7"].value == scores.mean_ap[0.7]
    assert [row.name for row in scores.rows if row.headline] == ["f1_50"]
