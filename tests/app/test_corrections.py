from __future__ import annotations

from pathlib import Path

import pytest

from marey.app.corrections import Corrections
from marey.data import Clip, content_hash, load_data
from marey.errors import DatasetError, UsageError, VideoError


@pytest.fixture
def upload(small_set: Path, tmp_path: Path) -> Path:
    path = tmp_path / "0123abcd.mp4"
    path.write_bytes((small_set / "boxing" / "person01_boxing_d1_uncomp.mp4").read_bytes())
    return path


def test_a_corrected_clip_is_copied_and_stands_in_the_manifest(upload: Path, tmp_path: Path) -> None:
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
def test_a_label_that_cannot_be_one_is_refused(label: str, upload: Path, tmp_path: Path) -> None:
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


def test_a_clip_that_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        Corrections(tmp_path / "corrections").add(Clip(tmp_path / "gone.mp4"), "walking", name="a.mp4")


def test_a_strangers_file_name_leads_nowhere(upload: Path, tmp_path: Path) -> None:
    corrections = Corrections(tmp_path / "corrections")
    clip = corrections.add(Clip(upload), "walking", name="../../../evil/../x.mp4")
    assert clip.path.parent == tmp_path / "corrections" / "clips"
