from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest

from marey.app.storage import new_folder, prune, safe_name, safe_suffix, save_upload


def test_an_upload_is_saved_under_a_safe_name(tmp_path: Path) -> None:
    kept = save_upload(io.BytesIO(b"video"), "../../etc/passwd.MP4", tmp_path / "uploads")
    assert kept.parent == tmp_path / "uploads"
    assert kept.suffix == ".mp4"
    assert kept.read_bytes() == b"video"
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_the_same_upload_is_saved_once(tmp_path: Path) -> None:
    first = save_upload(io.BytesIO(b"video"), "a.mp4", tmp_path)
    assert save_upload(io.BytesIO(b"video"), "b.mp4", tmp_path) == first
    assert save_upload(io.BytesIO(b"other"), "a.mp4", tmp_path) != first


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.MOV", ".mov"), ("a", ""), ("a.m p4", ""), ("a./../x", ""), ("a.toolong1", ""), (".mp4", "")],
)
def test_only_a_plain_suffix_of_an_untrusted_name_is_used(name: str, suffix: str) -> None:
    assert safe_suffix(name) == suffix


@pytest.mark.parametrize(
    "name", ["../../x", "/", "", "...", "a/b\\c", "\x00\n", "x" * 500, "~root", "CON:1", "Läufer 1"]
)
def test_an_untrusted_text_becomes_a_safe_name(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe) <= 60
    assert not safe.startswith((".", "-"))
    assert not set(safe) & set("/\\:\x00\n~ ")


def test_the_oldest_files_go_first_and_new_ones_stay(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(b"x" * 100)
        os.utime(path, (time.time() - 1000 + number,) * 2)
    (tmp_path / "new.mp4").write_bytes(b"x" * 1000)
    prune(tmp_path, most=250, in_use=500)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.mp4"]


def test_a_folder_that_exists_gets_a_number(tmp_path: Path) -> None:
    for expected in ("clips", "clips-2", "clips-3"):
        folder = new_folder(tmp_path, "clips")
        assert folder.name == expected
        folder.mkdir()
