from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from marey import atomic
from marey.atomic import atomic_file, atomic_folder, check_writable, temp_path, write_atomic
from marey.errors import UsageError


def test_atomic_file_keeps_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("single_writer", [False, True])
def test_atomic_file_leaves_only_the_old_file_after_an_error(tmp_path: Path, single_writer: bool) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")

    def interrupted() -> None:
        with atomic_file(path, single_writer=single_writer) as temporary:
            temporary.write_text("half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_file(path) as one, atomic_file(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"


def test_a_single_writer_overwrites_what_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    temp_path(path).write_text("half of it")
    write_atomic(path, "new", single_writer=True)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_name_may_have_maximum_length(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 255)
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.txt"
    with pytest.raises(FileNotFoundError) as raised:
        write_atomic(path, "new")
    assert raised.value.filename == str(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError) as found:
        write_atomic(folder, "new")
    assert found.value.filename == str(folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a"
    with atomic_folder(path) as temporary:
        (temporary / "b.txt").write_text("b")
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["b.txt"]
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_folder_is_filled_and_a_full_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    with atomic_folder(path) as temporary:
        (temporary / "b.txt").write_text("b")
    for taken in (path, path / "b.txt"):
        with pytest.raises(UsageError, match="already exists"), atomic_folder(taken):
            pytest.fail("it was begun")
    assert (path / "b.txt").read_text() == "b"


@pytest.mark.parametrize("overwrite", [False, True])
def test_atomic_folder_leaves_only_the_old_folder_after_an_error(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "a"
    path.mkdir()
    if overwrite:
        (path / "b.txt").write_text("old")

    def interrupted() -> None:
        with atomic_folder(path, overwrite=overwrite) as temporary:
            (temporary / "b.txt").write_text("half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.read_text() for file in path.iterdir()] == (["old"] if overwrite else [])
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for name in ("old", "new"):
        with atomic_folder(path, overwrite=True) as temporary:
            (temporary / name).write_text(name)
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_another_process_in_the_folder_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def write() -> None:
        with atomic_folder(path) as temporary:
            (temporary / "b.txt").write_text("b")
            path.mkdir()
            (path / "other.txt").write_text("another's")

    with pytest.raises(OSError, match="not empty"):
        write()
    assert [file.name for file in path.iterdir()] == ["other.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_single_writer_replaces_the_folder_of_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "a"
    temp_path(path).mkdir()
    (temp_path(path) / "old.txt").write_text("half of it")
    with atomic_folder(path, single_writer=True) as temporary:
        (temporary / "b.txt").write_text("b")
    assert [file.name for file in path.iterdir()] == ["b.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_folder_and_not_the_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "a"
    with pytest.raises(NotADirectoryError) as raised, atomic_folder(path):
        pytest.fail("it was begun")
    assert raised.value.filename == str(path)


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("name", ["a", "new/folder/a", "a" * 255])
def test_check_writable_writes_nothing(tmp_path: Path, name: str, folder: bool) -> None:
    check_writable(tmp_path / name, folder=folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "folder", "sentence"),
    [
        ("file/a", False, r"file/a cannot be written: \S+file is a file, not a folder"),
        ("file/new/a", True, r"file/new/a cannot be written: \S+file is a file, not a folder"),
        ("full", False, r"full is a folder: name a file"),
        ("full", True, r"full already exists and is not an empty folder"),
        ("file", True, r"file already exists and is not an empty folder"),
        ("a" * 256, False, r"a cannot be written: File name too long; name another place"),
    ],
)
def test_check_writable_refuses_a_path_that_cannot_be_written(
    tmp_path: Path, name: str, folder: bool, sentence: str
) -> None:
    (tmp_path / "file").touch()
    write_whole_in(tmp_path / "full")
    with pytest.raises(UsageError, match=sentence):
        check_writable(tmp_path / name, folder=folder)


def write_whole_in(folder: Path) -> None:
    folder.mkdir()
    write_atomic(folder / "old.txt", "old")


def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed" if os.geteuid() else Path("/proc")  # root may write anywhere but there
    closed.mkdir(mode=0o500, exist_ok=True)
    with pytest.raises(UsageError, match=r"a cannot be written: .*; name another place"):
        check_writable(closed / "new" / "a")


def test_errors_without_a_file_name_get_that_of_the_written_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, atomic_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(OSError, match="No space left") as caught, atomic_folder(tmp_path / "b") as temporary:
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary / "inside"))
    assert caught.value.filename == str(tmp_path / "b")


def test_what_a_killed_process_left_goes_at_the_next_start(tmp_path: Path) -> None:
    left, kept = tmp_path / f".{'0' * 16}.part", tmp_path / ".mine.part"
    left.write_text("half of it")
    (tmp_path / f".{'1' * 16}.part").mkdir()
    kept.touch()
    replaced = [tmp_path / f".{'2' * 16}.part", tmp_path / f".{'2' * 16}.part-before"]  # killed between two renames
    for folder in replaced:
        folder.mkdir()
    with atomic_file(tmp_path / "other") as held:
        held.touch()
        atomic._cleaned.clear()  # as another process would begin
        write_atomic(tmp_path / "a.txt", "new")
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.txt", kept, held, *replaced])


@pytest.mark.parametrize("folder", [False, True])
def test_a_disk_that_fails_to_keep_the_new_leaves_the_old(
    tmp_path: Path, folder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"

    def write(content: str) -> None:
        if not folder:
            write_atomic(path, content)
            return
        with atomic_folder(path, overwrite=True) as temporary:
            (temporary / "inside").write_text(content)

    write("old")

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        write("new")
    assert caught.value.filename == str(path)
    assert (path / "inside" if folder else path).read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_and_then_its_name_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[tuple[Path, bool]] = []
    path = tmp_path / "a.txt"
    monkeypatch.setattr(atomic, "sync", lambda each: waited.append((each, path.exists())))
    write_atomic(path, "new")
    assert [(each.parent, there) for each, there in waited] == [(tmp_path, False), (tmp_path.parent, True)]
    waited.clear()
    write_atomic(tmp_path / "b.txt", "new", durable=False)
    assert waited == []


def test_a_file_system_that_cannot_wait_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    write_atomic(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
