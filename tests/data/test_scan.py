from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marey.data import Clip, Manifest, load_data, read_quarantine, scan, write_quarantine
from marey.errors import DatasetError, UsageError
from marey.video import Limits
from waiting import Clock


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """A folder with a good video and its ruins."""
    folder = tmp_path_factory.mktemp("films")
    good = make_video(folder / "good.mp4", seconds=3.0)
    make_video(folder / "long.avi", seconds=6.0, codec="mpeg4")
    data = (folder / "long.avi").read_bytes()
    (folder / "cut.avi").write_bytes(data[: len(data) // 2])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video\n" * 100)
    ruined = bytearray(good.read_bytes())
    middle = len(ruined) // 2
    ruined[middle : middle + 3000] = bytes(3000)
    (folder / "ruined.mp4").write_bytes(ruined)
    return folder


def test_every_file_is_named_with_what_keeps_it_from_being_used(films: Path) -> None:
    names = ["good.mp4", "long.avi", "none.mp4", "empty.mp4", "text.mp4", "cut.avi", "ruined.mp4"]
    rows = scan([films / name for name in names])
    assert [(row.path.name, row.ok, row.reason) for row in rows] == [
        ("good.mp4", True, None),
        ("long.avi", True, None),
        ("none.mp4", False, "missing"),
        ("empty.mp4", False, "empty"),
        ("text.mp4", False, "not_video"),
        ("cut.avi", False, "truncated"),
        ("ruined.mp4", False, "corrupt"),
    ]
    assert rows[0].info is not None
    assert rows[0].info.duration == pytest.approx(3.0, abs=0.05)
    assert all(row.detail for row in rows if not row.ok)


def test_limits_hold_in_a_scan(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = scan([films / "good.mp4"], limits=Limits(max_pixels=1000))
    assert row.reason == "too_large"
    Clock("marey.video.limits", patch=monkeypatch).step = 1.0
    (row,) = scan([films / "good.mp4"], limits=Limits(timeout=1.0))
    assert row.reason == "timeout"


def test_a_file_shorter_than_asked_for_is_too_short(films: Path) -> None:
    rows = scan([films / "good.mp4", films / "long.avi"], min_duration=4.0)
    assert [row.reason for row in rows] == ["too_short", None]
    assert "lasts 3.000 s, and 4 s are required" in rows[0].detail


def test_spans_are_held_against_their_file(films: Path) -> None:
    path = films / "good.mp4"
    spans = [(None, None), (0.0, 2.0), (2.0, 3.9), (2.8, None), (3.5, 9.0), (2.0, 4.5)]
    clips = tuple(Clip(path, "walk", None, start, end) for start, end in spans)
    rows = scan(Manifest(clips, films, "", ""), min_duration=0.5)
    assert [(row.name.removeprefix(path.as_posix()), row.reason) for row in rows] == [
        ("", None),
        ("@2.8-", "too_short"),
        ("@3.5-9", "too_short"),
        ("@2-4.5", "too_short"),
    ]


def test_a_file_is_opened_once_and_progress_counts_files(films: Path) -> None:
    progress: list[tuple[int, int]] = []
    files = [films / name for name in ("good.mp4", "long.avi", "good.mp4", "empty.mp4")]
    rows = scan(files, workers=2, on_progress=lambda done, total: progress.append((done, total)))
    assert [row.path for row in rows] == [files[0], files[1], files[3]]
    assert progress == [(1, 3), (2, 3), (3, 3)]


def test_the_quarantine_list_takes_exactly_the_unusable_out(films: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mes clips, été"
    (folder / "walk").mkdir(parents=True)
    for name in ("good.mp4", "empty.mp4", "text.mp4"):
        shutil.copy(films / name, folder / "walk" / name)
    outside = films / "cut.avi"
    good = folder / "walk" / "good.mp4"
    clips = [
        *(Clip(folder / "walk" / name, "walk") for name in ("empty.mp4", "text.mp4")),
        *(Clip(good, "walk", None, start, start + 2) for start in (0.0, 1.0, 50.0)),
        Clip(outside, "walk"),
    ]
    manifest = Manifest(tuple(clips), folder, "", "")
    write_quarantine(scan(manifest), folder / "quarantine.csv")
    lines = (folder / "quarantine.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "path,reason,detail"
    assert [line.split(",")[:2] for line in lines[1:3]] == [
        ["walk/empty.mp4", "empty"],
        ["walk/text.mp4", "not_video"],
    ]
    assert lines[3].startswith("walk/good.mp4@50-52,too_short,")
    kept = manifest.without(read_quarantine(folder / "quarantine.csv"))
    assert [clip.id for clip in kept.clips] == [f"{good.as_posix()}@0-2", f"{good.as_posix()}@1-3"]
    assert kept.notes == ("4 of 6 clips are left out by name",)


def test_a_list_without_paths_is_no_quarantine_list(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file\na.mp4\n")
    with pytest.raises(DatasetError, match="no column 'path'"):
        read_quarantine(tmp_path / "list.csv")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_quarantine(tmp_path / "none.csv")


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"min_duration": -1.0}, {"min_duration": float("nan")}])
def test_values_that_cannot_be_meant_are_wrong_use(films: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        scan([films / "good.mp4"], **wrong)


def test_a_fault_in_the_caller_s_progress_ends_the_scan(films: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan([films / "good.mp4"] * 3, on_progress=stop)


def test_the_real_clips_can_all_be_used(shared_data: Path) -> None:
    rows = scan(load_data(shared_data / "arm-gestures"))
    assert [(row.path, row.reason) for row in rows if not row.ok] == []
    assert len(rows) == 27


def test_of_the_odd_samples_the_damaged_one_is_named(shared_data: Path) -> None:
    files = sorted((shared_data / "samples" / "odd").iterdir())
    assert {row.path.name: row.reason for row in scan(files) if not row.ok} == {"corrupted_h264.mp4": "corrupt"}
