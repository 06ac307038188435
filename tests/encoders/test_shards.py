"""Shards of a data set, and the list of what is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from marey.data import Clip
from marey.encoders import Shard, find_shard
from marey.errors import UsageError
from marey.remote_path import as_path

CLIPS = [Clip(Path(f"/data/walk/{number}.mp4"), start=start) for number in range(50) for start in (None, 1.0)]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_shards_are_disjoint_and_complete(count: int) -> None:
    parts = [Shard(number, count).choose(CLIPS, "/data") for number in range(1, count + 1)]
    assert sorted(clip.id for part in parts for clip in part) == sorted(clip.id for clip in CLIPS)
    assert all(len({clip.path for clip in part}) * 2 == len(part) for part in parts)  # both clips of each file


def test_a_shard_does_not_depend_on_the_place_of_the_folder() -> None:
    moved = [Clip(as_path("s3://bucket/clips") / clip.path.relative_to("/data")) for clip in CLIPS]
    here = Shard(2, 5).choose(CLIPS, "/data")
    there = Shard(2, 5).choose(moved, "s3://bucket/clips")
    assert [clip.path.name for clip in here] == [clip.path.name for clip in there]


def test_a_file_stays_in_its_shard_where_others_come() -> None:
    few = Shard(2, 5).choose(CLIPS[:20], "/data")
    assert few == [clip for clip in Shard(2, 5).choose(CLIPS, "/data") if clip in CLIPS[:20]]


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, None),
        ({"RANK": "2", "WORLD_SIZE": "4"}, "3/4"),
        ({"RANK": "2"}, None),
        ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "0"}, "1/8"),
        ({"SLURM_ARRAY_TASK_ID": "8", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "1"}, "8/8"),
        (
            {
                "SLURM_ARRAY_TASK_ID": "7",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_STEP": "3",
            },
            "3/4",
        ),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "4"}, "3/4"),
        ({"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "3", "RANK": "1", "WORLD_SIZE": "2"}, "4/6"),
    ],
)
def test_slurm_and_torchrun_name_the_shard(environment: dict[str, str], shard: str | None) -> None:
    found = find_shard(None, environment)
    assert (None if found is None else str(found)) == shard
    assert find_shard("all", environment) is None
    assert str(find_shard("2/3", environment)) == "2/3"


@pytest.mark.parametrize(
    ("given", "environment", "message"),
    [
        ("0/4", {}, "write K/N"),
        ("5/4", {}, "write K/N"),
        ("half", {}, "write K/N"),
        (None, {"SLURM_ARRAY_TASK_ID": "3"}, "tells no number of shards"),
        (None, {"SLURM_ARRAY_TASK_ID": "x", "SLURM_ARRAY_TASK_COUNT": "3"}, "SLURM_ARRAY_TASK_ID='x' is not a number"),
        (None, {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "1"}, "no place"),
        (None, {"RANK": "4", "WORLD_SIZE": "4"}, "RANK=4 has to be"),
    ],
)
def test_a_shard_that_cannot_be_is_refused(given: str | None, environment: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_shard(given, environment)
