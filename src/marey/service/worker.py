"""The thread that runs the jobs, one after another."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch

from marey.encoders import FeatureCache
from marey.errors import MareyError, VideoError
from marey.service.jobs import Job, JobStore
from marey.service.metrics import Metrics
from marey.service.models import ServedModel
from marey.service.settings import Settings
from marey.video import Limits, probe

_LOG: Final = logging.getLogger("marey.service")
_RETRY: Final = 5.0  # s
_STOP_WAIT: Final = 10.0  # s: a job that takes longer to stop ends with the process, and starts anew


class _Interrupted(Exception):  # noqa: N818 - no error: someone wants the job to end
    """The job was cancelled, or the service stops."""


class JobWorker:
    """Runs the jobs of a store on its own thread.

    Args:
        store: where jobs are.
        models: by name.
        settings: limits.
        threads: of PyTorch.
        metrics: hear of jobs that have ended.
        retry: seconds after which a disk that was full is tried again.

    Attributes:
        fault: why no job can go on now; None if all is well.
    """

    def __init__(
        self,
        store: JobStore,
        models: Mapping[str, ServedModel],
        settings: Settings,
        *,
        threads: int,
        metrics: Metrics,
        retry: float = _RETRY,
    ) -> None:
        self.fault: str | None = None
        self._retry = retry
        self._ending = threading.Event()
        self._store = store
        self._models = models
        self._limits = Limits(
            max_pixels=settings.max_pixels,
            max_bytes=settings.max_upload,
            timeout=settings.max_job_duration,
            max_memory=settings.max_memory,
        )
        self._max_duration = settings.max_job_duration
        self._threads = threads
        self._metrics = metrics
        self._changed = threading.Event()
        self._stopping = False
        self._current: str | None = None
        self._progress = 0.0
        self._unwanted: set[str] = set()
        self._thread = threading.Thread(target=self._run_all, name="marey-jobs", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Wake up for a new job."""
        self._changed.set()

    def progress(self, job: str) -> float:
        """Return the progress of a job from 0 to 1."""
        return self._progress if self._current == job else 0.0

    def cancel(self, job: str) -> None:
        """Cancel a job that waits or runs."""
        self._store.cancel(job)
        if self._current == job:
            self._unwanted.add(job)

    def stop(self) -> None:
        """Stop; the running job continues at the next start."""
        self._stopping = True
        self._changed.set()
        self._ending.set()
        self._thread.join(_STOP_WAIT)

    def _run_all(self) -> None:
        torch.set_num_threads(self._threads)
        while True:
            self._changed.clear()
            if self._stopping:
                return
            try:
                job = self._store.begin()
            except OSError as error:
                self._pause(error)
                continue
            self.fault = None
            if job is None:
                self._changed.wait()
                continue
            self._progress, self._current = 0.0, job.id
            try:
                self._run(job)
            finally:
                self._current = None
                self._unwanted.discard(job.id)

    def _run(self, job: Job) -> None:
        try:
            result = self._timeline(job)
        except _Interrupted:
            if self._stopping:
                self._keep(lambda: self._store.put_back(job.id))
                return
        except VideoError as error:
            self._fail(job, error.reason, error.detail)
        except MareyError as error:
            self._fail(job, "unusable", str(error))
        except OSError as error:
            self._pause(error)
            self._keep(lambda: self._store.put_back(job.id))  # a full disk is no fault of the job
            return
        except Exception:
            _LOG.exception("a job could not be worked through")
            self._fail(job, "fault", "this is a fault of the service, and its log says more")
        else:
            self._keep(lambda: self._store.finish(job.id, result))
        with suppress(OSError):
            ended = self._store.get(job.id)
            if ended is not None:
                self._metrics.jobs.labels(ended.state).inc()

    def _fail(self, job: Job, code: str, detail: str) -> None:
        self._keep(lambda: self._store.fail(job.id, code, detail))

    def _keep(self, write: Callable[[], None]) -> None:
        """Write to the store; where its disk is full, again and again until there is room, or the service stops."""
        while True:
            try:
                write()
            except OSError as error:
                if self._stopping:
                    return  # the next start begins the job again
                self._pause(error)
            else:
                self.fault = None
                return

    def _pause(self, error: OSError) -> None:
        """Say what is wrong with the disk, and wait for a while."""
        if self.fault is None:
            _LOG.error("jobs stand still, and are tried again every %g s: %s", self._retry, error)
        self.fault = str(error)
        if not self._stopping:
            self._ending.wait(self._retry)

    def _timeline(self, job: Job) -> dict[str, Any]:
        model = self._models.get(job.model)
        if model is None:
            known = ", ".join(self._models)
            raise MareyError(f"the model '{job.model}' is not served any more; there are: {known}")
        path = self._store.file(job.id)
        duration = probe(path, limits=self._limits).duration
        if duration > self._max_duration:
            detail = f"the video lasts {duration:.0f} s, and {self._max_duration:g} are allowed"
            raise VideoError(path, "too_large", detail)
        with tempfile.TemporaryDirectory(dir=self._store.uploads, prefix="job-") as folder:
            predictor = model.with_cache(FeatureCache(Path(folder)), self._limits)
            found = predictor.timeline(path, on_progress=lambda done: self._report(job, done))
        return {
            "duration": found.duration,
            "window": found.window,
            "segments": [segment.as_dict() for segment in found.segments],
        }

    def _report(self, job: Job, done: float) -> None:
        self._progress = min(1.0, max(0.0, done))
        if self._stopping or job.id in self._unwanted:
            raise _Interrupted
