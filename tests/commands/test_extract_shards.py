"""`marey extract` over several processes that share a cache."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marey import commands
from marey.errors import UsageError
from marey.progress import Reporter, Stage


@pytest.fixture(autouse=True)
def plain_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_ARRAY_TASK_ID", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clips(small_set: Path, tmp_path: Path) -> Path:
    """Four clips, of which a test may change some."""
    for path in sorted(small_set.glob("*/person0[12]*.mp4")):
        place = tmp_path / "clips" / path.relative_to(small_set)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
    return tmp_path / "clips"


def features_in(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (cache / "features").rglob("*.safetensors")}


class Stopping(Reporter, Stage):
    """Stops the work, as Ctrl-C does, when a number of clips is done."""

    def __init__(self, after: int) -> None:
        self._after = after

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        yield self

    def advance(self, done: int, note: str = "") -> None:
        if done > self._after:
            raise KeyboardInterrupt


def use_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    monkeypatch.setenv("MAREY_CACHE", str(folder))
    return folder


def test_shards_together_make_the_features_of_one_process(
    clips: Path, small_changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = use_cache(monkeypatch, tmp_path / "alone")
    whole = commands.extract(str(clips), set=small_changes)
    together = use_cache(monkeypatch, tmp_path / "together")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "0")
    parts = []
    for task in ("0", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        parts.append(commands.extract(str(clips), set=small_changes))
    assert [part.shard for part in parts] == ["1/2", "2/2"]
    assert sum(part.clips for part in parts) == whole.clips == 4
    assert sum(part.images for part in parts) == whole.images
    assert features_in(together) == features_in(alone)
    status = commands.extract(str(clips), set=small_changes, shard="all", status=True)
    assert (status.clips, status.done, status.failed, status.left) == (4, 4, {}, 0)


def test_a_run_that_was_stopped_does_only_the_rest(
    clips: Path, small_changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = use_cache(monkeypatch, tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        commands.extract(str(clips), set=small_changes, shard="1/1", reporter=Stopping(2))
    status = commands.extract(str(clips), set=small_changes, status=True)
    assert (status.done, status.left) == (2, 2)
    written = {path: path.stat().st_mtime_ns for path in (cache / "features").rglob("*.safetensors")}
    assert commands.extract(str(clips), set=small_changes, shard="1/1").done_before == 2
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    again = commands.extract(str(clips), set=small_changes, shard="1/1")
    assert (again.done_before, again.images) == (4, 0)


def test_a_clip_that_failed_is_listed_with_its_reason_and_tried_again(
    clips: Path, small_changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cache(monkeypatch, tmp_path / "cache")
    broken = next(iter(sorted(clips.glob("*/*.mp4"))))
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    assert list(commands.extract(str(clips), set=small_changes).failed) == [broken.as_posix()]
    status = commands.extract(str(clips), set=small_changes, status=True)
    assert status.failed == {broken.as_posix(): "empty: the file has 0 bytes"}
    assert (status.done, status.left) == (3, 0)
    broken.write_bytes(whole)  # another file: what was said of the old one does not hold
    assert commands.extract(str(clips), set=small_changes, status=True).left == 1
    again = commands.extract(str(clips), set=small_changes)
    assert (again.failed, again.done_before) == ({}, 3)


def test_what_is_done_is_read_again_where_the_cache_was_emptied_or_the_file_changed(
    clips: Path, small_changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = use_cache(monkeypatch, tmp_path / "cache")
    commands.extract(str(clips), set=small_changes)
    (listed,) = (cache / "extractions").glob("*/*.jsonl")
    with listed.open("a", encoding="utf-8") as file:
        file.write('{"clip": "half a li')  # a process was killed
    first, second, *_ = sorted(clips.glob("*/*.mp4"))
    first.write_bytes(second.read_bytes())
    status = commands.extract(str(clips), set=small_changes, status=True)
    assert (status.done, status.left) == (3, 1)
    assert commands.extract(str(clips), set=small_changes).done_before == 3
    shutil.rmtree(cache / "features")
    assert commands.extract(str(clips), set=small_changes, status=True).left == 4
    assert commands.extract(str(clips), set=small_changes).images > 0


def test_shards_and_the_status_are_about_the_cache(clips: Path, small_changes: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--shard 1/2 is about the cache"):
        commands.extract(str(clips), out=tmp_path / "a.npz", shard="1/2", set=small_changes)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="--status is about the cache"):
        commands.extract(str(clips), out=tmp_path / "a.npz", status=True, set=small_changes)  # type: ignore[call-overload]
