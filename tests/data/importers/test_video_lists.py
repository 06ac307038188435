from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey import commands
from marey.data import ImportOptions, VideoList, detect_format, load_data, read_source
from marey.data.importers.features import FeatureTable
from marey.errors import DatasetError, UsageError


def write_list(path: Path, rows: Sequence[Sequence[str]], columns: Sequence[str] = ("video_path", "label")) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook's folder: four videos in class folders, metadata.csv with paths of another machine, and the parts."""
    root = tmp_path / "notebook"
    rows = []
    for label in ("Archery", "Biking"):
        (root / "videos" / label).mkdir(parents=True)
        for group in (1, 2):
            name = f"v_{label}_g{group:02d}_c01.avi"
            (root / "videos" / label / name).write_bytes(name.encode())
            rows.append((f"/content/drive/UCF101/{label}/{name}", label))
    write_list(root / "metadata.csv", rows)
    write_list(root / "train.csv", rows[:2])
    write_list(root / "val.csv", rows[2:3])
    write_list(root / "test.csv", rows[3:])
    return root


def add_features(root: Path, *names: str) -> None:
    (root / "features").mkdir()
    for number, name in enumerate(names):
        np.save(root / "features" / f"{name}.npy", np.full((3, 4), number, np.float32))


def test_a_notebooks_lists_become_a_manifest_with_split_and_groups(notebook: Path, tmp_path: Path) -> None:
    assert detect_format(notebook) == "video list"
    done = commands.exchange.import_data(notebook, out=tmp_path / "out")
    assert done.path == tmp_path / "out" / "manifest.csv"
    assert done.notes[0] == (
        "matched: rows: metadata.csv 4, train.csv 2, val.csv 1, test.csv 1; 4 of 4 videos found, 4 by their names"
    )
    found = [(clip.path.name, clip.label, clip.split, clip.group) for clip in load_data(tmp_path / "out").clips]
    assert found[0] == ("v_Archery_g01_c01.avi", "Archery", "train", "Archery_g01")
    assert [split for _, _, split, _ in found] == ["train", "train", "val", "test"]
    with pytest.raises(UsageError, match="exists, and is left as it is"):
        commands.exchange.import_data(notebook, out=tmp_path / "out")


def test_features_with_the_names_of_the_videos_are_taken_where_there_are_any(notebook: Path, tmp_path: Path) -> None:
    names = [f"v_{label}_g{group:02d}_c01" for label in ("Archery", "Biking") for group in (1, 2)]
    add_features(notebook, *names, "spare")
    done = commands.exchange.import_data(notebook, out=tmp_path / "out")
    assert "4 of 4 videos have features, by the name of the video; 1 .npy file in no list" in done.notes[0]
    assert [(clip.label, clip.split) for clip in done.manifest.clips][2:] == [("Biking", "val"), ("Biking", "test")]
    assert np.load(done.manifest.clips[2].path).tolist() == [[2.0] * 4] * 3
    videos = commands.exchange.import_data(notebook, out=tmp_path / "videos.csv", take="videos")
    assert videos.path == tmp_path / "videos.csv"
    assert videos.manifest.clips[0].path.suffix == ".avi"


def test_features_that_are_missing_stop_the_import_or_are_left_out(notebook: Path, tmp_path: Path) -> None:
    add_features(notebook, "v_Archery_g01_c01", "v_Biking_g01_c01")
    with pytest.raises(DatasetError, match=r"there is no \.npy file with the name of the video"):
        commands.exchange.import_data(notebook, out=tmp_path / "out")
    done = commands.exchange.import_data(notebook, out=tmp_path / "out", on_error="skip")
    assert len(done.manifest.clips) == 2


def test_videos_that_are_missing_stop_the_import_or_are_left_out(notebook: Path, tmp_path: Path) -> None:
    (notebook / "videos" / "Biking" / "v_Biking_g02_c01.avi").unlink()
    with pytest.raises(DatasetError, match=r"1 listed videos are not there: .*v_Biking_g02_c01.avi; matched: .*3 of 4"):
        commands.exchange.import_data(notebook, out=tmp_path / "out")
    done = commands.exchange.import_data(notebook, out=tmp_path / "out", on_error="skip")
    assert len(done.manifest.clips) == 3


def test_a_path_is_taken_as_it_is_written_before_names_are_looked_for(notebook: Path) -> None:
    write_list(notebook / "metadata.csv", [("videos/Archery/v_Archery_g01_c01.avi", "Archery")])
    for name in ("train.csv", "val.csv", "test.csv"):
        (notebook / name).unlink()
    found = read_source(notebook)
    assert isinstance(found, VideoList)
    assert found.notes == ("matched: rows: metadata.csv 1; 1 of 1 video found, 1 at their paths",)


def test_files_of_one_name_are_told_apart_by_their_folders(notebook: Path) -> None:
    for label in ("Archery", "Biking"):
        (notebook / "videos" / label / "a.avi").write_bytes(label.encode())
    rows = [(f"D:\\data\\{label}\\a.avi", label) for label in ("Archery", "Biking")]
    write_list(notebook / "only.csv", rows)
    found = read_source(notebook / "only.csv")
    assert isinstance(found, VideoList)
    assert [clip.path.read_bytes().decode() for clip in found.manifest.clips] == ["Archery", "Biking"]
    write_list(notebook / "only.csv", [("a.avi", "Archery")])
    with pytest.raises(DatasetError, match=r"a\.avi may be .*a\.avi or .*a\.avi: name folders"):
        read_source(notebook / "only.csv")


def test_numbers_are_named_by_classes_or_by_the_column_that_has_names(notebook: Path) -> None:
    one = notebook / "one.csv"
    write_list(one, [("v_Archery_g01_c01.avi", "1")])
    found = read_source(one, ImportOptions(classes=("Biking", "Archery")))
    assert isinstance(found, VideoList)
    assert found.manifest.labels == ("Archery",)
    with pytest.raises(DatasetError, match="has the label '1', and --classes names Biking"):
        read_source(one, ImportOptions(classes=("Biking",)))
    write_list(one, [("v_Archery_g01_c01.avi", "0", "Archery")], ("video_path", "label", "class_name"))
    named = read_source(one)
    assert isinstance(named, VideoList)
    assert named.manifest.labels == ("Archery",)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("train.csv", [("/content/drive/UCF101/Archery/v_Archery_g01_c01.avi", "Biking")], "has the label 'Biking' of"),
        ("val.csv", [("/content/drive/UCF101/Archery/v_Archery_g01_c01.avi", "Archery")], "has the split 'val' of"),
        ("metadata.csv", [("", "Archery")], "row 2 names no video"),
        ("metadata.csv", [("a.avi", "Archery", "more")], "row 2 has 3 values where the header has 2"),
        ("metadata.csv", [("nowhere.avi", "Archery"), ("gone.avi", "")], "listed video without a label: gone.avi"),
    ],
)
def test_lists_that_contradict_each_other_or_are_broken_are_refused(
    name: str, rows: Any, message: str, notebook: Path
) -> None:
    if name == "metadata.csv":
        for part in ("train.csv", "val.csv", "test.csv"):
            (notebook / part).unlink()
    write_list(notebook / name, rows)
    with pytest.raises(DatasetError, match=message):
        read_source(notebook)


def test_lists_whose_videos_are_nowhere_are_refused(tmp_path: Path) -> None:
    write_list(tmp_path / "metadata.csv", [("a.avi", "x"), ("b\0.avi", "y"), ("c" * 5000 + ".avi", "y")])
    with pytest.raises(DatasetError, match="none of 3 listed videos is there"):
        read_source(tmp_path)
    with pytest.raises(DatasetError, match=r"holds no \.npy file with the name of a listed video, as a\.avi"):
        read_source(tmp_path, ImportOptions(take="features"))


def test_a_folder_of_features_with_a_list_of_paths_is_read_as_before(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4), np.float32))
    (tmp_path / "list.csv").write_text("path,label\na.npy,x\n", encoding="utf-8")
    assert detect_format(tmp_path) == "feature folder"
    assert isinstance(read_source(tmp_path), FeatureTable)
