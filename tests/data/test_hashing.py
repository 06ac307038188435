from __future__ import annotations

import hashlib
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from marey.data import Clip, Manifest, content_hash, data_hash
from marey.errors import VideoError


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"some video")
    assert content_hash(path) == content_hash(str(path)) == hashlib.blake2b(b"some video", digest_size=16).hexdigest()
    assert len(content_hash(path)) == 32


def test_a_changed_file_has_another_hash_though_its_size_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"some video")
    before = content_hash(path)
    other = tmp_path / "b.mp4"
    other.write_bytes(b"more video")
    other.replace(path)
    assert content_hash(path) != before


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(32 * 2**20))
    tracemalloc.start()
    content_hash(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("name", ["none.mp4", "."])
def test_a_file_that_cannot_be_read_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(VideoError) as caught:
        content_hash(tmp_path / name)
    assert caught.value.reason == "missing"


def manifest(folder: Path) -> Manifest:
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.mp4").write_text(name)
    clips = [Clip(folder / f"{name}.mp4", "walk", "p1", 0.0, 1.0, "train") for name in "abc"]
    return Manifest(tuple(clips), folder, "", "")


def test_a_data_set_has_one_hash_wherever_it_lies_and_in_any_order(tmp_path: Path) -> None:
    here, there = manifest(tmp_path / "here"), manifest(tmp_path / "there")
    assert data_hash(here) == data_hash(there.with_clips(there.clips[::-1]))


@pytest.mark.parametrize(
    "change",
    [{"label": "run"}, {"group": "p2"}, {"start": 0.5}, {"end": None}, {"split": "test"}, {"label": None}],
)
def test_whatever_changes_a_clip_changes_the_hash(tmp_path: Path, change: dict[str, object]) -> None:
    before = manifest(tmp_path / "data")
    first, *rest = before.clips
    assert data_hash(before.with_clips([replace(first, **change), *rest])) != data_hash(before)  # type: ignore[arg-type]


def test_other_footage_one_clip_less_and_a_missing_file_change_the_hash(tmp_path: Path) -> None:
    data = manifest(tmp_path / "data")
    hashes = {data_hash(data), data_hash(data.with_clips(data.clips[1:]))}
    data.clips[0].path.write_text("something else")
    hashes.add(data_hash(data))
    data.clips[0].path.unlink()
    hashes.add(data_hash(data))
    assert len(hashes) == 4
