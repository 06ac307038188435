from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from marey.evaluation import bootstrap, macro_f1_of

TRUE = np.arange(100) % 2
PREDICTED = np.where(np.arange(100) < 70, TRUE, 1 - TRUE)  # the last thirty clips are wrong
BLOCKS = [f"person{clip // 10}" for clip in range(100)]  # and they are those of three people


def width(ends: tuple[float, float] | None) -> float:
    assert ends is not None
    return ends[1] - ends[0]


def test_groups_that_fail_together_give_a_wider_interval_than_clips() -> None:
    by_group = bootstrap(TRUE, PREDICTED, BLOCKS, classes=2, seed=0)
    by_clip = bootstrap(TRUE, PREDICTED, [None] * 100, classes=2, seed=0)
    assert (by_group.unit, by_group.units) == ("groups", 10)
    assert (by_clip.unit, by_clip.units) == ("clips", 100)
    assert width(by_group.accuracy) > 2.5 * width(by_clip.accuracy)
    assert width(by_group.macro_f1) > 2.5 * width(by_clip.macro_f1)


def test_the_interval_over_clips_is_the_one_of_the_binomial_distribution() -> None:
    interval = bootstrap(TRUE, PREDICTED, [None] * 100, classes=2, seed=0)
    assert interval.accuracy == pytest.approx((0.61, 0.79), abs=0.011)  # 0.7 -+ 1.96 sqrt(0.7 * 0.3 / 100)


def test_the_same_seed_gives_the_same_interval_in_any_order_of_the_clips() -> None:
    order = np.random.default_rng(3).permutation(100)
    shuffled = [BLOCKS[clip] for clip in order]
    first = bootstrap(TRUE, PREDICTED, BLOCKS, classes=2, seed=5)
    assert bootstrap(TRUE, PREDICTED, BLOCKS, classes=2, seed=5) == first
    assert bootstrap(TRUE[order], PREDICTED[order], shuffled, classes=2, seed=5) == first


def test_another_seed_gives_another_interval() -> None:
    first, second = (
        bootstrap(TRUE, PREDICTED, BLOCKS, classes=2, seed=seed, level=0.5, resamples=50) for seed in (5, 6)
    )
    assert first.accuracy != second.accuracy


def test_one_group_has_no_interval_but_a_reason() -> None:
    interval = bootstrap(TRUE, PREDICTED, ["person01"] * 100, classes=2, seed=0)
    assert interval.accuracy is None
    assert interval.macro_f1 is None
    assert "all test clips are one group" in str(interval.note)


def test_few_groups_and_no_mistake_come_with_a_warning() -> None:
    assert bootstrap(TRUE, PREDICTED, BLOCKS, classes=2, seed=0).note is None
    few = bootstrap(TRUE, PREDICTED, [f"p{clip % 3}" for clip in range(100)], classes=2, seed=0)
    assert "only 3 groups" in str(few.note)


def test_all_right_or_all_wrong_has_the_exact_interval_and_not_one_without_width() -> None:
    perfect = bootstrap(TRUE, TRUE, BLOCKS, classes=2, seed=0)
    assert perfect.accuracy == pytest.approx((0.025 ** (1 / 10), 1.0))
    assert (perfect.method, perfect.macro_f1) == ("exact", None)
    assert perfect.as_dict()["method"] == "exact binomial interval (Clopper and Pearson 1934) over groups"
    assert "every clip is right, so resampling shows no spread" in str(perfect.note)
    six = bootstrap(TRUE[:6], TRUE[:6], [None] * 6, classes=2, seed=0)
    assert six.accuracy == pytest.approx((0.5407, 1.0), abs=1e-4)
    wrong = bootstrap(TRUE[:6], 1 - TRUE[:6], [None] * 6, classes=2, seed=0)
    assert wrong.accuracy == pytest.approx((0.0, 1 - 0.5407), abs=1e-4)


def test_a_clip_without_a_group_is_a_group_of_its_own() -> None:
    interval = bootstrap(TRUE[:4], PREDICTED[:4], ["p1", "p1", None, None], classes=2, seed=0)
    assert (interval.unit, interval.units) == ("groups", 3)


def test_failed_clips_stay_wrong_in_every_resample() -> None:
    failed = np.where(np.arange(100) < 70, TRUE, 2)
    as_wrong = bootstrap(TRUE, PREDICTED, BLOCKS, classes=2, seed=0)
    assert bootstrap(TRUE, failed, BLOCKS, classes=2, seed=0).accuracy == as_wrong.accuracy


def test_the_mean_f1_of_the_classes_that_occur_is_the_librarys() -> None:
    generator = np.random.default_rng(3)
    target, predicted = generator.integers(0, 4, 200), generator.integers(0, 5, 200)  # class 4 never occurs
    counts = [
        np.bincount(found, minlength=5).astype(float) for found in (target[target == predicted], target, predicted)
    ]
    expected = f1_score(target, predicted, labels=range(4), average="macro")
    assert float(macro_f1_of(*counts)) == pytest.approx(expected)
