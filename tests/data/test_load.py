from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from marey.data import CATALOG, Clip, Manifest, data_home, load_data, write_manifest
from marey.errors import DatasetError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAREY_DATA", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def draw(folder: Path) -> Manifest:
    clips = [folder / "walking" / f"person0{number}_walking_d1_uncomp.mp4" for number in (1, 2)]
    (folder / "walking").mkdir(parents=True)
    for path in clips:
        path.touch()
    manifest = Manifest(tuple(Clip(path, "walking") for path in clips), folder, "", "")
    write_manifest(manifest, folder / "manifest.csv")
    return manifest


def test_a_name_that_is_not_drawn_yet_says_how_to_draw_it(home: Path) -> None:
    assert not CATALOG["embedded"].is_here
    with pytest.raises(DatasetError, match=r"'embedded' is not here yet.*run 'marey data make'"):
        load_data("embedded")


def test_a_name_is_loaded_from_the_home_of_the_data(home: Path) -> None:
    draw(home / "embedded")
    assert CATALOG["embedded"].is_here
    manifest = load_data("embedded")
    assert len(manifest.clips) == 2
    assert manifest.source == f"the data set 'embedded' in {home / 'embedded'}"
    assert manifest.grouping == "groups by the pattern 'kth': 2 groups"


def test_a_folder_that_exists_wins_over_a_name(home: Path) -> None:
    draw(home / "embedded")
    Path("embedded/run").mkdir(parents=True)
    Path("embedded/run/a.mp4").touch()
    assert load_data("embedded").labels == ("run",)


def test_without_a_word_named_data_lie_in_the_user_s_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAREY_DATA", raising=False)
    assert data_home() == platformdirs.user_data_path("marey")


def test_a_manifest_speaks_for_its_folder(tmp_path: Path) -> None:
    draw(tmp_path / "data")
    (tmp_path / "data" / "unlisted").mkdir()
    (tmp_path / "data" / "unlisted" / "a.mp4").touch()
    manifest = load_data(tmp_path / "data")
    assert manifest.labels == ("walking",)
    assert manifest.source == f"the manifest {tmp_path / 'data' / 'manifest.csv'}"


def test_a_group_expression_reaches_every_kind_of_data(home: Path) -> None:
    draw(home / "embedded")
    for data in ("embedded", home / "embedded", home / "embedded" / "manifest.csv"):
        assert load_data(data, group_regex=r"_(d\d)_").groups == ("d1",)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("embeded", "did you mean 'embedded'"),
        ("nowhere/at/all", "no folder, no manifest and no name"),
        ("x" * 5000, "no folder"),
        ("a.mp4", "one video, not a data set"),
        ("a.txt", "not a data set"),
        ("no.csv", "no folder, no manifest"),
    ],
)
def test_what_is_no_data_set_is_refused_with_the_way_out(home: Path, data: str, said: str) -> None:
    Path("a.mp4").touch()
    Path("a.txt").touch()
    with pytest.raises(DatasetError, match=said):
        load_data(data)
