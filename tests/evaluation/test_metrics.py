from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from marey.evaluation import METRICS, ClipResult, Evaluation, MetricRow, ScoredClips, metric_rows, register_metric

LABELS = ("a", "b", "c")
CLIPS = (("1", "a", (0.8, 0.1, 0.1)), ("2", "a", (0.3, 0.6, 0.1)), ("3", "b", (0.1, 0.7, 0.2)), ("4", "c", None))


def evaluation() -> Evaluation:
    rows = [
        ClipResult(name, f"{name}.mp4", label, f"group {name}", None, values, reason=None if values else "corrupt")
        for name, label, values in CLIPS
    ]
    return Evaluation(LABELS, tuple(rows), (), "one split", "c0ffee", 0)


@pytest.fixture
def failure_rate() -> Iterator[str]:
    @register_metric("failure_rate", title="failure rate", meaning="share of the clips that could not be used")
    def compute(clips: ScoredClips) -> float:
        return float((~clips.usable).mean())

    yield "failure_rate"
    del METRICS["failure_rate"]


def test_a_registered_metric_stands_in_the_metrics_in_their_rows_and_in_metrics_json(failure_rate: str) -> None:
    metrics = evaluation().metrics
    assert metrics.values[failure_rate] == pytest.approx(1 / 4)
    assert metrics.as_dict()[failure_rate] == pytest.approx(1 / 4)
    assert metrics.rows[-1] == MetricRow(
        failure_rate, "failure rate", 0.25, None, "share of the clips that could not be used"
    )


def test_two_metrics_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="two metrics named 'accuracy'"):
        register_metric("accuracy", title="", meaning="")(lambda clips: None)


def test_rows_of_metrics_come_from_the_metrics_and_from_their_file_alike() -> None:
    metrics = evaluation().metrics
    rows = {row.name: row for row in metrics.rows}
    assert rows["accuracy"].value == pytest.approx(2 / 4)
    assert rows["accuracy"].interval == metrics.interval.accuracy is not None
    assert rows["macro_f1"].interval == metrics.interval.macro_f1
    assert rows["top_2"].value == metrics.top_k[2]
    assert {"view_accuracy", "top_3"}.isdisjoint(rows)  # one view a clip, and three classes
    assert metric_rows(json.loads(json.dumps(metrics.as_dict()))) == metrics.rows


def test_rows_of_a_file_without_a_metric_leave_it_out() -> None:
    assert [row.name for row in metric_rows({"accuracy": 0.5, "macro_f1": 0.4, "clips": 3})] == ["accuracy", "macro_f1"]


def test_the_text_of_metrics_is_short() -> None:
    text = repr(evaluation().metrics)
    assert re.fullmatch(r"Metrics\(accuracy=0.500, macro_f1=0.\d+, ece=0.\d+, clips=4, failed=1, leak=False\)", text)


def test_the_text_of_an_evaluation_is_short_and_counts_leaks_and_notes() -> None:
    assert repr(evaluation()) == ("Evaluation(protocol='one split', clips=4, failed=1, labels=3, leaks=0, notes=0)")


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    values = evaluation().metrics.values
    assert values["auc"] == pytest.approx(1.0)  # of a and b; the only clip of c failed
    # pooled: 0.8, 0.3 and 0.7 are of true labels; of the 18 pairs with other values, 0.3 and 0.6 stand wrong
    assert values["auc_pooled"] == pytest.approx(17 / 18)


def test_auc_is_left_out_where_one_class_occurs() -> None:
    one = Evaluation(
        ("a", "b"), (ClipResult("1", "1.mp4", "a", "g", None, (0.9, 0.1), reason=None),), (), "one split", "c0ffee", 0
    )
    assert "auc" not in one.metrics.values
    assert one.metrics.values["auc_pooled"] == 1.0
