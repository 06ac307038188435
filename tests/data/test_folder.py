from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from marey.data import load_data, read_folder
from marey.errors import DatasetError


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_every_sub_folder_is_a_class(tmp_path: Path) -> None:
    manifest = read_folder(tree(tmp_path, "walk/b.mp4", "walk/a.MP4", "run/deep/er/c.avi"))
    assert [(clip.id, clip.label) for clip in manifest.clips] == [
        (f"{tmp_path.as_posix()}/run/deep/er/c.avi", "run"),
        (f"{tmp_path.as_posix()}/walk/a.MP4", "walk"),
        (f"{tmp_path.as_posix()}/walk/b.mp4", "walk"),
    ]
    assert manifest.source == f"the folder {tmp_path}: 2 class folders"
    assert manifest.notes == ()


def test_what_is_left_aside_is_said(tmp_path: Path) -> None:
    root = tree(tmp_path, "walk/a.mp4", "walk/notes.txt", "walk/README", "run/b.mkv", "docs/c.pdf", "d.mp4")
    assert read_folder(root).notes == (
        "the folder 'docs' holds no video",
        "1 video left aside beside the class folders: d.mp4",
        "3 files left aside, no video by the suffix: .pdf, files without a suffix, .txt",
    )


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    root = tree(tmp_path, "walk/a.mp4", "walk/._a.mp4", ".git/b.mp4", "walk/Thumbs.db", ".DS_Store", "walk/.old/c.mp4")
    manifest = read_folder(root)
    assert len(manifest.clips) == 1
    assert manifest.notes == ()


def test_spaces_and_other_alphabets_in_paths_are_ordinary(tmp_path: Path) -> None:
    root = tree(tmp_path / "mes clips été", "marche lente, à deux/vidéo 1.mp4", "歩く/歩く\u3000一.mp4")
    manifest = load_data(root)
    assert manifest.labels == ("marche lente, à deux", "歩く")
    assert all(clip.path.is_file() for clip in manifest.clips)


def test_a_class_has_one_name_however_the_file_system_encodes_it(tmp_path: Path) -> None:
    folder = unicodedata.normalize("NFD", "café")
    assert read_folder(tree(tmp_path, f"{folder}/a.mp4", "thé/b.mp4")).labels == ("café", "thé")


@pytest.mark.parametrize(
    ("first", "second"),
    [("Walk", "walk"), ("caf\u00e9", "cafe\u0301"), ("walk", "walk "), ("hand wave", "hand  wave")],
)
def test_classes_that_a_person_reads_as_one_are_refused_by_name(tmp_path: Path, first: str, second: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read_folder(tree(tmp_path, f"{first}/a.mp4", f"{second}/b.mp4", "run/c.mp4"))
    assert repr(first) in str(caught.value)
    assert repr(second) in str(caught.value)
    assert "give them one name" in str(caught.value)


def test_train_val_and_test_folders_become_the_split(tmp_path: Path) -> None:
    root = tree(tmp_path, "train/walk/a.mp4", "train/run/b.mp4", "Validation/walk/c.mp4", "test/run/d.mp4")
    manifest = read_folder(root)
    assert [(clip.path.name, clip.label, clip.split) for clip in manifest.clips] == [
        ("c.mp4", "walk", "val"),
        ("d.mp4", "run", "test"),
        ("b.mp4", "run", "train"),
        ("a.mp4", "walk", "train"),
    ]
    assert manifest.source.endswith(": 2 class folders")


def test_a_class_may_differ_in_case_between_train_and_test_no_more_than_within(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'Walk' \(folder test/Walk\) and 'walk' \(folder train/walk\)"):
        read_folder(tree(tmp_path, "train/walk/a.mp4", "test/Walk/b.mp4"))


def test_one_class_may_be_called_train(tmp_path: Path) -> None:
    assert read_folder(tree(tmp_path, "train/a.mp4", "bus/b.mp4")).labels == ("bus", "train")


def test_split_folders_beside_class_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds test, train beside walk"):
        read_folder(tree(tmp_path, "train/walk/a.mp4", "test/walk/b.mp4", "walk/c.mp4"))


@pytest.mark.parametrize("names", [["a.mp4", "b.mp4"], ["train/a.mp4", "test/b.mp4"]])
def test_files_without_class_folders_are_refused_with_the_way_out(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(DatasetError, match=r"no class folders.*folder of its own.*manifest\.csv"):
        read_folder(tree(tmp_path, *names))


def test_a_folder_without_videos_says_what_was_looked_for_and_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no videos .*\.avi .*\.mp4 .*found only \.jpg"):
        read_folder(tree(tmp_path, "walk/1.jpg", "walk/2.jpg"))
    with pytest.raises(DatasetError, match="no videos"):
        read_folder(tree(tmp_path / "other", "notes.txt"))


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", "walk/a.mp4", "run/b.mp4")
    elsewhere = tree(tmp_path / "elsewhere", "c.mp4")
    (root / "jump").symlink_to(elsewhere)
    (root / "walk" / "up").symlink_to(root)
    (root / "walk" / "self").symlink_to(root / "walk")
    (root / "run" / "other").symlink_to(root / "walk")
    counts = Counter(clip.label for clip in read_folder(root).clips)
    assert counts == {"walk": 1, "run": 1, "jump": 1}


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path, "walk/a.mp4")
    (root / "walk" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    with pytest.raises(DatasetError, match=r"links that lead nowhere: walk/gone\.mp4"):
        load_data(root)
    assert [clip.path.name for clip in load_data(root, missing="keep").clips] == ["a.mp4", "gone.mp4"]


def test_the_real_clips_are_read(shared_data: Path) -> None:
    manifest = load_data(shared_data / "ut-interaction-set1")
    assert manifest.labels == ("handshake", "hug", "kick", "point", "punch", "push")
    assert len(manifest.clips) == 60
