from __future__ import annotations

from pathlib import Path

import pytest

from marey.whole_file import part_of, whole_file, write_whole


def test_until_it_is_whole_the_old_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with whole_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("alone", [False, True])
def test_after_an_error_the_old_file_stays_and_nothing_else(tmp_path: Path, alone: bool) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")

    def interrupted() -> None:
        with whole_file(path, alone=alone) as part:
            part.write_text("half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_write_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as one, whole_file(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"


def test_what_a_killed_process_left_is_written_over_where_there_is_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    part_of(path).write_text("half of it")
    write_whole(path, "new", alone=True)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_of_full_length_leaves_room(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 255)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_an_error_names_the_file_and_not_its_part(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.txt"
    with pytest.raises(FileNotFoundError) as raised:
        write_whole(path, "new")
    assert raised.value.filename == str(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError) as found:
        write_whole(folder, "new")
    assert found.value.filename == str(folder)
    assert list(tmp_path.iterdir()) == [folder]
