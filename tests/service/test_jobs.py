from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from marey.client import Client
from marey.errors import UsageError
from marey.prediction import Predictor
from marey.service.jobs import JobStore
from waiting import PATIENCE, wait_until

pytest_plugins = ["service_fixtures"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    opened = JobStore(tmp_path / "jobs")
    yield opened
    opened.close()


def accept(store: JobStore, name: str = "a.mp4") -> str:
    upload = store.uploads / name
    upload.write_bytes(b"video")
    return store.accept(upload, model="small", source=name).id


def test_jobs_are_begun_in_the_order_in_which_they_were_accepted(store: JobStore) -> None:
    ids = [accept(store, f"{number}.mp4") for number in range(3)]
    assert [store.begin().id for _ in ids] == ids  # type: ignore[union-attr]
    assert store.begin() is None
    assert (store.count("running"), store.count("waiting", "done")) == (3, 0)


def test_the_video_of_a_job_is_kept_until_it_has_ended(store: JobStore) -> None:
    done, failed, cancelled = (accept(store) for _ in range(3))
    assert store.file(done).read_bytes() == b"video"
    store.finish(done, {"duration": 1.0, "window": 1.0, "segments": []})
    store.fail(failed, "not_video", "it is none")
    store.cancel(cancelled)
    assert not any(store.file(job).exists() for job in (done, failed, cancelled))
    store.fail(done, "fault", "too late: a job ends once")
    found = store.get(done)
    assert found is not None
    assert (found.state, found.result) == ("done", {"duration": 1.0, "window": 1.0, "segments": []})


def test_a_job_that_has_ended_is_kept_for_its_time(store: JobStore) -> None:
    ended, waiting = accept(store), accept(store)
    store.cancel(ended)
    store.forget_before(time.time() - 3600)
    assert store.get(ended) is not None
    store.forget_before(time.time() + 3600)
    assert store.get(ended) is None
    assert store.get(waiting) is not None


def test_what_was_running_when_the_server_was_killed_waits_again_and_is_given_up_the_third_time(
    tmp_path: Path,
) -> None:
    store = JobStore(tmp_path)
    job, other = accept(store), accept(store)
    for start in (1, 2, 3):
        begun = store.begin()
        assert begun is not None
        assert (begun.id, begun.starts) == (job, start)
        store._table.close()  # as a process that is killed leaves it
        store._lock.release()
        store = JobStore(tmp_path)
    found = store.get(job)
    assert found is not None
    assert (found.state, found.code) == ("failed", "gave_up")
    assert not store.file(job).exists()
    begun = store.begin()
    assert begun is not None
    assert begun.id == other
    store.put_back(other)
    begun = store.begin()
    assert begun is not None
    assert begun.starts == 1  # a start that the service itself has ended does not count
    store.close()


def test_what_nobody_was_promised_is_removed_and_what_is_missing_fails(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    kept, lost = accept(store), accept(store)
    (store.uploads / "half").write_bytes(b"vid")
    store.file("nobodys").write_bytes(b"video")
    store.file(lost).unlink()
    store.close()
    store = JobStore(tmp_path)
    assert not list(store.uploads.iterdir())
    assert [path.name for path in store.file("x").parent.iterdir()] == [kept]
    found = store.get(lost)
    assert found is not None
    assert (found.state, found.code) == ("failed", "missing")
    store.close()


def test_two_servers_do_not_share_a_folder(store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marey.service.jobs._LOCK_WAIT", 0.1)
    with pytest.raises(UsageError, match="another server keeps its jobs in"):
        JobStore(tmp_path / "jobs")


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"this is no table" * 100)
    with pytest.raises(UsageError, match=r"jobs\.sqlite cannot be used .*: move it away"):
        JobStore(tmp_path)
    newer = tmp_path / "newer"
    JobStore(newer).close()
    with sqlite3.connect(newer / "jobs.sqlite") as table:
        table.execute("PRAGMA user_version = 9")
    table.close()
    with pytest.raises(UsageError, match="it has version 9, and this marey reads 1"):
        JobStore(newer)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="jobs cannot be kept"):
        JobStore(tmp_path / "file")


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory, make_video: Any) -> Path:
    path: Path = make_video(tmp_path_factory.mktemp("long") / "long.mp4", seconds=12.0)
    return path


def test_a_job_finds_what_the_predictor_finds(running: Any, small_run: Path, long_video: Path) -> None:
    wanted = Predictor(small_run).timeline(long_video)
    with Client(running.url) as client:
        accepted = client.submit(long_video)
        assert accepted.state in ("waiting", "running")
        job = client.wait(accepted, timeout=PATIENCE)
    assert (job.state, job.progress, job.source) == ("done", 1.0, "long.mp4")
    assert job.duration == pytest.approx(wanted.duration)
    assert [each.label for each in job.segments] == [each.label for each in wanted.segments]
    for found, segment in zip(job.segments, wanted.segments, strict=True):
        assert (found.start, found.end) == pytest.approx((segment.start, segment.end))
    raw = httpx.get(f"{running.url}/jobs/{job.id}").json()
    assert str(running.jobs) not in str(raw)  # no path of the server's
    assert raw["expires"] > raw["ended"] > raw["created"]
    assert not list((running.jobs / "files").iterdir())


def test_events_tell_how_a_job_comes_along(running: Any, long_video: Path) -> None:
    with Client(running.url) as client:
        job = client.submit(long_video)
        seen = list(client.events(job))
        assert [each.progress for each in seen] == sorted(each.progress for each in seen)
        assert seen[-1].state == "done"
        assert list(client.events(job)) == [seen[-1]]
    with httpx.stream("GET", f"{running.url}/jobs/{job.id}/events") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert "event: done" in reply.read().decode()


def test_a_file_that_cannot_be_used_fails_as_a_job_with_its_reason(running: Any) -> None:
    with Client(running.url) as client:
        job = client.wait(client.submit(b"no video at all"), timeout=PATIENCE)
        assert (job.state, job.code) == ("failed", "not_video")
        assert job.detail
        assert list(client.events(job))[-1].state == "failed"


def test_a_job_can_be_cancelled_while_it_waits_and_while_it_runs(
    serve: Any, tmp_path: Path, long_video: Path, job_gate: threading.Event
) -> None:
    with serve(tmp_path / "jobs") as running, Client(running.url) as client:
        first, second = client.submit(long_video), client.submit(long_video)
        wait_until(lambda: client.job(first).progress > 0)
        assert client.cancel(second).state == "cancelled"
        assert client.cancel(first).state == "cancelled"
        assert client.job(first).state == "cancelled"
        wait_until(lambda: running.service.jobs._current is None)
        assert list(client.events(first))[-1].state == "cancelled"
        assert not list((running.jobs / "files").iterdir())
        assert client.cancel(first).state == "cancelled"  # and it is forgotten
        assert httpx.get(f"{running.url}/jobs/{first.id}").status_code == 404


def test_when_too_many_jobs_wait_others_come_again(
    serve: Any, tmp_path: Path, long_video: Path, job_gate: threading.Event
) -> None:
    with serve(tmp_path / "jobs", max_jobs=1) as running, Client(running.url, patience=0) as client:
        first = client.submit(long_video)
        wait_until(lambda: client.job(first).state == "running")
        second = client.submit(long_video)
        refused = httpx.post(f"{running.url}/jobs", files={"file": b"x"})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_jobs")
        assert int(refused.headers["retry-after"]) > 0
        for job in (first, second):
            client.cancel(job)


def test_a_video_that_is_too_long_for_a_job_fails(serve: Any, tmp_path: Path, long_video: Path) -> None:
    with serve(tmp_path / "jobs", max_job_duration=5.0) as running, Client(running.url) as client:
        job = client.wait(client.submit(long_video), timeout=PATIENCE)
    assert (job.state, job.code) == ("failed", "too_large")


def test_jobs_expire(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marey.service.service._SWEEP", 0.1)
    with serve(tmp_path / "jobs", keep=0.5) as running, Client(running.url) as client:
        job = client.submit(b"no video")
        wait_until(lambda: httpx.get(f"{running.url}/jobs/{job.id}").status_code == 404)


@pytest.mark.long
def test_a_job_whose_server_stops_goes_on_with_the_next(
    serve: Any, tmp_path: Path, long_video: Path, job_gate: threading.Event
) -> None:
    with serve(tmp_path / "jobs") as running, Client(running.url) as client:
        jobs = [client.submit(long_video), client.submit(long_video)]
        wait_until(lambda: client.job(jobs[0]).progress > 0)
    job_gate.set()
    with serve(tmp_path / "jobs") as running, Client(running.url) as client:
        assert [client.wait(job, timeout=PATIENCE).state for job in jobs] == ["done", "done"]


def test_a_job_of_a_model_that_is_not_served_any_more_fails(serve: Any, tmp_path: Path, small_run: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    upload = store.uploads / "a"
    upload.write_bytes(b"video")
    job = store.accept(upload, model="gone", source="a").id
    store.close()
    with serve(tmp_path / "jobs") as running, Client(running.url) as client:
        found = client.wait(job, timeout=PATIENCE)
    assert found.state == "failed"
    assert "'gone' is not served any more" in str(found.detail)
