from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from marey.data import (
    PARTS,
    Clip,
    Split,
    find_leaks,
    holdout,
    k_folds,
    leave_one_group_out,
    load_data,
    official_split,
)
from marey.errors import DatasetError, UsageError


def clips_of(*rows: str) -> list[Clip]:
    """Clips from words of the form label or label/group."""
    words = [word.partition("/") for word in " ".join(rows).split()]
    return [Clip(Path(f"{n}.mp4"), label, group or None) for n, (label, _, group) in enumerate(words)]


def kth(actors: int = 25) -> list[Clip]:
    return clips_of(*(f"action{a}/person{p}" for a in range(6) for p in range(actors) for _ in range(4)))


def random_clips(seed: int) -> list[Clip]:
    rng = np.random.default_rng(seed)
    labels, groups, count = int(rng.integers(2, 7)), int(rng.integers(6, 40)), int(rng.integers(60, 300))
    shown = rng.choice(labels, count, p=rng.dirichlet(np.full(labels, 5)))
    filmed = rng.choice(groups, count, p=rng.dirichlet(np.full(groups, 3)))
    return clips_of(*(f"label{label}/group{group}" for label, group in zip(shown, filmed, strict=True)))


def labels(clips: Sequence[Clip], part: Sequence[int]) -> set[str | None]:
    return {clips[index].label for index in part}


def groups(clips: Sequence[Clip], part: Sequence[int]) -> set[str | None]:
    return {clips[index].group for index in part}


def test_every_clip_is_in_one_part_and_every_group_stays_whole() -> None:
    for seed in range(60):
        clips = random_clips(seed)
        split = holdout(clips, test=0.25, val=0.15, seed=seed)
        assert sorted(split.train + split.val + split.test) == list(range(len(clips)))
        assert not groups(clips, split.train) & groups(clips, split.test)
        assert not groups(clips, split.train) & groups(clips, split.val)
        assert not groups(clips, split.val) & groups(clips, split.test)


def test_parts_have_the_share_asked_for_and_all_classes_or_it_is_said() -> None:
    off = []
    for seed in range(60):
        clips = random_clips(seed)
        split = holdout(clips, test=0.3, seed=seed)
        off.append(abs(len(split.test) / len(clips) - 0.3))
        assert off[-1] < 0.05 or any("groups stay whole" in note for note in split.notes)
        everything = labels(clips, range(len(clips)))
        for name, part in (("train", split.train), ("test", split.test)):
            absent = everything - labels(clips, part)
            assert bool(absent) == any(note.startswith(f"{name} has no clip of") for note in split.notes)
        assert labels(clips, split.train) == everything
    assert np.mean(off) < 0.02


def test_the_classes_of_equal_actors_are_shared_exactly() -> None:
    clips = kth()
    split = holdout(clips, test=9 / 25, seed=0)
    assert Counter(clips[index].label for index in split.test) == {f"action{a}": 36 for a in range(6)}
    assert len(groups(clips, split.train)) == 16
    assert split.val == ()
    assert split.notes == ()


def test_a_class_of_as_many_groups_as_parts_is_in_each_part() -> None:
    clips = clips_of(*(f"l{label}/g{label}_{group}" for label in range(20) for group in range(3)))
    for seed in range(5):
        split = holdout(clips, test=0.2, val=0.2, seed=seed)
        assert len(labels(clips, split.train)) == len(labels(clips, split.val)) == len(labels(clips, split.test)) == 20


def test_a_split_is_the_same_from_the_same_seed_and_another_from_another() -> None:
    clips = kth()
    assert holdout(clips, test=0.2, val=0.2, seed=3) == holdout(clips, test=0.2, val=0.2, seed=3)
    assert holdout(clips, test=0.2, seed=3) != holdout(clips, test=0.2, seed=4)
    assert k_folds(clips, 5, seed=3) == k_folds(clips, 5, seed=3)
    assert k_folds(clips, 5, seed=3) != k_folds(clips, 5, seed=4)


def test_a_validation_part_can_be_set_aside_alone() -> None:
    split = holdout(kth(), test=0, val=0.2, seed=0)
    assert (len(split.train), len(split.val), len(split.test)) == (480, 120, 0)


def test_spans_of_one_file_stay_together_where_no_groups_are_known() -> None:
    clips = [Clip(Path(f"{file}.mp4"), f"l{span % 3}", None, span, span + 1) for file in range(10) for span in range(9)]
    split = holdout(clips, test=0.3, seed=0)
    assert not {clips[index].path for index in split.train} & {clips[index].path for index in split.test}
    assert find_leaks(clips, split.train, split.test) == ()


def test_a_class_of_one_group_is_trained_on_and_its_absence_from_the_test_is_said() -> None:
    clips = clips_of("a/1 a/2 a/3 a/4 b/1 b/2 b/3 b/4 rare/4")
    for seed in range(20):
        split = holdout(clips, test=0.25, seed=seed)
        assert 8 in split.train
        assert "test has no clip of rare: too few groups" in split.notes


def test_a_share_that_whole_groups_cannot_meet_is_said() -> None:
    split = holdout(clips_of("a/1 a/1 a/2 a/2 b/1 b/2"), test=0.1, seed=0)
    assert split.notes == (
        "train has 50% of the clips and not 90%: groups stay whole",
        "test has 50% of the clips and not 10%: groups stay whole",
    )


def test_each_clip_is_tested_in_one_fold_and_groups_stay_whole() -> None:
    for seed in range(40):
        clips = random_clips(seed)
        k = min(5, len(groups(clips, range(len(clips)))))
        folds = k_folds(clips, k, seed=seed)
        assert sorted(index for fold in folds for index in fold.test) == list(range(len(clips)))
        for fold in folds:
            assert fold.test
            assert fold.val == ()
            assert sorted(fold.train + fold.test) == list(range(len(clips)))
            assert not groups(clips, fold.train) & groups(clips, fold.test)
            unlearnt = labels(clips, range(len(clips))) - labels(clips, fold.train)
            assert bool(unlearnt) == bool(fold.notes)


def test_folds_are_alike_in_size_and_classes() -> None:
    clips = kth()
    for fold in k_folds(clips, 5, seed=0):
        assert Counter(clips[index].label for index in fold.test) == {f"action{a}": 20 for a in range(6)}


def test_as_many_folds_as_groups_test_on_one_group_each() -> None:
    clips = clips_of("a/1 b/1 a/2 a/3 b/3 b/3 b/3 a/4 b/5")
    assert {len(groups(clips, fold.test)) for fold in k_folds(clips, 5, seed=0)} == {1}


def test_each_group_is_left_out_once_in_the_order_of_its_name() -> None:
    clips = clips_of(*(f"l{number % 2}/set1_{number // 2}" for number in range(2, 24)))
    folds = leave_one_group_out(clips)
    assert [groups(clips, fold.test) for fold in folds] == [{f"set1_{number}"} for number in range(1, 12)]
    for fold in folds:
        assert sorted(fold.train + fold.test) == list(range(len(clips)))
        assert not groups(clips, fold.train) & groups(clips, fold.test)


def test_a_fold_that_cannot_learn_a_class_says_so() -> None:
    folds = leave_one_group_out(clips_of("a/1 b/1 a/2 b/2 c/2"))
    assert [fold.notes for fold in folds] == [
        (),
        ("c cannot be learnt in this fold: all of its groups are in the test part",),
    ]


@pytest.mark.parametrize(
    ("clips", "said"),
    [
        ("", "no clips"),
        ("a/1 a/2 a/3", "all clips are of one class, 'a'"),
        ("a/1 b/2 c/3", "each of the 3 classes has one clip"),
        ("a/1 a/1 b/1 b/1", "all clips are of one group, '1'"),
        ("a/1 a/1 b/2 b/2", "no class can be trained on and tested.*a, b are in one group only"),
    ],
)
def test_clips_that_cannot_be_split_are_refused_with_the_reason(clips: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        holdout(clips_of(clips), test=0.3, seed=0)
    with pytest.raises(DatasetError, match=said):
        k_folds(clips_of(clips), 2, seed=0)


def test_fewer_groups_than_parts_or_folds_are_refused_with_both_numbers() -> None:
    clips = clips_of("a/1 b/1 a/2 b/2 a/3 b/3")
    with pytest.raises(DatasetError, match=r"3 groups \(1, 2, 3\) are too few for 5 folds"):
        k_folds(clips, 5, seed=0)
    with pytest.raises(DatasetError, match=r"2 groups \(1, 2\) are too few for 3 parts \(train, test, val\)"):
        holdout(clips[:4], test=0.3, val=0.3, seed=0)


def test_a_part_for_which_classes_of_one_group_leave_nothing_is_refused() -> None:
    with pytest.raises(DatasetError, match="no groups are left for val: clips of b, c are in one group only"):
        holdout(clips_of("a/1 a/2 a/3 b/1 c/2"), test=0.3, val=0.3, seed=0)


def test_clips_without_labels_cannot_be_split_by_class() -> None:
    with pytest.raises(DatasetError, match=r"1 of 3 clips have no label \(2\.mp4\)"):
        holdout([*clips_of("a/1 b/2"), Clip(Path("2.mp4"))], test=0.3, seed=0)


def test_leaving_groups_out_needs_groups() -> None:
    with pytest.raises(DatasetError, match=r"no groups are known.*4 clips"):
        leave_one_group_out(clips_of("a a b b"))
    with pytest.raises(DatasetError, match="one group, '1'"):
        leave_one_group_out(clips_of("a/1 a/1 b/1"))


@pytest.mark.parametrize(("test", "val"), [(0, 0), (1, 0), (0.5, 0.5), (-0.1, 0.5), (0.8, 0.3), (float("nan"), 0)])
def test_shares_that_cannot_be_meant_are_wrong_use(test: float, val: float) -> None:
    with pytest.raises(UsageError, match="shares"):
        holdout(kth(), test=test, val=val, seed=0)


def test_one_fold_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="1 folds: at least 2"):
        k_folds(kth(), 1, seed=0)


def test_the_split_of_the_data_set_is_taken_where_it_brings_one() -> None:
    train, val, test = (Clip(Path(f"{part}.mp4"), "a", split=part) for part in PARTS)
    assert official_split([test, train, val, train]) == Split((1, 3), (2,), (0,))
    assert official_split([train]) == Split((0,), (), ())
    assert official_split(clips_of("a b")) is None
    with pytest.raises(DatasetError, match=r"1 of 2 clips have no split \(0\.mp4\)"):
        official_split([train, *clips_of("a")])


def test_the_real_clips_are_folded_by_sequence(shared_data: Path) -> None:
    clips = load_data(shared_data / "ut-interaction-set1").clips
    folds = leave_one_group_out(clips)
    assert [len(fold.test) for fold in folds] == [6, 6, 6, 6, 6, 5, 6, 7, 6, 6]
    assert all(find_leaks(clips, fold.train, fold.test) == () for fold in folds)
