from __future__ import annotations

from pathlib import Path

import pytest

from marey.errors import DatasetError
from marey.prediction import find_clips


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(root: Path, *sources: str | Path) -> list[str]:
    return [clip.path.relative_to(root).as_posix() for clip in find_clips(sources)]


def test_a_file_is_taken_whatever_it_is_called_and_whether_or_not_it_is_there(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    assert names(tmp_path, tmp_path / "notes.txt", tmp_path / "none.mp4") == ["notes.txt", "none.mp4"]


def test_a_folder_stands_for_the_videos_below_it_in_order(tmp_path: Path) -> None:
    for name in ("b/2.MP4", "b/1.avi", "a.mkv", "notes.txt", ".hidden.mp4"):
        touch(tmp_path / name)
    assert names(tmp_path, tmp_path) == ["a.mkv", "b/1.avi", "b/2.MP4"]


def test_a_pattern_stands_for_the_files_that_it_matches(tmp_path: Path) -> None:
    for name in ("2.mp4", "1.mp4", "3.txt", "deep/er/4.mp4"):
        touch(tmp_path / name)
    assert names(tmp_path, str(tmp_path / "*.mp4")) == ["1.mp4", "2.mp4"]
    assert names(tmp_path, str(tmp_path / "**" / "*.mp4")) == ["1.mp4", "2.mp4", "deep/er/4.mp4"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path / "take[1].mp4")
    touch(tmp_path / "take1.mp4")
    assert names(tmp_path, tmp_path / "take[1].mp4") == ["take[1].mp4"]


def test_each_file_comes_once_in_the_order_in_which_it_was_named(tmp_path: Path) -> None:
    second, first = touch(tmp_path / "b.mp4"), touch(tmp_path / "a.mp4")
    assert names(tmp_path, second, tmp_path, first) == ["b.mp4", "a.mp4"]


def test_a_folder_without_videos_and_a_pattern_without_files_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(DatasetError, match=r"no videos in .*ends in one of .*\.mp4"):
        find_clips([tmp_path])
    with pytest.raises(DatasetError, match=r"no file matches '.*\*\.mp4'"):
        find_clips([str(tmp_path / "*.mp4")])
