from __future__ import annotations

from pathlib import Path

import pytest

from marey.data import Clip, Manifest, Part, find_leaks
from marey.errors import DatasetError, UsageError
from marey.training import inner_splits, make_splits


def clips(*, groups: int = 6, labels: tuple[str, ...] = ("run", "walk"), grouped: bool = True) -> list[Clip]:
    return [
        Clip(Path(f"{label}/{number}.mp4"), label, f"person{number}" if grouped else None)
        for label in labels
        for number in range(groups)
    ]


def manifest(members: list[Clip]) -> Manifest:
    return Manifest(tuple(members), Path(), "a test", "the person")


def in_parts(*parts: Part | None) -> Manifest:
    members = [Clip(Path(f"{number}.mp4"), "ab"[number % 2], f"g{number}", split=p) for number, p in enumerate(parts)]
    return manifest(members)


def test_the_split_of_the_data_itself_comes_first() -> None:
    protocol = make_splits(in_parts("train", "train", "val", "val", "test", "test"), folds=None, test=0.25, seed=0)
    (split,) = protocol.splits
    assert (split.train, split.val, split.test) == ((0, 1), (2, 3), (4, 5))
    assert not protocol.pooled
    assert protocol.name == "the split that the data names"


def test_a_split_of_some_clips_only_is_refused() -> None:
    with pytest.raises(DatasetError, match="2 of 4 clips have no split"):
        make_splits(in_parts("train", "test", None, None), folds=None, test=0.25, seed=0)


def test_without_one_a_share_is_held_out_with_groups_intact() -> None:
    data = manifest(clips(groups=8))
    protocol = make_splits(data, folds=None, test=0.25, seed=3)
    (split,) = protocol.splits
    assert sorted((*split.train, *split.test)) == list(range(16))
    assert len(split.test) == 4
    assert not find_leaks(data.clips, split.train, split.test)
    assert protocol.name == "25% of the clips held out, groups intact, seed 3"
    assert make_splits(data, folds=None, test=0.25, seed=3) == protocol


def test_leaving_one_group_out_tests_every_clip_once() -> None:
    data = manifest(clips(groups=5))
    protocol = make_splits(data, folds="group", test=0.25, seed=0)
    assert protocol.name == "leave one group out, 5 folds"
    assert protocol.pooled
    assert sorted(index for split in protocol.splits for index in split.test) == list(range(10))
    for split in protocol.splits:
        assert len({data.clips[index].group for index in split.test}) == 1
        assert not find_leaks(data.clips, (*split.train, *split.val), split.test)


@pytest.mark.parametrize("folds", [3, "3"])
def test_n_folds_test_every_clip_once_with_groups_intact(folds: int | str) -> None:
    data = manifest(clips())
    protocol = make_splits(data, folds=folds, test=0.25, seed=2)
    assert protocol.name == "3 folds, groups intact, seed 2"
    assert len(protocol.splits) == 3
    assert sorted(index for split in protocol.splits for index in split.test) == list(range(12))
    assert not any(find_leaks(data.clips, split.train, split.test) for split in protocol.splits)


def test_where_no_groups_are_known_the_protocol_says_so() -> None:
    data = manifest(clips(grouped=False))
    assert "no groups known: files intact" in make_splits(data, folds="2", test=0.25, seed=0).name
    assert "no groups known: files intact" in make_splits(data, folds=None, test=0.25, seed=0).name
    with pytest.raises(DatasetError, match="no groups are known"):
        make_splits(data, folds="group", test=0.25, seed=0)


@pytest.mark.parametrize(
    ("folds", "sentence"),
    [
        ("people", "folds='people' is neither 'group' nor a number; write --folds group or --folds 5"),
        ("2.5", "folds='2.5' is neither"),
        ("", "folds='' is neither"),
        ("1", "1 folds: at least 2"),
        (0, "0 folds: at least 2"),
        ("-2", "-2 folds: at least 2"),
    ],
)
def test_folds_that_cannot_be_are_named(folds: str | int, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make_splits(manifest(clips()), folds=folds, test=0.25, seed=0)


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(DatasetError, match="6 groups"):
        make_splits(manifest(clips()), folds=7, test=0.25, seed=0)


def test_validation_is_taken_from_the_training_clips_by_group() -> None:
    members = clips(groups=8)
    train = [index for index in range(16) if index not in (0, 8)]
    (split,), _ = inner_splits(members, train, share=0.25, folds=1, seed=0)
    assert sorted((*split.train, *split.val)) == train
    assert {members[index].label for index in split.val} == {"run", "walk"}
    assert split.test == ()
    assert not find_leaks(members, split.train, split.val)


def test_each_round_sets_other_groups_aside() -> None:
    members = clips(groups=8)
    train = [index for index in range(16) if index not in (0, 8)]
    splits, notes = inner_splits(members, train, share=0.25, folds=4, seed=0)
    assert sorted(index for split in splits for index in split.val) == train
    assert all(sorted((*split.train, *split.val)) == train for split in splits)
    assert not any(find_leaks(members, split.train, split.val) for split in splits)
    assert notes == ()
    assert inner_splits(members, train, share=0.25, folds=2, seed=0)[0] == splits[:2]


def test_no_more_inner_folds_are_made_than_there_are_groups() -> None:
    splits, _ = inner_splits(clips(groups=3), range(6), share=0.2, folds=5, seed=0)
    assert len(splits) == 3


@pytest.mark.parametrize("folds", [1, 4])
def test_no_share_sets_nothing_aside(folds: int) -> None:
    assert inner_splits(clips(), range(12), share=0.0, folds=folds, seed=0) == ((), ())


@pytest.mark.parametrize("folds", [1, 4])
def test_where_nothing_can_be_set_aside_there_is_no_split_and_a_note_says_why(folds: int) -> None:
    one_group = [Clip(Path(f"{number}.mp4"), "ab"[number % 2], "same") for number in range(4)]
    splits, notes = inner_splits(one_group, range(4), share=0.25, folds=folds, seed=0)
    assert splits == ()
    assert "one group to train on" in notes[0]
    single = [Clip(Path("a.mp4"), "a", "x"), Clip(Path("b.mp4"), "b", "y")]
    splits, notes = inner_splits(single, [0, 1], share=0.25, folds=folds, seed=0)
    assert splits == ()
    assert "no clips could be set aside" in notes[0]
