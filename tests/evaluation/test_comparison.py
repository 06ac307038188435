from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest

from marey.evaluation import bootstrap, macro_f1_of
from marey.evaluation.comparison import RunResults, difference, holm, paired_permutation_test, pool, rank_recipes
from marey.evaluation.evaluation import ClipResult

LABELS = ("boxing", "walking")
PEOPLE = 10
CLIPS = 8  # of each


def row(clip: int, *, right: bool, group: str | None, failed: bool = False) -> ClipResult:
    label = clip % 2
    predicted = label if right else 1 - label
    path = f"{clip:03d}.mp4"
    if failed:
        return ClipResult(path, path, LABELS[label], group, reason="corrupt", detail="bytes are missing")
    return ClipResult(path, path, LABELS[label], group, probabilities=(0.9, 0.1) if predicted == 0 else (0.1, 0.9))


def run(wrong: set[int], *, grouped: bool = True, people: range = range(PEOPLE), failed: int = -1) -> list[ClipResult]:
    """Clips of some people; those with the numbers in `wrong` are taken for the other action."""
    return [
        row(clip, right=clip not in wrong, group=f"person{person:02d}" if grouped else None, failed=clip == failed)
        for person in people
        for clip in range(person * CLIPS, (person + 1) * CLIPS)
    ]


def results(*wrong: set[int], grouped: bool = True) -> RunResults:
    return RunResults(LABELS, {seed: run(clips, grouped=grouped) for seed, clips in enumerate(wrong)})


def width(ends: tuple[float, float] | None) -> float:
    assert ends is not None
    return ends[1] - ends[0]


WRONG = {5, 9, 17, 18, 19, 20, 33, 40, 41, 42, 43, 44, 79}


def test_one_seed_is_pooled_into_the_numbers_and_about_the_interval_of_an_evaluation() -> None:
    pooled = pool(results(WRONG), seed=0)
    rows = run(WRONG)
    target = np.array([LABELS.index(each.label) for each in rows])
    predicted = np.array([int(np.argmax(each.probabilities or ())) for each in rows])
    counts = (
        np.bincount(found, minlength=2).astype(float) for found in (target[target == predicted], target, predicted)
    )
    known = bootstrap(target, predicted, [each.group for each in rows], classes=2, seed=0)
    assert pooled.accuracy == pytest.approx(1 - len(WRONG) / 80)
    assert pooled.macro_f1 == pytest.approx(float(macro_f1_of(*counts)))
    assert (pooled.clips, pooled.interval.unit, pooled.interval.units) == (80, "groups", PEOPLE)
    assert pooled.interval.accuracy == pytest.approx(known.accuracy, abs=0.02)
    assert pooled.interval.macro_f1 == pytest.approx(known.macro_f1, abs=0.02)


def test_a_clip_that_failed_counts_as_wrong_and_as_a_prediction_of_no_class() -> None:
    pooled = pool(RunResults(LABELS, {0: run(set(), failed=4)}), seed=0)
    assert pooled.accuracy == pytest.approx(79 / 80)
    assert pooled.macro_f1 == pytest.approx((1 + 2 * 39 / 79) / 2)


def test_seeds_that_disagree_widen_the_interval() -> None:
    half = {person * CLIPS + clip for person in range(PEOPLE) for clip in range(4)}  # as many of everyone
    same = pool(results(half, half, half), seed=0)
    apart = pool(results(set(), set(range(80)), half), seed=0)
    assert same.accuracy == apart.accuracy == 0.5
    assert width(same.interval.accuracy) == pytest.approx(0.0)
    assert width(apart.interval.accuracy) > 0.2


def test_seeds_that_tested_other_people_are_pooled_over_all_people() -> None:
    runs = {0: run(set(), people=range(4)), 1: run(set(range(80)), people=range(4, 10))}
    pooled = pool(RunResults(LABELS, runs), seed=0)
    assert pooled.accuracy == pytest.approx(0.4)
    assert pooled.interval.units == 10
    assert width(pooled.interval.accuracy) > 0.4


def test_one_group_has_no_interval_but_a_note() -> None:
    interval = pool(RunResults(LABELS, {0: run({1}, people=range(1))}), seed=0).interval
    assert (interval.accuracy, interval.macro_f1) == (None, None)
    assert "all test clips are one group" in (interval.note or "")


def test_the_permutation_test_counts_all_signs() -> None:
    sizes = [3, -1, 4, 1, -5, 9, 2]
    sums = [abs(np.dot(signs, sizes)) for signs in product((-1, 1), repeat=len(sizes))]
    assert paired_permutation_test(sizes) == pytest.approx(np.mean(np.array(sums) >= abs(sum(sizes))))
    assert paired_permutation_test([0, 0]) == 1.0
    assert paired_permutation_test([]) == 1.0


def test_the_permutation_test_over_single_clips_is_the_exact_test_of_mcnemar() -> None:
    one, other = results({0, 1}, grouped=False), results({1, 2, 3, 4, 5, 6, 7, 8, 9}, grouped=False)
    found = difference(one, other, seed=0)  # the one alone has eight right, the other alone one
    assert found.p == pytest.approx(2 * (comb(9, 0) + comb(9, 1)) / 2**9)
    assert (found.clips, found.units) == (80, 80)


def test_clips_of_one_person_do_not_make_a_difference_significant() -> None:
    alone = {0, 1, 2, 3, 4, 5, 6, 7}
    many = {person * CLIPS for person in range(8)}
    assert difference(results(set()), results(alone), seed=0).p == 1.0
    assert difference(results(set()), results(many), seed=0).p == pytest.approx(2 / 2**8)
    assert difference(results(set(), grouped=False), results(alone, grouped=False), seed=0).p == pytest.approx(2 / 2**8)


def test_a_difference_has_the_paired_interval_and_the_sign_of_the_better_one() -> None:
    worse = WRONG | {person * CLIPS + 2 for person in range(PEOPLE)}
    found = difference(results(WRONG), results(worse), seed=0)
    lost = len(worse) - len(WRONG)
    assert found.accuracy == pytest.approx(lost / 80)
    assert found.interval is not None
    assert (
        found.interval[0]
        > 0
        < found.interval[1] - found.interval[0]
        < width(pool(results(WRONG), seed=0).interval.accuracy)
    )
    back = difference(results(worse), results(WRONG), seed=0)
    assert back.accuracy == pytest.approx(-lost / 80)
    assert back.p == found.p


def test_recipes_that_were_never_tested_on_the_same_clips_are_not_compared() -> None:
    one = RunResults(LABELS, {0: run(set(), people=range(4)), 1: run(set())})
    other = RunResults(LABELS, {0: run(set(), people=range(4, 10)), 2: run(set())})
    found = difference(one, other, seed=0)
    assert (found.clips, found.accuracy, found.interval, found.p) == (0, None, None, None)


def test_p_values_are_corrected_by_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.5, 0.9]) == pytest.approx((1.0, 1.0))
    assert holm([]) == ()


def test_the_permutation_test_has_no_more_false_positives_than_its_level() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(2000):  # eight people, two recipes that are alike
        found.append(paired_permutation_test(rng.integers(-6, 7, size=8)))
    assert np.mean(np.array(found) <= 0.05) <= 0.06


def test_recipes_are_ranked_and_each_is_compared_with_the_best() -> None:
    recipes = {
        "poor": results(set(range(40))),
        "good": results(WRONG),
        "same": results(WRONG),
        "best": results(set()),
    }
    best, good, same, poor = rank_recipes({name: (pool(each, seed=0), each) for name, each in recipes.items()}, seed=0)
    assert [best.name, good.name, same.name, poor.name] == ["best", "good", "same", "poor"]
    assert (best.behind, best.p) == (None, None)
    assert poor.behind == difference(recipes["best"], recipes["poor"], seed=0)
    assert (good.p, same.p, poor.p) == holm([place.behind.p for place in (good, same, poor)])  # type: ignore[misc, union-attr]
    assert rank_recipes({}, seed=0) == []
