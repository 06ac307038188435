from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.metrics import classification_report

from marey.data import Leak
from marey.errors import DatasetError
from marey.evaluation import ClipResult, Evaluation, leak_warning, write_metrics

ABC = ("a", "b", "c")


def row(clip: str, label: str, *probabilities: float, group: str | None = None) -> ClipResult:
    if not probabilities:
        return ClipResult(clip, f"{clip}.mp4", label, group, None, None, "corrupt", "no frame could be decoded")
    return ClipResult(clip, f"{clip}.mp4", label, group, None, probabilities)


def evaluate(
    *rows: ClipResult,
    labels: tuple[str, ...] = ABC,
    leaks: tuple[Leak, ...] = (),
    excluded: tuple[str, ...] = (),
) -> Evaluation:
    return Evaluation(labels, rows, leaks, "one split", "c0ffee", 0, excluded)


SMALL = (
    row("1", "a", 0.8, 0.1, 0.1),  # right
    row("2", "a", 0.3, 0.6, 0.1),  # a taken for b, second choice right
    row("3", "b", 0.1, 0.7, 0.2),  # right
    row("4", "c", 0.5, 0.3, 0.2),  # c taken for a, third choice right
    row("5", "c"),  # failed
)

DRAWN = (
    ("a", (0.8, 0.1, 0.1)),
    ("a", (0.3, 0.6, 0.1)),
    ("a", (0.7, 0.2, 0.1)),
    ("b", (0.1, 0.7, 0.2)),
    ("b", (0.6, 0.3, 0.1)),
    ("c", (0.2, 0.2, 0.6)),
)


def test_the_metrics_of_five_clips_are_those_computed_by_hand() -> None:
    metrics = evaluate(*SMALL).metrics
    assert metrics.clips == 5
    assert metrics.accuracy == pytest.approx(2 / 5)
    assert metrics.top_k == {1: pytest.approx(2 / 5), 2: pytest.approx(3 / 5)}
    a, b, c = metrics.classes
    assert (a.precision, a.recall, a.f1, a.support) == (0.5, 0.5, 0.5, 2)
    assert (b.precision, b.recall, b.support) == (0.5, 1.0, 1)
    assert b.f1 == pytest.approx(2 / 3)
    assert (c.precision, c.recall, c.f1, c.support) == (0.0, 0.0, 0.0, 2)
    assert metrics.macro_precision == pytest.approx(1 / 3)
    assert metrics.macro_recall == pytest.approx(0.5)
    assert metrics.balanced_accuracy == pytest.approx(0.5)
    assert metrics.macro_f1 == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert metrics.nll == pytest.approx(-math.log(0.8 * 0.3 * 0.7 * 0.2) / 4)
    assert metrics.ece == pytest.approx((0.2 + 0.6 + 0.3 + 0.5) / 4)  # each clip alone in its bin
    assert metrics.chance_level == pytest.approx(1 / 3)
    assert metrics.majority_baseline == pytest.approx(2 / 5)


def test_a_failed_clip_counts_as_wrong_and_has_a_column_of_its_own() -> None:
    metrics = evaluate(*SMALL).metrics
    assert metrics.failed == 1
    assert metrics.failed_reasons == {"corrupt": 1}
    assert metrics.confusion == ((1, 1, 0, 0), (0, 1, 0, 0), (1, 0, 0, 1))
    assert evaluate(*SMALL[:4]).metrics.accuracy == pytest.approx(2 / 4)


def test_a_test_set_of_failed_clips_alone_has_no_accuracy_and_no_calibration() -> None:
    metrics = evaluate(row("1", "a"), row("2", "b")).metrics
    assert metrics.accuracy == 0.0
    assert metrics.ece is None
    assert metrics.nll is None
    assert metrics.top_k == {1: 0.0, 2: 0.0}


def test_a_class_that_does_not_occur_has_no_scores_and_no_part_in_the_means() -> None:
    metrics = evaluate(row("1", "a", 0.9, 0.1, 0.0), row("2", "b", 0.1, 0.9, 0.0)).metrics
    assert metrics.classes[2].f1 is None
    assert metrics.classes[2].support == 0
    assert metrics.macro_f1 == 1.0
    assert metrics.balanced_accuracy == 1.0


def test_top_k_stops_below_the_number_of_classes() -> None:
    two = Evaluation(("a", "b"), (row("1", "a", 0.9, 0.1),), (), "", "", 0)
    assert list(two.metrics.top_k) == [1]
    six = Evaluation(tuple("abcdef"), (row("1", "a", *[1 / 6] * 6),), (), "", "", 0)
    assert list(six.metrics.top_k) == [1, 2, 3, 5]


def test_equal_probabilities_give_the_first_label_everywhere() -> None:
    evaluation = evaluate(row("1", "b", 0.4, 0.4, 0.2))
    assert evaluation.predicted(evaluation.rows[0]) == "a"
    assert evaluation.metrics.top_k == {1: 0.0, 2: 1.0}


def test_the_most_confident_mistakes_come_first_and_without_failed_clips() -> None:
    assert [wrong.clip for wrong in evaluate(*SMALL).most_confident_mistakes(5)] == ["2", "4"]
    assert [wrong.clip for wrong in evaluate(*SMALL).most_confident_mistakes(1)] == ["2"]


def test_metrics_json_is_the_same_twice_and_holds_no_invalid_number(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        write_metrics(evaluate(*SMALL, excluded=("ungültig\udcff.avi",)).metrics, tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    read = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))
    assert read["accuracy"] == 0.4
    assert read["excluded"] == ["ungültig\udcff.avi"]
    assert read["confusion_matrix"]["columns"] == ["a", "b", "c", "(failed)"]
    assert read["per_class"]["b"]["recall"] == 1.0
    assert read["accuracy_interval"] == list(evaluate(*SMALL).metrics.interval.accuracy or ())


def test_a_leaking_split_has_a_warning_beside_its_metrics() -> None:
    leaks = (
        Leak("group", "person02", ("a.avi",), ("b.avi",)),
        Leak("group", "person01", ("c.avi",), ("d.avi",)),
        Leak("content", "ab12", ("e.avi",), ("f.avi",)),
    )
    leak = evaluate(*SMALL, leaks=leaks).metrics.as_dict()["leaks"]
    assert leak["count"] == 3
    assert leak["note"].startswith("2 groups (person01, person02) and 1 identical file are on both sides")
    assert leak_warning(()) is None
    assert str(leak_warning(leaks[:1])).startswith("1 group (person02) is on both sides")


def test_a_label_that_the_model_does_not_have_is_named() -> None:
    with pytest.raises(DatasetError, match=r"clip7: the model has no label 'walkin'; did you mean 'walking'"):
        evaluate(row("clip7", "walkin", 0.5, 0.5), labels=("running", "walking"))


def test_an_evaluation_without_clips_is_refused() -> None:
    with pytest.raises(DatasetError, match="no clip is left"):
        evaluate()


@pytest.mark.parametrize("given", [(0.5, 0.5), (0.5, 0.6, 0.1), (float("nan"), 0.5, 0.5), (-0.5, 1.0, 0.5)], ids=str)
def test_numbers_that_are_not_probabilities_are_refused(given: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="are not the probabilities of 3 labels"):
        evaluate(row("1", "a", *given))


def test_a_clip_has_probabilities_or_a_reason_and_never_both() -> None:
    with pytest.raises(ValueError, match="never both"):
        ClipResult("1", "1.avi", "a", None, None, (1.0,), "corrupt")
    with pytest.raises(ValueError, match="never both"):
        ClipResult("1", "1.avi", "a")


def test_the_averages_of_the_classes_are_those_of_scikit_learns_report() -> None:
    rows = [row(str(n), label, *given) for n, (label, given) in enumerate(DRAWN)]
    metrics = evaluate(*rows).metrics
    expected = classification_report(
        [label for label, _ in DRAWN], [ABC[given.index(max(given))] for _, given in DRAWN], output_dict=True
    )
    for average in metrics.averages:
        assert average.as_dict() == pytest.approx(
            {name.replace("f1-score", "f1"): value for name, value in expected[average.label].items()}
        )
    assert metrics.as_dict()["averages"]["weighted avg"]["recall"] == pytest.approx(metrics.accuracy)


def test_the_cross_entropy_before_calibration_stands_beside_the_calibrated_one() -> None:
    rows = [replace(each, uncalibrated=p) for each, p in zip(SMALL, (0.5, 0.4, 0.9, 0.1, None), strict=True)]
    metrics = evaluate(*rows).metrics
    assert metrics.values["cross_entropy"] == pytest.approx(-math.log(0.5 * 0.4 * 0.9 * 0.1) / 4)
    assert metrics.nll == pytest.approx(-math.log(0.8 * 0.3 * 0.7 * 0.2) / 4)
    assert [each.name for each in metrics.rows[:3]] == ["accuracy", "cross_entropy", "nll"]
    assert "cross_entropy" not in evaluate(*SMALL).metrics.values
