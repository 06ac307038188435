from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import BaseFileLock, FileLock

from marey.data.split import Split
from marey.errors import UsageError
from marey.progress import Reporter
from marey.training import Protocol, load_recipe
from marey.training.origin import Origin
from marey.training.run_folder import Times, claim_run, keep_times, read_times
from waiting import Clock

PROTOCOL = Protocol("one split", (Split(train=(0, 1), val=(), test=(2,)),), pooled=False)


def claim(out: Path, if_exists: str = "resume") -> BaseFileLock:
    return claim_run(
        out,
        recipe=load_recipe("default-0.1"),
        data_hash="0",
        protocol=PROTOCOL,
        origin=Origin("clips", None, None, "marey train clips"),
        if_exists=if_exists,
        reporter=Reporter(),
    )


def leave(out: Path, name: str, *, clock: Clock, after: float) -> None:
    """A file that the last start writes so many seconds later."""
    path = out / "folds" / "01" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("", encoding="utf-8")
    os.utime(path, (clock.now + after,) * 2)


def test_the_seconds_of_starts_that_were_killed_are_counted_up_to_what_they_wrote_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock("marey.training.run_folder", patch=monkeypatch)
    for name, seconds in (("a", 100.0), ("b", 200.0)):
        claim(tmp_path)
        leave(tmp_path, name, clock=clock, after=seconds)
    claim(tmp_path)
    keep_times(tmp_path, Times(reading=1.0, training=50.0, images=9, device="cpu"))
    times = read_times(tmp_path)
    assert times is not None
    assert times.training == pytest.approx(350)
    assert (times.reading, times.starts) == (1.0, 3)


def test_a_start_that_wrote_nothing_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock("marey.training.run_folder", patch=monkeypatch)
    claim(tmp_path)
    leave(tmp_path, "a", clock=clock, after=-1000.0)
    claim(tmp_path)
    keep_times(tmp_path, Times(reading=1.0, training=50.0, images=9, device="cpu"))
    times = read_times(tmp_path)
    assert times is not None
    assert times.training == 50.0


def test_a_finished_run_that_is_started_again_keeps_its_times(tmp_path: Path) -> None:
    claim(tmp_path)
    keep_times(tmp_path, Times(reading=1.0, training=50.0, images=9, device="cpu"))
    claim(tmp_path)
    keep_times(tmp_path, Times(reading=0.0, training=0.1, images=0, device="cpu"))
    assert read_times(tmp_path) == Times(reading=1.0, training=50.0, images=9, device="cpu")


@pytest.mark.parametrize("if_exists", ["resume", "restart"])
def test_a_run_has_one_owner_until_it_is_released(tmp_path: Path, if_exists: str) -> None:
    claim(tmp_path / "run").release()
    (tmp_path / "run" / "metrics.json").touch()
    with (
        FileLock(tmp_path / "run" / "run.lock"),
        pytest.raises(UsageError, match=r"another process is writing the run in .*run: wait until it has ended, or"),
    ):
        claim(tmp_path / "run", if_exists)
    assert (tmp_path / "run" / "metrics.json").exists()
    claim(tmp_path / "run", if_exists)


def test_a_process_that_failed_may_claim_its_run_again(tmp_path: Path) -> None:
    first = claim(tmp_path)
    second = claim(tmp_path)
    assert (first.is_locked, second.is_locked) == (False, True)


@pytest.mark.long
def test_a_killed_process_owns_no_run(tmp_path: Path) -> None:
    claim(tmp_path).release()
    code = f"""
import sys, filelock
lock = filelock.FileLock({str(tmp_path / "run.lock")!r})
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as other:  # noqa: S603
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match="another process is writing the run"):
            claim(tmp_path)
        other.kill()
    claim(tmp_path)


def test_a_folder_of_other_things_is_not_locked(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").touch()
    with pytest.raises(UsageError, match="holds other things than a run"):
        claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]
