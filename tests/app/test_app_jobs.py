from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interrupts import held_while
from marey.app.jobs import Job, Order, State, find_jobs, new_job, running, trainings_done
from marey.errors import UsageError
from marey.prediction import Predictor
from waiting import wait_until


def wait_for(job: Job, reached: Callable[[State], bool]) -> State:
    wait_until(lambda: reached(job.state()) or ended(job.state()))
    state = job.state()
    assert reached(state), f"{state}\n{job.log.read_text(encoding='utf-8')}"
    return state


def ended(state: State) -> bool:
    return state.kind not in ("waiting", "running")


def order(job: Job, data: Path, tmp_path: Path, changes: list[str], recipe: str = "auto") -> Job:
    job.write_order(Order(data, tmp_path / "runs" / job.name, recipe=recipe, changes=tuple(changes)))
    return job


@pytest.mark.long
def test_a_job_runs_in_its_own_process_and_can_be_stopped_and_resumed(
    small_set: Path, small_changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in held_while(tmp_path / "held", at="person04_boxing_d1_uncomp.mp4").items():
        monkeypatch.setenv(name, value)
    job = order(new_job(tmp_path / "jobs", "clips"), small_set, tmp_path, small_changes, "default-0.1")
    job.start()
    with pytest.raises(UsageError, match="already running"):
        job.start()
    wait_for(job, lambda state: bool(state.messages))
    assert running(find_jobs(tmp_path / "jobs")) is not None
    job.stop()
    (tmp_path / "held" / "hold").unlink()
    assert wait_for(job, ended).kind == "stopped"

    job.start()
    state = wait_for(job, ended)
    assert state.kind == "done", state
    assert trainings_done(job.order()) == 6 * 5  # of five seeds each
    (prediction,) = Predictor(job.order().out).predict(small_set / "boxing" / "person01_boxing_d1_uncomp.mp4")
    assert prediction.label in ("boxing", "walking")
    assert running(find_jobs(tmp_path / "jobs")) is None


@pytest.mark.long
def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "clips" / "walking").mkdir(parents=True)
    job = order(new_job(tmp_path / "jobs", "clips"), tmp_path / "clips", tmp_path, [])
    job.start()
    state = wait_for(job, ended)
    assert state.kind == "failed"
    assert "no videos" in state.error


def test_a_job_without_its_process_is_stopped(tmp_path: Path) -> None:
    job = new_job(tmp_path, "clips")
    job.write(State("running", stage="training", done=1, total=2))
    assert job.state().kind == "stopped"
    assert job.state().stage == "training"


def test_a_job_with_a_damaged_state_is_stopped(tmp_path: Path) -> None:
    job = new_job(tmp_path, "clips")
    (job.folder / "state.json").write_text('{"kind": "run', encoding="utf-8")
    assert job.state() == State("stopped")


def test_jobs_of_one_name_get_different_folders_and_closed_ones_are_hidden(tmp_path: Path) -> None:
    jobs = [order(new_job(tmp_path, "clips"), tmp_path, tmp_path, ["seed=1"]) for _ in range(2)]
    assert {job.name for job in find_jobs(tmp_path)} == {"clips", "clips-2"}
    assert jobs[1].order() == Order(tmp_path, tmp_path / "runs" / "clips-2", changes=("seed=1",))
    jobs[0].close()
    assert [job.name for job in find_jobs(tmp_path)] == ["clips-2"]
