from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from marey.app.clip_sets import class_root, keep_folder, survey, unpack_archive, write_set
from marey.data import Clip, load_data
from marey.errors import DatasetError


def nothing(done: int, total: int) -> None:
    pass


def zipped(names: dict[str, bytes]) -> io.BytesIO:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in names.items():
            file.writestr(name, content)
    return archive


@pytest.fixture(scope="module")
def clips(small_set: Path) -> dict[str, bytes]:
    return {path.relative_to(small_set).as_posix(): path.read_bytes() for path in sorted(small_set.rglob("*.mp4"))}


def test_a_zip_of_class_folders_becomes_a_set(clips: dict[str, bytes], tmp_path: Path) -> None:
    archive = zipped({f"my clips/{name}": content for name, content in clips.items()} | {"__MACOSX/my clips/._x": b"x"})
    folder = unpack_archive(archive, "My clips (1).zip", tmp_path, on_progress=nothing)
    found = survey(folder, within=folder, group_regex=None, on_progress=nothing)
    assert folder.name == "My-clips-1"
    assert found.usable == {"boxing": 6, "walking": 6}
    assert len(found.manifest.groups) == 6
    assert not found.faults
    assert not list(tmp_path.rglob("*.zip"))


@pytest.mark.parametrize("name", ["../outside.mp4", "/etc/outside.mp4", "a/../../outside.mp4", "..\\outside.mp4"])
def test_a_zip_that_leads_out_of_its_folder_is_refused_whole(
    name: str, clips: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="leads out of its folder"):
        unpack_archive(zipped(clips | {name: b"x"}), "clips.zip", tmp_path / "sets", on_progress=nothing)
    assert not list(tmp_path.rglob("*.mp4"))


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all"])
def test_what_is_no_archive_says_so(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"clips\.zip is damaged"):
        unpack_archive(io.BytesIO(content), "clips.zip", tmp_path, on_progress=nothing)


def test_a_dropped_folder_becomes_a_set(clips: dict[str, bytes], tmp_path: Path) -> None:
    files = [(f"training/{name}", io.BytesIO(content)) for name, content in clips.items()]
    files += [("training/.DS_Store", io.BytesIO(b"x")), ("training/notes.txt", io.BytesIO(b"x"))]
    folder = keep_folder(files, tmp_path, on_progress=nothing)
    assert folder.name == "training"
    found = survey(folder, within=folder, group_regex=None, on_progress=nothing)
    assert found.usable == {"boxing": 6, "walking": 6}
    assert not list(folder.rglob("*.txt"))


def test_a_dropped_folder_that_leads_out_is_refused_whole(tmp_path: Path) -> None:
    files = [("a/x.mp4", io.BytesIO(b"x")), ("a/../../x.mp4", io.BytesIO(b"x"))]
    with pytest.raises(DatasetError, match="leads out of its folder"):
        keep_folder(files, tmp_path / "sets", on_progress=nothing)
    assert not list(tmp_path.rglob("*.mp4"))


def test_a_dropped_folder_without_videos_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no videos among the 1 files"):
        keep_folder([("a/readme.txt", io.BytesIO(b"x"))], tmp_path, on_progress=nothing)


def test_an_uploaded_manifest_reaches_no_file_beside_it(small_set: Path, tmp_path: Path) -> None:
    secret = next(small_set.rglob("*.mp4"))
    archive = zipped({"manifest.csv": f"path,label\n{secret},boxing\n".encode()})
    folder = unpack_archive(archive, "clips.zip", tmp_path, on_progress=nothing)
    with pytest.raises(DatasetError, match="not among the files that came with it"):
        survey(folder, within=folder, group_regex=None, on_progress=nothing)


def test_files_that_cannot_be_used_are_named_and_left_out(clips: dict[str, bytes], tmp_path: Path) -> None:
    files = [(f"s/{name}", io.BytesIO(content)) for name, content in clips.items()]
    files.append(("s/boxing/notes.mp4", io.BytesIO(b"a text that is called a video")))
    folder = keep_folder(files, tmp_path / "sets", on_progress=nothing)
    found = survey(folder, within=folder, group_regex=None, on_progress=nothing)
    assert [row.reason for row in found.faults] == ["not_video"]
    assert found.usable == {"boxing": 6, "walking": 6}
    manifest, quarantine = write_set(found, (), tmp_path / "job")
    assert quarantine is not None
    assert len(load_data(manifest).clips) == 13


def test_a_corrected_clip_counts_once_with_its_new_label(small_set: Path, tmp_path: Path) -> None:
    found = survey(small_set, within=None, group_regex=None, on_progress=nothing)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(found.manifest.clips[0].path.read_bytes())
    new = tmp_path / "new.mp4"
    new.write_bytes(copy.read_bytes() + b"0")
    manifest, _ = write_set(found, [Clip(copy, "jogging"), Clip(new, "jogging", "anna")], tmp_path / "job")
    written = load_data(manifest).clips
    assert len(written) == len(found.manifest.clips) + 1
    assert written[0].label == "jogging"
    assert written[0].group == "person01"
    assert written[-1].group == "anna"


def test_folders_around_the_class_folders_are_passed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "walking").mkdir(parents=True)
    (tmp_path / "a" / "b" / "boxing").mkdir()
    assert class_root(tmp_path) == tmp_path / "a" / "b"
    (tmp_path / "one" / "walking").mkdir(parents=True)
    assert class_root(tmp_path / "one") == tmp_path / "one"
