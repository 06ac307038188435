from __future__ import annotations

import numpy as np
import pytest

from marey.evaluation import ClipResult, Evaluation
from marey.reports import answer
from marey.reports.phrases import mistaken_for, remarks, share


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9333, "0.93"), (1.0, "1.00"), (0.0, "0.00"), (0.9967, "0.997"), (0.0004, "0.0004"), (None, "–")],
)
def test_a_share_is_never_rounded_to_0_or_1(value: float | None, text: str) -> None:
    assert share(value) == text


def make(confidence: float, correct: int, *, clips: int = 20) -> Evaluation:
    rows = tuple(
        ClipResult(str(clip), "", "a" if clip < correct else "b", f"p{clip}", None, (confidence, 1 - confidence))
        for clip in range(clips)
    )
    return Evaluation(("a", "b"), rows, (), "one split", "", 0)


def test_the_result_is_one_sentence() -> None:
    assert answer(make(0.8, 15).metrics).startswith("15 of 20 clips correct (0.75, 0.5")
    assert answer(make(0.8, 15).metrics).endswith("), one split")
    assert answer(make(0.8, 1, clips=1).metrics) == "1 of 1 clip correct (1.00), one split"


def test_the_result_without_groups_says_that_it_may_be_too_high() -> None:
    rows = tuple(ClipResult(str(clip), "", "a", None, None, (0.9, 0.1)) for clip in range(6))
    evaluation = Evaluation(("a", "b"), rows, (), "", "", 0)
    assert answer(evaluation.metrics) == (
        "6 of 6 clips correct (at least 0.54 with 95 %); no groups known: this may be too high"
    )
    assert answer(make(0.8, 20).metrics) == "20 of 20 clips correct (at least 0.83 with 95 %), one split"
    assert answer(make(0.8, 0).metrics) == "0 of 20 clips correct (at most 0.17 with 95 %), one split"


@pytest.mark.parametrize(
    ("confidence", "correct", "words"),
    [
        (0.95, 12, "overconfident"),
        (0.6, 19, "underconfident"),
        (0.75, 15, "well calibrated on average"),
    ],
)
def test_the_remarks_judge_the_calibration(confidence: float, correct: int, words: str) -> None:
    assert any(words in remark for remark in remarks(make(confidence, correct)))


def test_the_remarks_name_the_weakest_class() -> None:
    evaluation = make(0.8, 15)
    assert mistaken_for(evaluation.metrics, 1) == ("a", 5)
    assert mistaken_for(evaluation.metrics, 0) is None
    assert "The weakest class is “b” with an F1 of 0.00, most often predicted as “a” (5 clips)." in remarks(evaluation)
    assert np.isclose(evaluation.metrics.majority_baseline, 0.75)
