from __future__ import annotations

from pathlib import Path

import pytest

from marey.data import Clip, Manifest, group_or_path


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [
        (None, None, "walking/a b.mp4"),
        (0.0, 2.5, "walking/a b.mp4@0-2.5"),
        (3.0, None, "walking/a b.mp4@3-"),
        (None, 0.1, "walking/a b.mp4@-0.1"),
    ],
)
def test_a_clip_is_named_by_its_path_and_its_span(start: float | None, end: float | None, name: str) -> None:
    assert Clip(Path("walking/a b.mp4"), start=start, end=end).id == name


def test_spans_a_tenth_of_a_millisecond_apart_have_names_of_their_own() -> None:
    path = Path("long.mp4")
    assert Clip(path, start=86_399.1234).id != Clip(path, start=86_399.1235).id


def test_a_clip_without_a_group_belongs_to_its_file() -> None:
    first, second = Clip(Path("a.mp4"), start=0, end=1), Clip(Path("a.mp4"), start=1, end=2)
    assert group_or_path(first) == group_or_path(second) == "a.mp4"
    assert group_or_path(Clip(Path("a.mp4"), group="person01")) == "person01"


def manifest() -> Manifest:
    clips = (
        Clip(Path("a.mp4"), "walk", "p1", 0, 1, "train"),
        Clip(Path("a.mp4"), "run", "p1", 1, 2, "train"),
        Clip(Path("b.mp4"), "walk", None, split="test"),
    )
    return Manifest(clips, Path(), "a test", "by hand")


def test_a_manifest_says_what_it_holds() -> None:
    assert manifest().labels == ("run", "walk")
    assert manifest().groups == ("b.mp4", "p1")
    assert manifest().describe() == {
        "source": "a test",
        "grouping": "by hand",
        "clips": 3,
        "files": 2,
        "groups": 2,
        "labels": {"run": 1, "walk": 2},
        "splits": {"train": 2, "test": 1},
        "notes": [],
    }


def test_other_clips_leave_the_rest_of_the_manifest_as_it_is() -> None:
    some = manifest().with_clips(manifest().clips[:1])
    assert some.labels == ("walk",)
    assert some.source == "a test"


def test_a_file_is_left_out_with_all_of_its_clips_and_that_is_said() -> None:
    for name in ("a.mp4", Path("a.mp4").absolute(), "./a.mp4"):
        rest = manifest().without([name])
        assert [clip.id for clip in rest.clips] == ["b.mp4"]
        assert rest.notes == ("2 of 3 clips are left out by name",)


def test_one_clip_is_left_out_by_its_id() -> None:
    rest = manifest().without(["a.mp4@1-2"])
    assert [clip.id for clip in rest.clips] == ["a.mp4@0-1", "b.mp4"]


def test_a_name_that_is_not_there_leaves_nothing_out() -> None:
    assert manifest().without(["c.mp4"]) == manifest()
