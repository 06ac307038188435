"""Work on real Ray, on one node: crashes, kills, and the same bytes as by one process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from marey import commands
from marey.cluster import Connection, connect
from marey.commands.steps.label_answer import LabelledRows
from marey.data import read_partitions
from marey.errors import VideoError
from marey.synthetic import FRAME_RATE, draw
from marey.video import write_video

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("own_extensions")]

FRAGILE = ("encoder.name=fragile", "encoder.weights=random", "sampling.count=4")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with 13 drawn clips, one of them cut off."""
    root = tmp_path_factory.mktemp("clips")
    for number in range(13):
        action = ("boxing", "walking")[number % 2]
        (root / action).mkdir(exist_ok=True)
        frames = draw(action, actor=number % 6 + 1, duration=0.4 + 0.04 * number)  # all are different
        write_video(root / action / f"{number:02d}.mp4", frames, frame_rate=FRAME_RATE)
    cut = root / "boxing" / "04.mp4"
    cut.write_bytes(cut.read_bytes()[:100])
    return root


@pytest.fixture(scope="module")
def cluster() -> Iterator[Connection]:
    """Four actors' worth of Ray on this machine, which the commands below take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAREY_PLUGINS", str(Path(__file__).with_name("fragile.py")))
        with connect("ray://local", cores=4) as connection:
            yield connection


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entries(cache: Path) -> dict[str, bytes]:
    """Name of an entry of the cache -> its bytes."""
    return {path.name: path.read_bytes() for path in (cache / "features").rglob("*.safetensors")}


def test_13_clips_on_4_actors_give_the_bytes_of_one_process(
    cluster: Connection, data: Path, cache: Path, small_changes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = commands.extract(str(data), recipe="default-0.1", set=small_changes)
    expected = entries(cache)
    monkeypatch.setenv("MAREY_CACHE", str(cache / "of-the-cluster"))
    found = commands.extract(str(data), recipe="default-0.1", set=small_changes, on="ray", actors=4)
    assert entries(cache / "of-the-cluster") == expected
    assert (found.clips, found.images, found.failed) == (alone.clips, alone.images, alone.failed)
    assert [Path(clip).name for clip in found.failed] == ["04.mp4"]
    again = commands.extract(str(data), recipe="default-0.1", set=small_changes, on="ray", actors=1)
    assert (again.done_before, again.images) == (12, 0)
    assert not list((cache / "of-the-cluster" / "claims").glob("cluster-*"))


def test_a_clip_that_kills_its_actor_is_found_and_costs_no_other(
    cluster: Connection, data: Path, cache: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "data"
    shutil.copytree(data, mine)
    write_video(
        mine / "boxing" / "white.mp4", torch.full((12, 3, 64, 64), 255, dtype=torch.uint8), frame_rate=FRAME_RATE
    )
    out = tmp_path / "features"
    found = commands.extract(str(mine), recipe="default-0.1", set=FRAGILE, on="ray", actors=1, out=out, on_error="skip")
    assert sorted(Path(clip).name for clip in found.failed) == ["04.mp4", "white.mp4"]
    (why,) = (why for clip, why in found.failed.items() if clip.endswith("white.mp4"))
    assert why.startswith("crashed: the process that read it alone died 2 times")
    table = read_partitions(out)
    assert len(table.clips) == 14
    faults = []
    for clip in table.clips:
        try:
            assert clip.read(table.streams[0]).shape == (4, 3)
        except VideoError as error:
            faults.append((Path(clip.name).name, error.reason))
    assert faults == [("04.mp4", "no_video_stream"), ("white.mp4", "crashed")]

    def written() -> dict[str, tuple[bytes, int]]:
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}

    before = written()
    again = commands.extract(str(mine), recipe="default-0.1", set=FRAGILE, on="ray", actors=1, out=out, on_error="skip")
    assert (again.done_before, again.images, again.written) == (12, 0, 0)
    (part,) = (name for name in before if name.startswith("part-"))
    assert written()[part] == before[part]


def test_predictions_on_2_actors_are_those_of_one_process_and_a_second_run_does_the_rest(
    cluster: Connection, data: Path, cache: Path, small_run: Path, tmp_path: Path
) -> None:
    videos = sorted(data.rglob("*.mp4"))
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    commands.predict(small_run, videos, out=here)
    done = commands.predict(small_run, videos[:9], out=there, on="ray", actors=2)
    assert isinstance(done, LabelledRows)
    assert (done.clips, len(done.failed), done.done_before) == (9, 1, 0)
    again = commands.predict(small_run, videos, out=there, on="ray", actors=1)
    assert isinstance(again, LabelledRows)
    assert (again.clips, len(again.failed), again.done_before) == (13, 1, 8)
    assert there.read_bytes() == here.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if "parquet" in path.name) == [here.name, there.name]


def test_an_evaluation_on_a_cluster_is_that_of_one_process(
    cluster: Connection, small_set: Path, cache: Path, small_run: Path, tmp_path: Path
) -> None:
    commands.evaluate(small_run, small_set, split="all", out=tmp_path / "here")
    shutil.rmtree(cache)
    commands.evaluate(small_run, small_set, split="all", out=tmp_path / "there", on="ray", actors=1)
    assert len(entries(cache)) > 0
    for name in ("metrics.json", "predictions.csv"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
