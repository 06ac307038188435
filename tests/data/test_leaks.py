from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from marey.data import Clip, Leak, content_hash, find_leaks


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.mp4").write_bytes(b"one video")
    shutil.copy(tmp_path / "a.mp4", tmp_path / "copy of a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"two video")  # of the same size
    (tmp_path / "c.mp4").write_bytes(b"another video")
    return tmp_path


def test_a_clean_split_has_no_leaks(files: Path) -> None:
    clips = [
        Clip(files / "a.mp4", "x", "1"),
        Clip(files / "b.mp4", "x", "2"),
        Clip(files / "c.mp4", "x", "1"),
    ]
    assert find_leaks(clips, [0, 2], [1]) == ()


def test_a_group_on_both_sides_is_named_with_its_clips(files: Path) -> None:
    clips = [Clip(files / f"{name}.mp4", "x", group) for name, group in (("a", "1"), ("b", "2"), ("c", "1"))]
    assert find_leaks(clips, [0, 1], [2]) == (Leak("group", "1", (clips[0].id,), (clips[2].id,)),)


def test_a_copy_under_another_name_is_found_by_its_content(files: Path) -> None:
    clips = [
        Clip(files / "a.mp4", "x", "1"),
        Clip(files / "b.mp4", "x", "2"),
        Clip(files / "copy of a.mp4", "y", "3"),
    ]
    leak = Leak("content", content_hash(files / "a.mp4"), (clips[0].id,), (clips[2].id,))
    assert find_leaks(clips, [0, 1], [2]) == (leak,)


def test_only_spans_that_overlap_share_content(files: Path) -> None:
    a, copy = files / "a.mp4", files / "copy of a.mp4"
    clips = [
        Clip(a, "x", "1", 0.0, 5.0),
        Clip(a, "x", "1", 5.0, 9.0),
        Clip(a, "x", "2", 4.9, 6.0),
        Clip(copy, "x", "2", 9.0, None),
        Clip(copy, "x", "3", None, 0.1),
    ]
    assert find_leaks(clips, [0, 1], [3]) == ()
    assert find_leaks([clips[0], Clip(a, "x", "2", 5.0, 9.0)], [0], [1]) == ()
    (leak,) = find_leaks(clips, [0, 1, 2], [3, 4])[1:]
    assert (leak.kind, leak.left, leak.right) == ("content", (clips[0].id,), (clips[4].id,))
    (leak,) = find_leaks(clips, [0, 1], [2, 3])
    assert (leak.kind, leak.left, leak.right) == ("content", (clips[0].id, clips[1].id), (clips[2].id,))


def test_a_file_without_a_group_leaks_when_its_spans_are_parted(files: Path) -> None:
    clips = [Clip(files / "a.mp4", "x", None, 0, 1), Clip(files / "a.mp4", "x", None, 1, 2)]
    assert [leak.kind for leak in find_leaks(clips, [0], [1])] == ["group"]


def test_a_clip_on_both_sides_leaks_twice_over(files: Path) -> None:
    assert [leak.kind for leak in find_leaks([Clip(files / "a.mp4")], [0], [0])] == ["group", "content"]


def test_a_file_that_is_not_there_shares_nothing(files: Path) -> None:
    clips = [Clip(files / "none.mp4", "x", "1"), Clip(files / "none.mp4", "x", "2")]
    assert find_leaks(clips, [0], [1]) == ()
