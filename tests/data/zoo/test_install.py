from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import pytest

from marey.data import CATALOG, find_leaks, holdout, install, load_data
from marey.data.zoo.presets import PRESETS
from marey.data.zoo.readers import KTH_ACTIONS
from marey.data.zoo.registry import PUBLISHED
from marey.errors import DatasetError, UnknownNameError, UsageError

pytest_plugins = ("small_archives",)

needs_tool = pytest.mark.skipif(
    not any(shutil.which(tool) for tool in ("unrar", "unar", "bsdtar")), reason="no tool that unpacks RAR is installed"
)
PEOPLE = (2, 11, 12, 19)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAREY_DATA", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.fixture
def offer(shop: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, bytes]], None]:
    """Lets the shop be the publisher of a data set, with small archives of the same layout."""

    def put(name: str, files: dict[str, bytes]) -> None:
        shop.files |= files
        archives = []
        for archive in PUBLISHED[name].archives:
            file = replace(archive.file, urls=(f"{shop.url}/{archive.file.name}",), size=None, sha256=None)
            archives.append(replace(archive, file=file))
        monkeypatch.setitem(PUBLISHED, name, replace(PUBLISHED[name], archives=tuple(archives)))

    return put


@pytest.fixture
def kth(make_zip: Callable[..., bytes]) -> dict[str, bytes]:
    """KTH's archives, with four people in one scenario; the files are no videos, and all differ."""
    names = [[f"person{person:02d}_{action}_d1" for person in PEOPLE] for action in KTH_ACTIONS]
    archives = {
        f"{action}.zip": make_zip({f"{name}_uncomp.avi": name.encode() * 50 for name in of})
        for action, of in zip(KTH_ACTIONS, names, strict=True)
    }
    sequences = "".join(f"{name}\t\tframes\t1-50, 60-100\n" for of in names for name in of)
    return archives | {"00sequences.txt": sequences.encode()}


@pytest.fixture
def ucf101(make_zip: Callable[..., bytes], make_rar: Callable[..., bytes]) -> dict[str, bytes]:
    """UCF101's archives: the classes of the presets, ten groups of two clips each."""
    classes = ("BabyCrawling", "CuttingInKitchen", "IceDancing", "WritingOnBoard")
    videos = {
        f"{label}/v_{label}_g{group:02d}_c{clip:02d}.avi": f"{label} {group} {clip}".encode()
        for label in classes
        for group in range(1, 11)
        for clip in (1, 2)
    }
    lists = {}
    for number in (1, 2, 3):
        tested = [video for video in videos if int(video.split("_g")[1][:2]) in range(3 * number - 2, 3 * number + 1)]
        lists[f"ucfTrainTestlist/testlist0{number}.txt"] = "\n".join(tested).encode()
        trained = (f"{video} 1" for video in videos if video not in tested)
        lists[f"ucfTrainTestlist/trainlist0{number}.txt"] = "\n".join(trained).encode()
    return {
        "UCF101TrainTestSplits-RecognitionTask.zip": make_zip(lists),
        "UCF101.rar": make_rar({f"UCF-101/{name}": content for name, content in videos.items()}),
    }


@pytest.fixture
def hmdb51(make_rar: Callable[..., bytes]) -> dict[str, bytes]:
    """HMDB51's archives: a rar of rars, and lists in which the last of six films is used nowhere."""
    classes = ("drink", "fall_floor", "hit", "shoot_gun", "smoke", "talk")
    names = {label: [f"film_{film}_{label}_u_nm_np1_ba_goo_0.avi" for film in range(6)] for label in classes}
    inner = {f"{label}.rar": make_rar({f"{label}/{name}": name.encode() for name in names[label]}) for label in classes}
    lists = {
        f"testTrainMulti_7030_splits/{label}_test_split{number}.txt": "".join(
            f"{name} {0 if film == 5 else 2 if film == number else 1} \n" for film, name in enumerate(names[label])
        ).encode()
        for label in classes
        for number in (1, 2, 3)
    }
    return {"hmdb51_org.rar": make_rar(inner), "test_train_splits.rar": make_rar(lists)}


def files_below(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def lay_out(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_whole_kth_files_of_a_folder_need_no_list_of_segments(
    home: Path, tmp_path: Path, kth: dict[str, bytes], offer: Callable[..., None]
) -> None:
    offer("kth", kth)
    archives = {name: content for name, content in kth.items() if name.endswith(".zip")}
    folder = lay_out(tmp_path / "files", archives)
    assert len(install("kth-whole", source=folder).clips) == 24
    assert not CATALOG["kth"].is_here
    with pytest.raises(DatasetError, match=r"holds neither 00sequences\.txt nor its unpacked"):
        install("kth", source=folder)


def test_kth_is_downloaded_unpacked_and_listed_with_its_split(
    home: Path, offer: Callable[..., None], kth: dict[str, bytes]
) -> None:
    offer("kth", kth)
    steps: list[tuple[str, int, int]] = []
    manifest = install("kth", on_progress=lambda *step: steps.append(step))
    assert len(manifest.clips) == 6 * 4 * 2
    assert Counter(clip.split for clip in manifest.clips) == {"train": 24, "test": 12, "val": 12}
    assert manifest.groups == ("person02", "person11", "person12", "person19")
    assert all(clip.path.is_file() for clip in manifest.clips)
    assert {clip.start for clip in manifest.clips} == {0.0, 2.36}
    assert load_data("kth").clips == manifest.clips
    assert len(load_data("kth-whole").clips) == 24
    assert {what for what, _, _ in steps} >= {
        "downloading boxing.zip",
        "checking boxing.zip",
        "unpacking boxing.zip",
        "downloading 00sequences.txt",
    }
    left = {path.name for path in (home / "kth").iterdir()}
    assert left == {"files", "manifest.csv", "manifest-whole.csv", "downloads.json", ".lock"}


def test_what_is_here_is_not_got_again(
    home: Path, offer: Callable[..., None], kth: dict[str, bytes], shop: Any
) -> None:
    offer("kth", kth)
    first = install("kth")
    asked = len(shop.asked)
    again = install("kth-whole")
    assert len(shop.asked) == asked
    assert "it is here already" in again.notes[-1]
    assert {clip.path for clip in again.clips} == {clip.path for clip in first.clips}


def test_an_interrupted_call_is_gone_on_with(
    home: Path, offer: Callable[..., None], kth: dict[str, bytes], shop: Any
) -> None:
    offer("kth", kth)
    jogging = shop.files.pop("jogging.zip")
    with pytest.raises(
        DatasetError, match=r"jogging.zip cannot be downloaded .*404.* marey data get kth --from FOLDER"
    ):
        install("kth")
    assert not CATALOG["kth"].is_here
    shop.files["jogging.zip"] = jogging
    install("kth")
    assert Counter(name for name, _, _ in shop.asked)["boxing.zip"] == 1
    assert Counter(name for name, _, _ in shop.asked)["jogging.zip"] == 2


def test_ctrl_c_while_unpacking_leaves_nothing_half(
    home: Path, offer: Callable[..., None], kth: dict[str, bytes], shop: Any
) -> None:
    offer("kth", kth)

    def stop(what: str, _done: int, _total: int) -> None:
        if what == "unpacking handwaving.zip":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install("kth", on_progress=stop)
    assert {path.name for path in (home / "kth" / "files").iterdir()} == {"00sequences.txt", "boxing", "handclapping"}
    assert len(install("kth").clips) == 48
    assert Counter(name for name, _, _ in shop.asked)["handwaving.zip"] == 1


def test_a_damaged_archive_is_not_kept_and_the_next_call_gets_it_anew(
    home: Path, offer: Callable[..., None], kth: dict[str, bytes], shop: Any
) -> None:
    offer("kth", kth)
    shop.files["boxing.zip"] = kth["boxing.zip"][:-40]
    with pytest.raises(DatasetError, match=r"boxing.zip is damaged"):
        install("kth")
    assert not list((home / "kth").rglob("boxing*"))
    shop.files["boxing.zip"] = kth["boxing.zip"]
    assert len(install("kth").clips) == 48


def test_an_archive_that_leads_out_of_its_folder_ends_in_a_sentence(
    home: Path, offer: Callable[..., None], kth: dict[str, bytes], make_zip: Callable[..., bytes], tmp_path: Path
) -> None:
    offer("kth", kth | {"boxing.zip": make_zip({"../../../../evil.avi": b"evil"})})
    with pytest.raises(DatasetError, match="leads out of its folder"):
        install("kth")
    assert not list(tmp_path.rglob("evil*"))
    assert not CATALOG["kth"].is_here


def test_a_second_download_that_differs_from_the_first_is_refused(
    home: Path, offer: Callable[..., None], kth: dict[str, bytes], make_zip: Callable[..., bytes], shop: Any
) -> None:
    offer("kth", kth)
    install("kth")
    shutil.rmtree(home / "kth" / "files")
    shop.files["boxing.zip"] = make_zip({"person02_boxing_d1_uncomp.avi": b"changed"})
    with pytest.raises(DatasetError, match="when it was first downloaded"):
        install("kth")


@needs_tool
def test_the_official_splits_are_names_of_their_own_over_the_same_files(
    home: Path, offer: Callable[..., None], ucf101: dict[str, bytes]
) -> None:
    offer("ucf101", ucf101)
    manifest = install("ucf101-2")
    assert manifest.clips == load_data("ucf101-2").clips
    tested = [
        {clip.group.rpartition("_")[2] for clip in load_data(name).clips if clip.split == "test" and clip.group}
        for name in ("ucf101", "ucf101-2", "ucf101-3")
    ]
    assert tested == [{"g01", "g02", "g03"}, {"g04", "g05", "g06"}, {"g07", "g08", "g09"}]
    assert len(list((home / "ucf101").rglob("*.avi"))) == 80
    assert "ucf101, ucf101-2, ucf101-3" in manifest.notes[-1]


@needs_tool
def test_hmdb51_is_a_rar_of_rars_and_its_unused_clips_are_left_out(
    home: Path, offer: Callable[..., None], hmdb51: dict[str, bytes]
) -> None:
    offer("hmdb51", hmdb51)
    manifest = install("hmdb51")
    assert Counter(clip.split for clip in manifest.clips) == {"train": 24, "test": 6}
    assert manifest.labels == ("drink", "fall_floor", "hit", "shoot_gun", "smoke", "talk")
    assert len(manifest.groups) == 5
    assert not list((home / "hmdb51").rglob("*.rar"))
    assert any("6 clips of HMDB51 in neither part" in note for note in manifest.notes)


@needs_tool
def test_a_preset_points_to_the_files_of_the_data_sets_that_are_here(
    home: Path, offer: Callable[..., None], ucf101: dict[str, bytes], hmdb51: dict[str, bytes]
) -> None:
    offer("ucf101", ucf101)
    offer("hmdb51", hmdb51)
    install("ucf101")
    with pytest.raises(DatasetError, match="not here yet: hmdb51; run 'marey data get hmdb51' first"):
        install("ucf-hmdb-10")
    install("hmdb51")
    manifest = install("ucf-hmdb-10")
    assert len(manifest.labels) == 10
    assert len(manifest.clips) == 4 * 20 + 6 * 5
    assert "BabyCrawling has 14 clips for train, and not 70" in manifest.notes
    assert load_data("ucf-hmdb-10").clips == manifest.clips
    assert {path.name for path in (home / "ucf-hmdb-10").iterdir()} == {"manifest.csv", "metadata.csv"}
    rows = (home / "ucf-hmdb-10" / "metadata.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "video_path,label,split"
    assert rows[1] == f"{manifest.clips[0].path},{manifest.clips[0].label},{manifest.clips[0].split}"
    named = install("ucf-hmdb-10-published")
    assert [clip.path for clip in named.clips] == [clip.path for clip in manifest.clips]
    assert set(named.labels) == set(PRESETS["ucf-hmdb-10"].published.values()) >= {"Dancing", "Gun Shooting"}
    assert (home / "ucf-hmdb-10" / "metadata-published.csv").is_file()
    assert load_data("ucf-hmdb-10").labels == manifest.labels
    with pytest.raises(UsageError, match="is made from ucf101, hmdb51"):
        install("ucf-hmdb-10", source=home)


@needs_tool
def test_a_random_split_of_clips_leaks_and_the_official_one_does_not(
    home: Path, offer: Callable[..., None], ucf101: dict[str, bytes]
) -> None:
    offer("ucf101", ucf101)
    clips = install("ucf101").clips
    official = [index for index, clip in enumerate(clips) if clip.split == "train"]
    others = [index for index, clip in enumerate(clips) if clip.split == "test"]
    assert find_leaks(clips, official, others) == ()
    chosen = holdout(clips, test=0.1, val=0.1, seed=0, by="clip")
    assert (len(chosen.train), len(chosen.val), len(chosen.test)) == (64, 8, 8)
    assert {leak.kind for leak in find_leaks(clips, chosen.train, chosen.test)} == {"group"}


def test_archives_that_are_there_are_read_and_left_as_they_are(
    home: Path, kth: dict[str, bytes], tmp_path: Path
) -> None:
    brought = lay_out(tmp_path / "brought", kth)
    before = files_below(brought)
    manifest = install("kth", source=brought)
    assert len(manifest.clips) == 48
    assert all(clip.path.is_relative_to(home) for clip in manifest.clips)
    assert files_below(brought) == before
    shutil.rmtree(brought)
    assert len(load_data("kth-whole").clips) == 24


def test_unpacked_files_that_are_there_are_used_where_they_are(
    home: Path, kth: dict[str, bytes], tmp_path: Path
) -> None:
    install("kth", source=lay_out(tmp_path / "brought", kth))
    unpacked = tmp_path / "unpacked"
    shutil.move(home / "kth" / "files", unpacked)
    (unpacked / "00sequences.txt").write_bytes(kth["00sequences.txt"])
    shutil.rmtree(home)
    before = files_below(unpacked)
    manifest = install("kth", source=unpacked)
    assert all(clip.path.is_relative_to(unpacked) for clip in manifest.clips)
    assert files_below(unpacked) == before
    assert not (home / "kth" / "files").exists()
    assert install("kth").clips == manifest.clips


def test_what_is_missing_of_what_was_brought_is_named(home: Path, kth: dict[str, bytes], tmp_path: Path) -> None:
    del kth["running.zip"]
    brought = lay_out(tmp_path / "brought", kth)
    with pytest.raises(
        DatasetError, match=r"brought holds neither running.zip .*https://www.csc.kth.se/.*/running.zip"
    ):
        install("kth", source=brought)
    with pytest.raises(DatasetError, match="is no folder"):
        install("kth", source=brought / "00sequences.txt")


def test_an_archive_that_was_brought_is_held_against_the_published_hash(
    home: Path, ucf101: dict[str, bytes], tmp_path: Path
) -> None:
    brought = lay_out(tmp_path / "brought", ucf101)
    name = "UCF101TrainTestSplits-RecognitionTask.zip"
    with pytest.raises(DatasetError, match=rf"{name} has .* bytes, and {name} has 113943: it is cut off"):
        install("ucf101", source=brought)
    (brought / name).write_bytes(b"PK" + bytes(113_941))
    with pytest.raises(DatasetError, match="and the published file has 5c0d1a53"):
        install("ucf101", source=brought)
    assert (brought / name).is_file()


def test_without_a_tool_for_rar_nothing_is_downloaded(
    home: Path, offer: Callable[..., None], ucf101: dict[str, bytes], shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer("ucf101", ucf101)
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(DatasetError, match="none of unrar, unar, 7zz, 7z, bsdtar is installed"):
        install("ucf101")
    assert shop.asked == []


def test_a_folder_of_the_same_name_is_not_taken_for_the_data_set(
    home: Path, offer: Callable[..., None], kth: dict[str, bytes]
) -> None:
    offer("kth", kth)
    Path("kth/run").mkdir(parents=True)
    Path("kth/run/a.avi").touch()
    assert len(install("kth").clips) == 48


def test_two_calls_at_once_do_not_get_the_same_data_set(
    home: Path, offer: Callable[..., None], kth: dict[str, bytes]
) -> None:
    offer("kth", kth)
    (home / "kth").mkdir(parents=True)
    with (
        filelock.FileLock(home / "kth" / ".lock"),
        pytest.raises(DatasetError, match="'kth' is being installed"),
    ):
        install("kth")


def test_names_that_cannot_be_got_say_what_can(home: Path) -> None:
    with pytest.raises(UnknownNameError, match="no data set is called 'ucf-101'; did you mean 'ucf101'"):
        install("ucf-101")
    with pytest.raises(UsageError, match="run 'marey data make'"):
        install("embedded")


def test_every_name_says_how_to_get_it_and_every_address_is_one_of_the_web() -> None:
    for data in PUBLISHED.values():
        assert CATALOG[data.name].way_to_get == f"marey data get {data.name}"
        names = [archive.file.name for archive in data.archives]
        assert len(set(names)) == len(names)
        for archive in data.archives:
            assert archive.file.urls
            assert all(url.startswith(("https://", "http://")) for url in archive.file.urls)
            assert all(url.endswith(f"/{archive.file.name}") for url in archive.file.urls)
