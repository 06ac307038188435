from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from marey.app.clip_sets import Corrections, class_root, save_folder, survey, unpack_archive, write_set
from marey.data import Clip, content_hash, load_data
from marey.errors import DatasetError, UsageError, VideoError


def ignore(done: int, total: int) -> None:
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
    folder = unpack_archive(archive, "My clips (1).zip", tmp_path, on_progress=ignore)
    found = survey(folder, within=folder, group_regex=None, on_progress=ignore)
    assert folder.name == "My-clips-1"
    assert found.usable == {"boxing": 6, "walking": 6}
    assert len(found.manifest.groups) == 6
    assert not found.faults
    assert not list(tmp_path.rglob("*.zip"))


@pytest.mark.parametrize("name", ["../outside.mp4", "/etc/outside.mp4", "a/../../outside.mp4", "..\\outside.mp4"])
def test_a_zip_with_paths_outside_its_folder_is_refused(name: str, clips: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="leads out of its folder"):
        unpack_archive(zipped(clips | {name: b"x"}), "clips.zip", tmp_path / "sets", on_progress=ignore)
    assert not list(tmp_path.rglob("*.mp4"))


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all"])
def test_a_file_that_is_not_an_archive_says_so(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"clips\.zip is damaged"):
        unpack_archive(io.BytesIO(content), "clips.zip", tmp_path, on_progress=ignore)


def test_a_dropped_folder_becomes_a_set(clips: dict[str, bytes], tmp_path: Path) -> None:
    files = [(f"training/{name}", io.BytesIO(content)) for name, content in clips.items()]
    files += [("training/.DS_Store", io.BytesIO(b"x")), ("training/notes.txt", io.BytesIO(b"x"))]
    folder = save_folder(files, tmp_path, on_progress=ignore)
    assert folder.name == "training"
    found = survey(folder, within=folder, group_regex=None, on_progress=ignore)
    assert found.usable == {"boxing": 6, "walking": 6}
    assert not list(folder.rglob("*.txt"))


def test_a_dropped_folder_with_paths_outside_is_refused(tmp_path: Path) -> None:
    files = [("a/x.mp4", io.BytesIO(b"x")), ("a/../../x.mp4", io.BytesIO(b"x"))]
    with pytest.raises(DatasetError, match="leads out of its folder"):
        save_folder(files, tmp_path / "sets", on_progress=ignore)
    assert not list(tmp_path.rglob("*.mp4"))


def test_a_dropped_folder_without_videos_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no videos among the 1 files"):
        save_folder([("a/readme.txt", io.BytesIO(b"x"))], tmp_path, on_progress=ignore)


def test_an_uploaded_manifest_cannot_name_other_files(small_set: Path, tmp_path: Path) -> None:
    secret = next(small_set.rglob("*.mp4"))
    archive = zipped({"manifest.csv": f"path,label\n{secret},boxing\n".encode()})
    folder = unpack_archive(archive, "clips.zip", tmp_path, on_progress=ignore)
    with pytest.raises(DatasetError, match="not among the files that came with it"):
        survey(folder, within=folder, group_regex=None, on_progress=ignore)


def test_unusable_files_are_named_and_left_out(clips: dict[str, bytes], tmp_path: Path) -> None:
    files = [(f"s/{name}", io.BytesIO(content)) for name, content in clips.items()]
    files.append(("s/boxing/notes.mp4", io.BytesIO(b"a text that is called a video")))
    folder = save_folder(files, tmp_path / "sets", on_progress=ignore)
    found = survey(folder, within=folder, group_regex=None, on_progress=ignore)
    assert [row.reason for row in found.faults] == ["not_video"]
    assert found.usable == {"boxing": 6, "walking": 6}
    manifest, quarantine = write_set(found, (), tmp_path / "job")
    assert quarantine is not None
    assert len(load_data(manifest).clips) == 13


def test_a_corrected_clip_counts_once_with_its_new_label(small_set: Path, tmp_path: Path) -> None:
    found = survey(small_set, within=None, group_regex=None, on_progress=ignore)
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


def test_folders_around_the_class_folders_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "walking").mkdir(parents=True)
    (tmp_path / "a" / "b" / "boxing").mkdir()
    assert class_root(tmp_path) == tmp_path / "a" / "b"
    (tmp_path / "one" / "walking").mkdir(parents=True)
    assert class_root(tmp_path / "one") == tmp_path / "one"


@pytest.fixture
def upload(small_set: Path, tmp_path: Path) -> Path:
    path = tmp_path / "0123abcd.mp4"
    path.write_bytes((small_set / "boxing" / "person01_boxing_d1_uncomp.mp4").read_bytes())
    return path


def test_a_corrected_clip_is_copied_and_listed_in_the_manifest(upload: Path, tmp_path: Path) -> None:
    corrections = Corrections(tmp_path / "corrections")
    corrections.add(Clip(upload), " walking ", name="person01_boxing_d1_uncomp.mp4")
    upload.unlink()
    (clip,) = load_data(corrections.manifest).clips
    assert clip.label == "walking"
    assert clip.group == "person01"
    assert clip.path.is_file()
    assert clip.path.is_relative_to(tmp_path / "corrections")
    assert corrections.manifest.read_text(encoding="utf-8").startswith("path,label,group")


def test_a_clip_that_is_corrected_twice_has_its_last_label(upload: Path, tmp_path: Path) -> None:
    corrections = Corrections(tmp_path / "corrections")
    for label in ("walking", "jogging"):
        corrections.add(Clip(upload), label, name="a.mp4")
    (clip,) = corrections.clips()
    assert clip.label == "jogging"


def test_spans_of_one_file_are_corrected_one_by_one(upload: Path, tmp_path: Path) -> None:
    corrections = Corrections(tmp_path / "corrections")
    corrections.add(Clip(upload, start=0.0, end=0.4), "walking", name="a.mp4")
    corrections.add(Clip(upload, start=0.4, end=0.8), "jogging", name="a.mp4")
    assert [(clip.start, clip.label) for clip in corrections.clips()] == [(0.0, "walking"), (0.4, "jogging")]
    assert len({content_hash(clip.path) for clip in corrections.clips()}) == 1


@pytest.mark.parametrize("label", ["", "   ", "a\x00b", "x" * 81])
def test_an_impossible_label_is_refused(label: str, upload: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="printable characters"):
        Corrections(tmp_path / "corrections").add(Clip(upload), label, name="a.mp4")


def test_a_label_that_differs_only_in_case_is_refused_and_nothing_changes(upload: Path, tmp_path: Path) -> None:
    corrections = Corrections(tmp_path / "corrections")
    corrections.add(Clip(upload), "walking", name="a.mp4")
    before = corrections.manifest.read_bytes()
    other = tmp_path / "other.mp4"
    other.write_bytes(upload.read_bytes() + b"0")
    with pytest.raises(DatasetError, match="differ only in case"):
        corrections.add(Clip(other), "Walking", name="b.mp4")
    assert corrections.manifest.read_bytes() == before


def test_a_missing_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        Corrections(tmp_path / "corrections").add(Clip(tmp_path / "gone.mp4"), "walking", name="a.mp4")


def test_an_untrusted_file_name_stays_in_the_folder(upload: Path, tmp_path: Path) -> None:
    corrections = Corrections(tmp_path / "corrections")
    clip = corrections.add(Clip(upload), "walking", name="../../../evil/../x.mp4")
    assert clip.path.parent == tmp_path / "corrections" / "clips"
