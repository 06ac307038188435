"""Features in Parquet partitions: written once, read back bit by bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import CallMarey
from marey import commands
from marey.commands.steps.extractions import Partitioned
from marey.data import read_feature_folder, read_partitions
from marey.data.importers.feature_partitions import INDEX, PartitionFolder, PartitionRow
from marey.errors import DatasetError, UsageError, VideoError
from remote_servers import serve_s3

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

CONTRACT = {"made": "for a test"}
ROWS = [
    PartitionRow("walk/1.mp4", "walk", "a", "test", "[1, 2]", ("k1", "k2")),
    PartitionRow("walk/2.mp4@0-1", None, None, None, "null", (), "crashed", "it died"),
    PartitionRow("jump/1.mp4", "jump", "b", None, "[3, 4]", ("k3", "k4")),
]


def features(row: PartitionRow, stream: int) -> np.ndarray:
    start = 10.0 * stream + len(row.label or "")
    return np.arange(start, start + 6, dtype=np.float32).reshape(2, 3)


def write(folder: Path) -> str:
    made = PartitionFolder(folder, CONTRACT, ("rgb", "flow"))
    made.check()
    name = made.name(0, ROWS)
    made.write(name, ROWS, features)
    made.finish([name])
    return name


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    name = write(tmp_path / "a")
    table = read_partitions(tmp_path / "a")
    assert (table.streams, table.contract) == (("rgb", "flow"), CONTRACT)
    assert [(clip.name, clip.label, clip.group, clip.split) for clip in table.clips] == [
        (row.clip, row.label, row.group, row.split) for row in ROWS
    ]
    for clip, row in zip(table.clips, ROWS, strict=True):
        if row.reason is not None:
            with pytest.raises(VideoError, match="crashed: it died"):
                clip.read("flow")
        else:
            assert np.array_equal(clip.read("flow"), features(row, 1))
    assert write(tmp_path / "b") == name
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_other_partitions_left_is_removed_at_the_end_and_known_until_then(tmp_path: Path) -> None:
    name = write(tmp_path)
    made = PartitionFolder(tmp_path, CONTRACT, ("rgb", "flow"))
    assert {clip: row for clip, (row, _) in made.known().items()} == {row.clip: row for row in ROWS}
    assert np.array_equal(made.read(name, "jump/1.mp4", 0), features(ROWS[2], 0))
    fewer = made.name(0, ROWS[:1])
    made.write(fewer, ROWS[:1], features)
    assert len(read_partitions(tmp_path).clips) == 3  # until the end
    made.finish([fewer])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([INDEX, fewer])
    assert PartitionFolder(tmp_path, {"made": "otherwise"}, ("rgb",)).known() == {}


def test_folders_that_cannot_be_taken_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a")
    with pytest.raises(UsageError, match="another recipe made"):
        PartitionFolder(tmp_path / "a", {"made": "otherwise"}, ("rgb", "flow")).check()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").touch()
    with pytest.raises(UsageError, match="holds other files"):
        PartitionFolder(tmp_path / "b", CONTRACT, ("rgb",)).check()
    (tmp_path / "a" / INDEX).write_text(json.dumps({"format": "another"}))
    with pytest.raises(DatasetError, match="cannot be read"):
        read_partitions(tmp_path / "a")


@pytest.mark.long
def test_partitions_in_an_object_store_are_resumed_imported_and_trained_from(
    small_set: Path,
    small_changes: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call_marey: CallMarey,
) -> None:
    monkeypatch.setenv("MAREY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    with serve_s3(monkeypatch):
        out = "s3://videos/features"
        first = commands.extract(str(small_set), recipe="default-0.1", set=small_changes, out=out)
        assert isinstance(first, Partitioned)
        assert (first.clips, first.done_before, first.partitions, first.written) == (12, 0, 1, 1)
        monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "another machine"))
        again = commands.extract(str(small_set), recipe="default-0.1", set=small_changes, out=out)
        assert isinstance(again, Partitioned)
        assert (again.done_before, again.images, again.written) == (12, 0, 0)
        done = call_marey("data", "import", out, "--out", tmp_path / "imported")
        assert done.code == 0, done.err
        commands.train(out, recipe="default-0.1", out=tmp_path / "run", epochs=2)
        evaluated = commands.evaluate(tmp_path / "run")
    commands.extract(str(small_set), recipe="default-0.1", set=small_changes, out=tmp_path / "local")
    local = {clip.name: clip for clip in read_feature_folder(tmp_path / "local").clips}
    imported = read_feature_folder(tmp_path / "imported")
    assert {clip.name for clip in imported.clips} == local.keys()
    for clip in imported.clips:
        for stream in imported.streams:
            assert np.array_equal(clip.read(stream), local[clip.name].read(stream))
    assert evaluated.report.is_file()
