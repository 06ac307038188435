from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from marey import commands
from marey.commands.steps.predictions import Predictions
from marey.data import read_manifest
from marey.errors import DatasetError, UsageError


def test_extraction_encodes_each_clip_once(
    monkeypatch: pytest.MonkeyPatch, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path))
    first = commands.extract(str(small_set), set=small_changes)
    assert (first.clips, first.failed, first.cache) == (12, {}, tmp_path)
    assert first.images == 12 * 4 * 2  # clips, timestamps, sides, of the one stream that is read first
    assert len(list(tmp_path.rglob("*.safetensors"))) == 12 * 2
    again = commands.extract(str(small_set), set=small_changes)
    assert (again.clips, again.images, again.dim) == (12, 0, first.dim)


def test_training_finds_what_was_extracted(
    monkeypatch: pytest.MonkeyPatch, small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    commands.extract(str(small_set), recipe="default-0.1", set=small_changes)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}
    commands.train(str(small_set), recipe="default-0.1", out=tmp_path / "run", set=small_changes)
    later = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}
    assert files.items() <= later.items()
    # What is new are the small frames by which copies are known.
    assert {load_file(path)["features"].dtype for path in later.keys() - files.keys()} <= {torch.uint8}


def test_a_clip_that_cannot_be_extracted_is_named(small_changes: list[str], small_set: Path, tmp_path: Path) -> None:
    for label, content in (("boxing", sorted(small_set.rglob("*.mp4"))[0].read_bytes()), ("walking", b"")):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.mp4").write_bytes(content)
    found = commands.extract(str(tmp_path), set=small_changes)
    (name,) = found.failed
    assert name == (tmp_path / "walking" / "a.mp4").as_posix()
    assert found.failed[name].startswith("empty: ")


def test_a_split_is_written_down_with_its_parts(small_set: Path, tmp_path: Path) -> None:
    made = commands.data.split(str(small_set), out=tmp_path / "new" / "split.csv", test=0.34, val=0.16, seed=1)
    clips = read_manifest(made.path).clips
    assert {clip.split for clip in clips} == {"train", "val", "test"}
    sides: dict[str | None, set[str | None]] = {}
    for clip in clips:
        sides.setdefault(clip.group, set()).add(clip.split)
    assert all(len(parts) == 1 for parts in sides.values())
    assert made.as_dict()["splits"] == {"train": 6, "val": 2, "test": 4}
    with pytest.raises(UsageError, match="exists, and is left as it is"):
        commands.data.split(str(small_set), out=made.path)


def test_a_scan_counts_reasons_and_writes_a_list_that_can_be_excluded(small_set: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "good.mp4").write_bytes(sorted(small_set.rglob("*.mp4"))[0].read_bytes())
    (tmp_path / "clips" / "empty.mp4").touch()
    found = commands.data.scan(str(tmp_path / "clips"), quarantine=tmp_path / "bad.csv")
    assert found.usable
    assert found.reasons == {"empty": 1}
    assert "empty.mp4" in (tmp_path / "bad.csv").read_text()
    (only,) = commands.data.scan(str(tmp_path / "clips" / "empty.mp4")).rows
    assert only.reason == "empty"
    with pytest.raises(DatasetError):
        commands.data.scan(str(tmp_path / "none.csv"))


def test_prediction_gives_as_many_classes_as_are_asked_for(small_run: Path, small_set: Path) -> None:
    found = commands.predict(small_run, [str(small_set / "boxing")], top=1)
    assert isinstance(found, Predictions)
    assert len(found.as_dict()[0]["top"]) == 1
    assert found.usable
    with pytest.raises(UsageError, match="top=0"):
        commands.predict(small_run, [str(small_set)], top=0)


@pytest.mark.parametrize("actors", [3, 25])
def test_a_demo_of_too_few_or_of_the_newcomer_too_is_refused(tmp_path: Path, actors: int) -> None:
    with pytest.raises(UsageError, match=f"actors={actors}"):
        commands.demo(out=tmp_path / "demo", actors=actors)
    assert not (tmp_path / "demo").exists()


@pytest.mark.long
def test_the_embedded_data_set_is_made_where_its_name_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAREY_DATA", str(tmp_path))
    assert not any(named.is_here for named in commands.data.list_data().sets)
    made = commands.data.make(actors=1, scenarios="d1", workers=1)
    assert made.path == tmp_path / "embedded" / "manifest.csv"
    assert made.as_dict()["clips"] == 6
    assert [named.name for named in commands.data.list_data().sets if named.is_here] == ["embedded"]
