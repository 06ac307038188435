"""Damaged files of all containers are read or refused: no traceback, no hang, and no more memory than is stated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from marey.errors import VideoError
from marey.video import Limits, decode, play, probe
from mutants import mutant, write_seeds
from waiting import PATIENCE

TESTS = Path(__file__).parent.parent
COUNT = int(os.environ.get("MAREY_MUTANTS", "2000"))  # two minutes on two cores
PIECE = 250
LONGEST = 20.0  # s a way of reading a file, on a quiet machine; the program that reads ends after that
MOST = 2 << 30


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A small video of each container."""
    folder = tmp_path_factory.mktemp("mutants") / "seeds"
    folder.mkdir()
    return sorted(write_seeds(folder))


def test_there_are_seeds_of_all_containers_and_all_are_read(seeds: list[Path]) -> None:
    assert len(seeds) >= 18
    for seed in seeds:
        assert len(decode(seed, [0.0, 0.2], size=(16, 16))) == 2


def test_a_mutant_is_the_same_each_time_and_differs_from_its_seed(seeds: list[Path]) -> None:
    contents = [seed.read_bytes() for seed in seeds]
    made = [mutant(contents, number) for number in range(60)]
    assert made == [mutant(contents, number) for number in range(60)]
    assert sum(one != contents[number % len(contents)] for number, one in enumerate(made)) > 50


def test_mutants_are_read_or_refused_with_a_reason(
    seeds: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    contents = [seed.read_bytes() for seed in seeds]
    limits, apart = Limits(timeout=PATIENCE), Limits(timeout=PATIENCE, max_memory=1 << 30)
    reasons: set[str] = set()
    for number in range(5_000, 5_000 + 2 * len(seeds)):
        path = tmp_path / f"mutant{seeds[number % len(seeds)].suffix}"
        path.write_bytes(mutant(contents, number))
        found: list[str] = []
        for read in (
            lambda path, limits: decode(path, [0.0, probe(path, limits=limits).duration], size=(8, 8), limits=limits),
            lambda path, limits: decode(path, [0.0], size=(8, 8), frames="keyframes", limits=limits),
            lambda path, limits: [
                playback.to_rgb(each).shape for playback in [play(path, limits=limits)] for each in playback
            ],
        ):
            for where in (limits, apart):
                try:
                    read(path, where)
                except VideoError as error:
                    found.append(error.reason)
                else:
                    found.append("ok")
        assert found[::2] == found[1::2], f"mutant {number} is read differently in a process of its own"
        reasons.update(found)
    assert {"ok", "corrupt"} < reasons
    assert "Traceback" not in capfd.readouterr().err  # as PyAV prints of errors that it drops


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not limit the memory of a process")
@pytest.mark.parametrize("first", range(0, COUNT, PIECE))
def test_no_mutant_ends_in_a_traceback_a_hang_or_much_memory(
    small_run: Path, seeds: list[Path], tmp_path: Path, first: int
) -> None:
    (tmp_path / "seeds").symlink_to(seeds[0].parent)
    program = [
        sys.executable,
        str(TESTS / "mutant_runner.py"),
        str(small_run),
        str(tmp_path),
        str(first),
        str(first + PIECE),
    ]
    paths = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(  # noqa: S603
        program, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths}
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"mutant {lines[-1] if lines else first}: {done.stderr[-2000:]}"
    found: dict[int, dict[str, Any]] = {line["number"]: line["ways"] for line in lines if "number" in line}
    assert sorted(found) == list(range(first, first + PIECE))
    assert "Traceback" not in done.stderr
    for number, ways in found.items():
        assert len(ways) == 5
        for way, one in ways.items():
            assert "traceback" not in one, f"mutant {number}, {way}: {one['traceback']}"
            assert one["seconds"] < LONGEST, f"mutant {number}, {way}: {one}"
            assert one["bytes"] < MOST, f"mutant {number}, {way}: {one}"
    assert sum(ways["predict"]["code"] == "ok" for ways in found.values()) > PIECE // 10
