"""The thread that runs the jobs, one after another."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Mapping
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
    """

    def __init__(
        self, store: JobStore, models: Mapping[str, ServedModel], settings: Settings, *, threads: int, metrics: Metrics
    ) -> None:
        self._store = store
        self._models = models
        self._limits = Limits(
            max_pixels=settings.max_pixels, max_bytes=settings.max_upload, timeout=settings.max_job_duration
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
        self._thread.join(_STOP_WAIT)

    def _run_all(self) -> None:
        torch.set_num_threads(self._threads)
        while True:
            self._changed.clear()
            if self._stopping:
                return
            job = self._store.begin()
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
                self._store.put_back(job.id)
                return
        except VideoError as error:
            self._store.fail(job.id, error.reason, error.detail)
        except MareyError as error:
            self._store.fail(job.id, "unusable", str(error))
        except Exception:
            _LOG.exception("a job could not be worked through")
            self._store.fail(job.id, "fault", "this is a fault of the service, and its log says more")
        else:
            self._store.finish(job.id, result)
        ended = self._store.get(job.id)
        if ended is not None:
            self._metrics.jobs.labels(ended.state).inc()

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
        with tempfile.TemporaryDirectory(prefix="marey-job-") as folder:
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
