from __future__ import annotations

from pathlib import Path

import pytest
from annotated import imported, rows, touch

from marey.data import ImportOptions
from marey.errors import DatasetError

FORM = "path label list"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    touch(tmp_path, "walk/a.mp4", "wave/b c.mp4")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("walk/a.mp4 walk\nwave/b c.mp4 wave\n", "spaces between them and no header"),
        ("walk/a.mp4\twalk\r\nwave/b c.mp4\twave\r\n", "tabs between them and no header"),
        ("\ufeffwalk/a.mp4,walk\nwave/b c.mp4,wave", "commas between them and no header"),
        ("path label\nwalk/a.mp4 walk\nwave/b c.mp4 wave\n", "spaces between them and a header"),
        ("path\tlabel\nwalk/a.mp4\twalk\nwave/b c.mp4\twave\n", "tabs between them and a header"),
        ("name,kind\nwalk/a.mp4,walk\nwave/b c.mp4,wave\n", "commas between them and a header"),
        ("walk\\a.mp4;walk\nD:\\x\\wave\\b c.mp4;wave\n", "semicolons between them and no header"),
        ('"walk/a.mp4" walk\n\n"wave/b c.mp4" wave\n', "spaces between them and no header"),
    ],
)
def test_a_list_is_read_with_any_separator_and_said_in_one_sentence(text: str, how: str, videos: Path) -> None:
    (videos / "list.csv").write_bytes(text.encode())
    found = imported(videos / "list.csv", FORM)
    assert rows(found) == [("a.mp4", "walk", None, None), ("b c.mp4", "wave", None, None)]
    assert len(found.notes) == 1
    assert f"2 lines (list.csv 2), read as a path and a label with {how}; 2 of 2 videos found" in found.notes[0]


def test_a_list_in_utf_16_is_read(videos: Path) -> None:
    (videos / "list.txt").write_text("walk/a.mp4\twalk\nwave/b c.mp4\twave\n", encoding="utf-16")
    assert len(rows(imported(videos / "list.txt", FORM))) == 2


def test_lists_of_a_folder_are_parts_of_the_split_and_a_file_names_the_numbers(videos: Path) -> None:
    (videos / "x_train_list_videos.txt").write_text("walk/a.mp4 0\n", encoding="utf-8")
    (videos / "x_val_list_videos.txt").write_text("wave/b c.mp4 1\n", encoding="utf-8")
    (videos / "label_map_x.txt").write_text("walking\nwaving\n", encoding="utf-8")
    found = imported(videos, FORM)
    assert [(clip.label, clip.split) for clip in found.manifest.clips] == [("walking", "train"), ("waving", "val")]
    assert "classes named by label_map_x.txt" in found.notes[0]
    named = imported(videos, FORM, ImportOptions(classes=("one", "two")))
    assert named.manifest.labels == ("one", "two")


def test_the_official_lists_of_ucf101_are_read(videos: Path) -> None:
    (videos / "classInd.txt").write_text("1 walk\n2 wave\n", encoding="utf-8")
    (videos / "trainlist01.txt").write_text("walk/a.mp4 1\n", encoding="utf-8")
    (videos / "testlist01.txt").write_text("wave/b c.mp4\n", encoding="utf-8")
    found = imported(videos, FORM)
    assert [(clip.label, clip.split) for clip in found.manifest.clips] == [("wave", "test"), ("walk", "train")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("walk/a.mp4 0 1\n", r"line 1 has several labels for walk/a\.mp4: a clip has one label"),
        ("walk/a.mp4,0,1\n", "line 1 has several labels"),
        (
            "walk/a.mp4 0\nwalk/a.mp4 1\n",
            "line 2 of list.txt has the label '1' of walk/a.mp4, and line 1 of list.txt '0'",
        ),
        ("walk/a.mp4 0\nwave/b c.mp4\n", r"1 clip of 2 without a label \(line 2 of list.txt\)"),
        ("walk/a.mp4,walk\nwave/b c.mp4,wave\nx/gone.mp4,walk\n,wave\n", "line 4 names no video"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, message: str, videos: Path) -> None:
    (videos / "list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        imported(videos / "list.txt", FORM)


def test_a_manifest_is_no_such_list(videos: Path) -> None:
    (videos / "manifest.csv").write_text("path,label,group\nwalk/a.mp4,walk,1\n", encoding="utf-8")
    with pytest.raises(DatasetError):
        imported(videos, FORM)
