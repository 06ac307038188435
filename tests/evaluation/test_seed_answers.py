"""Intervals of a model that is the average of several seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from marey.evaluation import ClipResult, Evaluation, Metrics, SeedAnswers
from marey.reports.phrases import about_seeds

LABELS = ("bend", "jump")


def rows(*, spread: float, groups: int = 12, each: int = 5, seeds: int = 5, folds: bool = False) -> list[ClipResult]:
    """Return clips whose members lean by seed: a seed that leans far the wrong way has all of its clips wrong."""
    drawn = np.random.default_rng(3)
    leaning = np.linspace(-spread, spread, seeds)
    found = []
    for number in range(groups * each):
        own = drawn.normal(0.4, 1.0)
        first = 1 / (1 + np.exp(-(own + leaning)))
        members = np.stack([first, 1 - first], axis=1)
        mean = np.exp(np.log(members).mean(0))
        found.append(
            ClipResult(
                f"{number}",
                f"{number}.mp4",
                "bend",
                f"g{number // each}",
                1 + number // each if folds else None,
                probabilities=tuple((mean / mean.sum()).tolist()),
                members=members[None],
            )
        )
    return found


def evaluated(found: list[ClipResult], *, trained_seeds: int | None = 5) -> Metrics:
    return Evaluation(LABELS, tuple(found), (), "a test", "0", 0, trained_seeds=trained_seeds).metrics


def width(metrics: Metrics) -> float:
    assert metrics.interval.accuracy is not None
    low, high = metrics.interval.accuracy
    return high - low


def test_the_interval_is_wider_where_the_seeds_differ() -> None:
    alike, apart = (evaluated(rows(spread=spread)) for spread in (0.0, 4.0))
    fixed = evaluated([replace(row, members=None) for row in rows(spread=4.0)])
    assert alike.accuracy == apart.accuracy == fixed.accuracy
    assert width(alike) == pytest.approx(width(fixed), abs=0.02)
    assert width(apart) > 1.3 * width(fixed)
    assert (alike.interval.seeds, apart.interval.seeds, fixed.interval.seeds) == (5, 5, 1)


def test_each_fold_draws_seeds_of_its_own_so_that_many_folds_even_out() -> None:
    together, apart = (evaluated(rows(spread=4.0, folds=folds)) for folds in (False, True))
    assert width(apart) < width(together)


def test_the_accuracy_of_each_seed_is_stated_with_their_spread() -> None:
    found = rows(spread=4.0)
    metrics = evaluated(found)
    alone = [np.mean([row.members[0, seed, 0] > 0.5 for row in found if row.members is not None]) for seed in range(5)]
    assert metrics.seeds is not None
    assert metrics.seeds.accuracy == pytest.approx(alone)
    assert metrics.seeds.spread == pytest.approx(np.std(alone, ddof=1))
    stated = metrics.as_dict()
    assert stated["seeds"] == {"averaged": 5, "accuracy": pytest.approx(alone), "spread": metrics.seeds.spread}
    assert stated["interval"]["method"] == "percentile bootstrap over groups and 5 seeds"
    text = " ".join(about_seeds(metrics))
    assert "average of 5 seeds: alone from" in text
    assert "resamples the seeds with the test set" in text


def test_the_variance_of_an_average_is_drawn_as_large_as_it_is() -> None:
    drawn = np.random.default_rng(0)
    values = drawn.normal(0.0, 1.0, size=(40, 5))  # by clip and seed: the logit of the first class
    variances = []
    for logits in values:
        first = 1 / (1 + np.exp(-logits - np.linspace(-3, 3, 400)[:, None]))  # the class turns where the mean is 0
        members = [np.stack([each, 1 - each], axis=1)[None] for each in first]
        answers = SeedAnswers.of(np.zeros(400, dtype=np.int64), members, [None] * 400, [False] * 400, seed=0)
        assert answers is not None
        variances.append(np.var((answers.drawn == 0).mean(axis=1) * 6))  # the mean logit, on the scale of the line
    assert np.mean(variances) == pytest.approx(np.mean(values.var(axis=1, ddof=1)) / 5, rel=0.08)


def test_one_seed_says_that_the_interval_does_not_hold_it_and_an_optimum_has_none() -> None:
    single = evaluated([replace(row, members=None) for row in rows(spread=4.0)], trained_seeds=1)
    assert single.interval.as_dict()["seeds"] == 1
    assert single.as_dict()["seeds"] is None
    (text,) = about_seeds(single)
    assert text.startswith("The seed of the training is kept: the interval does not hold")
    optimum = evaluated([replace(row, members=None) for row in rows(spread=4.0)], trained_seeds=None)
    assert optimum.interval.as_dict()["seeds"] is None
    assert about_seeds(optimum) == []


def test_folds_with_other_numbers_of_seeds_are_not_mixed_and_failed_clips_are_wrong() -> None:
    found = rows(spread=4.0)
    mixed = [replace(row, members=None if number < 5 else row.members) for number, row in enumerate(found)]
    assert evaluated(mixed).seeds is None
    assert evaluated(mixed).interval.seeds == 1
    fewer: list[npt.NDArray[np.float64] | None] = [np.full((1, 2, 2), 0.5), np.full((1, 3, 2), 0.5)]
    assert SeedAnswers.of(np.zeros(2, dtype=np.int64), fewer, [1, 2], [False, False], seed=0) is None
    failed = [
        ClipResult(row.clip, row.path, row.label, row.group, reason="corrupt") if number < 5 else row
        for number, row in enumerate(found)
    ]
    with_failed = evaluated(failed).seeds
    assert with_failed is not None
    assert (with_failed.drawn[:, :5] == -1).all()
    assert max(with_failed.accuracy) <= 55 / 60


def test_every_view_of_a_clip_is_averaged_as_the_model_does_it() -> None:
    drawn = np.random.default_rng(1)
    members = drawn.dirichlet(np.ones(3), size=(300, 2, 3))  # clips, views, seeds
    answers = SeedAnswers.of(np.zeros(300, dtype=np.int64), list(members), [None] * 300, [False] * 300, seed=0)
    assert answers is not None
    alone = members[:, :, 0].mean(1).argmax(-1)
    assert answers.accuracy[0] == (alone == 0).mean()
