"""Jobs on disk: accepted jobs survive a restart and a crash."""

from __future__ import annotations

import errno
import json
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from marey.atomic import sync
from marey.errors import UsageError
from marey.json_text import json_text
from marey.service.schema import ENDED, JobAnswer, JobState

_VERSION: Final = 1
_STARTS: Final = 3  # of one job: one that stops the service each time is not started again
_LOCK_WAIT: Final = 5.0  # s: a server that was just killed may still hold it
_ERRNO: Final = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_READONLY: errno.EROFS}
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    number   INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    model    TEXT NOT NULL,
    source   TEXT NOT NULL,
    state    TEXT NOT NULL,
    starts   INTEGER NOT NULL DEFAULT 0,
    created  REAL NOT NULL,
    ended    REAL,
    result   TEXT,
    code     TEXT,
    detail   TEXT
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the table.

    Attributes:
        id: 128 random bits, so that nobody finds another's job.
        model: which model was asked.
        source: the file's name, as the caller gave it.
        state: where it is.
        starts: how often it was begun.
        created: seconds since 1970.
        ended: likewise.
        result: of one that is done.
        code: of one that failed: why, as one word.
        detail: likewise, in words.
    """

    id: str
    model: str
    source: str
    state: JobState
    starts: int
    created: float
    ended: float | None
    result: dict[str, Any] | None
    code: str | None
    detail: str | None

    def answer(self, *, progress: float, keep: float) -> JobAnswer:
        """Return the body of an answer.

        Args:
            progress: of a job that runs, from 0 to 1.
            keep: seconds for which it is kept once it has ended.
        """
        return JobAnswer(
            id=self.id,
            state=self.state,
            progress=1.0 if self.state == "done" else progress,
            source=self.source,
            model=self.model,
            created=datetime.fromtimestamp(self.created, UTC),
            ended=None if self.ended is None else datetime.fromtimestamp(self.ended, UTC),
            expires=None if self.ended is None else datetime.fromtimestamp(self.ended + keep, UTC),
            result=self.result,  # type: ignore[arg-type] # pydantic reads the dictionary
            code=self.code,
            detail=self.detail,
        )


class JobStore:
    """Jobs in SQLite, with their files in a folder beside; for one server at a time.

        folder/jobs.sqlite     the table
        folder/files/ID        the video of a job that has not ended
        folder/uploads/        what is on its way, and empty after each start

    Args:
        folder: made when it is not there.

    Raises:
        UsageError: another server has the folder, it cannot be written to, or its table cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.uploads = folder / "uploads"
        self._files = folder / "files"
        self._guard = threading.Lock()
        try:
            for each in (self.uploads, self._files):
                each.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = FileLock(folder / ".lock")
            self._lock.acquire(timeout=_LOCK_WAIT)
        except Timeout as error:
            raise UsageError(f"another server keeps its jobs in {folder}: name another folder with --jobs") from error
        except OSError as error:
            raise UsageError(f"jobs cannot be kept in {folder}: {error.strerror}; name another with --jobs") from error
        try:
            self._table = sqlite3.connect(folder / "jobs.sqlite", check_same_thread=False, isolation_level=None)
            self._open()
        except (sqlite3.Error, OSError, UsageError) as error:
            self._lock.release()
            raise UsageError(
                f"{folder / 'jobs.sqlite'} cannot be used ({error}): move it away, or name another folder with --jobs"
            ) from error

    def close(self) -> None:
        """Close the database and release the folder."""
        with self._guard:
            self._table.close()
        self._lock.release()

    def file(self, job: str) -> Path:
        """Return the path of a job's video, which is kept until the job has ended."""
        return self._files / job

    def accept(self, upload: Path, *, model: str, source: str) -> Job:
        """Store an upload as a job; from then on both survive a crash.

        Raises:
            OSError: there is no room for it; here, and in all that follows.
        """
        job = secrets.token_hex(16)
        sync(upload)
        upload.replace(self.file(job))
        try:
            sync(self._files)
            with self._writing():
                self._table.execute(
                    "INSERT INTO jobs (id, model, source, state, created) VALUES (?, ?, ?, 'waiting', ?)",
                    (job, model, source, time.time()),
                )
        except OSError:
            self.file(job).unlink(missing_ok=True)
            raise
        found = self.get(job)
        assert found is not None  # noqa: S101 - it has just been written
        return found

    def get(self, job: str) -> Job | None:
        """Return a job by its id."""
        with self._writing():
            return _job(self._table.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone())  # noqa: S608

    def count(self, *states: JobState) -> int:
        """Return the number of jobs in these states."""
        marks = ", ".join("?" * len(states))
        with self._writing():
            found = self._table.execute(f"SELECT count(*) FROM jobs WHERE state IN ({marks})", states)  # noqa: S608
            return int(found.fetchone()[0])

    def begin(self) -> Job | None:
        """Return the job that has waited longest, and mark it as running."""
        with self._writing():
            return _job(
                self._table.execute(
                    "UPDATE jobs SET state = 'running', starts = starts + 1 WHERE number = "  # noqa: S608
                    f"(SELECT min(number) FROM jobs WHERE state = 'waiting') RETURNING {_COLUMNS}"
                ).fetchone()
            )

    def finish(self, job: str, result: dict[str, Any]) -> None:
        """Mark a job as done."""
        self._end(job, "done", result=json_text(result))

    def fail(self, job: str, code: str, detail: str) -> None:
        """Mark a job as failed, with the reason."""
        self._end(job, "failed", code=code, detail=detail)

    def cancel(self, job: str) -> None:
        """Cancel a job; one that has ended is left as it is."""
        self._end(job, "cancelled")

    def put_back(self, job: str) -> None:
        """Return a job to the queue that the end of the service interrupted; this start does not count."""
        with self._writing():
            self._table.execute(
                "UPDATE jobs SET state = 'waiting', starts = starts - 1 WHERE id = ? AND state = 'running'", (job,)
            )

    def forget(self, job: str) -> None:
        """Remove a job that has ended."""
        with self._writing():
            self._table.execute("DELETE FROM jobs WHERE id = ? AND state IN (?, ?, ?)", (job, *ENDED))

    def forget_before(self, moment: float) -> None:
        """Remove the jobs that ended before a time in seconds since 1970."""
        with self._writing():
            self._table.execute("DELETE FROM jobs WHERE ended <= ?", (moment,))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the table, and raise its errors as those of a disk.

        Raises:
            OSError: the disk is full, may not be written to, or fails.
        """
        try:
            with self._guard:
                yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise OSError(_ERRNO.get(code, errno.EIO), f"the table of jobs cannot be used: {error}") from error

    def _end(self, job: str, state: JobState, **values: str) -> None:
        """End a job, then delete its video: in the other order, a crash would leave a job without video."""
        given = {"state": state, "ended": time.time(), **values}
        changes = ", ".join(f"{name} = ?" for name in given)
        with self._writing():
            self._table.execute(
                f"UPDATE jobs SET {changes} WHERE id = ? AND ended IS NULL",  # noqa: S608 - names are our own
                (*given.values(), job),
            )
        with suppress(OSError):  # the next start removes it
            self.file(job).unlink(missing_ok=True)

    def _open(self) -> None:
        """Open the table, and repair what a killed server left."""
        self._table.execute("PRAGMA journal_mode = WAL")
        self._table.execute("PRAGMA synchronous = FULL")
        (version,) = self._table.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise UsageError(f"it has version {version}, and this marey reads {_VERSION}")
        self._table.execute(_SCHEMA)
        self._table.execute(f"PRAGMA user_version = {_VERSION}")
        self._table.execute(
            "UPDATE jobs SET state = 'failed', ended = ?, code = 'gave_up', detail = ? "
            "WHERE state = 'running' AND starts >= ?",
            (time.time(), f"the service was stopped by force {_STARTS} times while it worked on this job", _STARTS),
        )
        self._table.execute("UPDATE jobs SET state = 'waiting' WHERE state = 'running'")
        alive = {row[0] for row in self._table.execute("SELECT id FROM jobs WHERE ended IS NULL")}
        lost = [job for job in alive if not self.file(job).is_file()]
        for job in lost:
            self._table.execute(
                "UPDATE jobs SET state = 'failed', ended = ?, code = 'missing', detail = ? WHERE id = ?",
                (time.time(), "its video was removed from the service's folder", job),
            )
        for path in (*self._files.iterdir(), *self.uploads.iterdir()):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.parent == self.uploads or path.name not in alive:
                path.unlink()


_COLUMNS: Final = ", ".join(Job.__dataclass_fields__)


def _job(row: tuple[Any, ...] | None) -> Job | None:
    if row is None:
        return None
    values = dict(zip(Job.__dataclass_fields__, row, strict=True))
    if values["result"] is not None:
        values["result"] = json.loads(values["result"])
    return Job(**values)
