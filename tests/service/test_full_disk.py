"""A service whose disk is full, or fails: nothing that was accepted is lost, and jobs go on when there is room."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from marey.service import Settings
from marey.service.jobs import JobStore
from marey.service.metrics import Metrics
from marey.service.worker import JobWorker
from waiting import PATIENCE, wait_until

pytest_plugins = ["service_fixtures"]


class FailingTable:
    """A database whose statements from the n-th to the last fail, as SQLite's do on a full disk."""

    def __init__(self, table: sqlite3.Connection, first: int, last: int, code: int = sqlite3.SQLITE_FULL) -> None:
        self._table = table
        self._failing = range(first, last)
        self._code = code
        self.statements = 0

    def execute(self, *given: Any) -> sqlite3.Cursor:
        self.statements += 1
        if self.statements - 1 in self._failing:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = self._code
            raise error
        return self._table.execute(*given)

    def close(self) -> None:
        self._table.close()


def fail(store: JobStore, first: int, last: int, code: int = sqlite3.SQLITE_FULL) -> FailingTable:
    table = FailingTable(store._table, first, last, code)
    store._table = table  # type: ignore[assignment]
    return table


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    found = JobStore(tmp_path / "jobs")
    yield found
    found.close()


def upload(store: JobStore, name: str = "a") -> Path:
    path = store.uploads / name
    path.write_bytes(b"video")
    return path


def work(store: JobStore, done: list[str]) -> None:
    """Everything that happens to two jobs."""
    for name in ("a", "b"):
        accepted = store.accept(upload(store, name), model="m", source=name)
        done.append(accepted.id)
    first = store.begin()
    assert first is not None
    store.finish(first.id, {"segments": []})
    second = store.begin()
    assert second is not None
    store.put_back(second.id)
    store.cancel(second.id)
    store.forget(second.id)
    store.forget_before(0.0)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY])
def test_whichever_statement_fails_the_next_start_goes_on(tmp_path: Path, code: int) -> None:
    plain = JobStore(tmp_path / "plain")
    counted = fail(plain, 0, 0)
    work(plain, [])
    plain.close()
    assert counted.statements >= 10
    for number in range(counted.statements):
        folder = tmp_path / str(number)
        store, accepted = JobStore(folder), list[str]()
        fail(store, number, number + 1, code)
        with pytest.raises(OSError, match="the table of jobs cannot be used") as caught:
            work(store, accepted)
        assert caught.value.errno in (errno.ENOSPC, errno.EIO, errno.EROFS)
        store.close()
        again = JobStore(folder)
        waiting = {path.name for path in (folder / "files").iterdir()}
        for job in accepted:
            found = again.get(job)  # None of the one that was forgotten
            assert (found is not None and found.state == "waiting") == (job in waiting)
        work(again, [])
        again.close()


def test_a_full_database_is_a_full_disk(store: JobStore) -> None:
    (pages,) = store._table.execute("PRAGMA page_count").fetchone()
    store._table.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match="full") as caught:
        store.accept(upload(store), model="m" * 100_000, source="a")
    assert caught.value.errno == errno.ENOSPC
    assert store.count("waiting") == 0
    assert list((store.uploads.parent / "files").iterdir()) == []


@pytest.mark.parametrize("first", [0, 1, 2])
def test_jobs_stand_still_while_the_disk_is_full_and_go_on_when_there_is_room(
    store: JobStore, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    accepted = store.accept(upload(store), model="gone", source="a")
    table = fail(store, first, 10**9)
    worker = JobWorker(store, {}, Settings(), threads=1, metrics=Metrics(), retry=0.01)
    try:
        wait_until(lambda: worker.fault is not None)
        seen = table.statements
        wait_until(lambda: table.statements > seen + 3)
        table._failing = range(0)
        if first == 0:
            wait_until(lambda: worker.fault is None)
        wait_until(lambda: (found := store.get(accepted.id)) is not None and found.state == "failed")
        wait_until(lambda: worker.fault is None)
    finally:
        worker.stop()
    found = store.get(accepted.id)
    assert found is not None
    assert (found.code, found.starts) == ("unusable", 1)
    assert caplog.text.count("jobs stand still, and are tried again every") == 1


def test_a_service_without_room_says_507_and_not_ready_and_recovers(serve: Any, tmp_path: Path, clip: Path) -> None:
    with serve(tmp_path) as running:
        jobs = f"{running.url}/jobs"
        table = fail(running.service.store, 0, 10**9)
        reply = httpx.post(jobs, content=clip.read_bytes(), headers={"Content-Type": "video/mp4"}, timeout=PATIENCE)
        assert (reply.status_code, reply.json()["code"]) == (507, "no_space")
        health = httpx.get(f"{running.url}/health")
        assert (health.status_code, health.json()["status"]) == (503, "failing")
        table._failing = range(0)
        assert httpx.get(f"{running.url}/health").json()["status"] == "ready"
        reply = httpx.post(jobs, content=clip.read_bytes(), headers={"Content-Type": "video/mp4"}, timeout=PATIENCE)
        assert reply.status_code == 202
