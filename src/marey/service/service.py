"""The service: its parts, and their start and end."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, Literal, TypeVar

import torch
from fastapi import Request

from marey.errors import UnknownNameError, VideoError
from marey.prediction import Answer
from marey.service.batching import Engine
from marey.service.jobs import JobStore
from marey.service.metrics import Metrics
from marey.service.models import ServedModel, load_models
from marey.service.problems import Problem, client_left, of_video, too_many
from marey.service.settings import Layout, Settings
from marey.service.uploads import Receiver, Upload
from marey.service.url_fetch import Fetcher
from marey.service.worker import JobWorker
from marey.video import Limits
from marey.video.reading_process import prepare

_LOG: Final = logging.getLogger("marey.service")
T = TypeVar("T")

_SWEEP: Final = 60.0  # s between two searches for expired jobs
_RETRY_PREDICTION: Final = 1  # s
_RETRY_JOB: Final = 30  # s


class Service:
    """The models, queues, jobs and limits of one server.

    Args:
        found: model folders by name; the first one answers where no model is named.
        device: where encoders run.
        engine: what runs them, as for `marey.encoders.load_encoder`.
        settings: what callers may ask.
        layout: the threads of the work.
        store: of jobs; closed by whoever opened it.
    """

    def __init__(
        self,
        found: Mapping[str, Path],
        *,
        device: str,
        engine: str | None = None,
        settings: Settings,
        layout: Layout,
        store: JobStore,
    ) -> None:
        self.settings = settings
        self.store = store
        self.metrics = Metrics()
        self.receiver = Receiver(store.uploads, settings, self.metrics.received.inc)
        self.models: dict[str, ServedModel] = {}
        self.failure: Exception | None = None
        self.status: Literal["loading", "ready", "stopping"] = "loading"
        self._found = dict(found)
        self._device = device
        self._encoder_engine = engine
        self._layout = layout
        self._fetcher = Fetcher(store.uploads, settings) if settings.urls != "refuse" else None
        self._engine: Engine | None = None
        self._worker: JobWorker | None = None
        self._inside = 0
        self._accepting = 0
        self._uploading = 0
        self._token = None if settings.token is None else _digest(settings.token)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the service; models are loaded meanwhile."""
        loading = threading.Thread(target=self._load, name="marey-load", daemon=True)
        loading.start()
        sweeping = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            self.stop()
            sweeping.cancel()
            await asyncio.to_thread(self._end, loading)

    def stop(self) -> None:
        """Accept no new requests; accepted ones are finished."""
        if self.status != "stopping":
            self.status = "stopping"
            self.receiver.stop()

    @property
    def jobs(self) -> JobWorker:
        """The worker of the jobs.

        Raises:
            Problem: 503 the models are not loaded yet, or the service stops.
        """
        self.check_ready()
        assert self._worker is not None  # noqa: S101 - of one that is ready
        return self._worker

    def progress(self, job: str) -> float:
        """Return the progress of a job from 0 to 1."""
        return 0.0 if self._worker is None else self._worker.progress(job)

    @property
    def waiting(self) -> int:
        """Number of predictions that wait or run."""
        return self._inside

    @property
    def uploading(self) -> int:
        """Number of uploads in progress."""
        return self._uploading

    def check_ready(self) -> None:
        """Refuse with 503 while models are loading, and when the service stops."""
        if self.status != "ready":
            detail = "the models are being loaded" if self.status == "loading" else "the service stops"
            raise Problem(503, self.status, f"{detail}; try again in a while", headers={"Retry-After": "2"})

    def check_token(self, given: str | None) -> None:
        """Refuse with 401 requests without the token."""
        if self._token is not None and not hmac.compare_digest(self._token, _digest(given or "")):
            why = "there is none in the request" if given is None else "the one in the request is another"
            raise Problem(
                401,
                "unauthorized",
                f"a token is needed, and {why}: send the header 'Authorization: Bearer TOKEN'",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def model(self, name: str | None) -> ServedModel:
        """Return the model of a name, or the first one.

        Raises:
            Problem: 404 there is none; 503 not loaded yet.
        """
        self.check_ready()
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Problem(404, "unknown_model", str(UnknownNameError("model", name[:100], self.models)))
        return self.models[name]

    def check_room(self) -> None:
        """Refuse with 429 where all slots in the queue of predictions are taken."""
        if self._inside >= self.settings.max_waiting:
            detail = f"{self._inside} predictions wait already; try again in a moment"
            raise too_many("too_many", detail, retry_after=_RETRY_PREDICTION)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Take a slot in the queue of predictions, for an upload that is complete: slow ones keep nobody out.

        Raises:
            Problem: 429 all are taken.
        """
        self.check_room()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def check_job_room(self) -> None:
        """Refuse with 429 where all slots in the queue of jobs are taken."""
        if self.store.count("waiting") + self._accepting >= self.settings.max_jobs:
            detail = f"{self.settings.max_jobs} jobs wait already; try again when one of them is through"
            raise too_many("too_many_jobs", detail, retry_after=_RETRY_JOB)

    @contextmanager
    def job_slot(self) -> Iterator[None]:
        """Take a slot in the queue of jobs, while a complete upload is moved there.

        Raises:
            Problem: 429 all are taken.
        """
        self.check_job_room()
        self._accepting += 1
        try:
            yield
        finally:
            self._accepting -= 1

    @asynccontextmanager
    async def video(self, request: Request) -> AsyncIterator[Upload]:
        """Receive the video of a request; it is deleted afterwards.

        Raises:
            Problem: 429 too many uploads are in progress; or it cannot be received.
        """
        if self._uploading >= self.settings.max_uploads:
            detail = f"{self._uploading} uploads are in progress already; try again in a moment"
            raise too_many("too_many_uploads", detail, retry_after=_RETRY_PREDICTION)
        self._uploading += 1
        try:
            upload = await self._receive(request)
        finally:
            self._uploading -= 1
        try:
            yield upload
        finally:
            upload.path.unlink(missing_ok=True)

    async def _receive(self, request: Request) -> Upload:
        if self.receiver.media_type(request)[0] != "application/json":
            return await self.receiver.receive(request)
        if self._fetcher is None:
            raise Problem(403, "urls_refused", "this service takes no URLs: upload the file instead")
        url = await self.receiver.receive_link(request)
        return await _unless_left(request, self._fetcher.fetch(url))

    async def predict(self, request: Request, model: ServedModel, upload: Upload) -> Answer:
        """Return the prediction for an upload, unless the caller leaves or the time is over.

        Raises:
            Problem: the file cannot be used; 504 it takes too long.
        """
        assert self._engine is not None  # noqa: S101 - of one that is ready
        outcome = "fault"
        try:
            async with asyncio.timeout(self.settings.timeout):
                found = await _unless_left(request, asyncio.wrap_future(self._engine.submit(model, upload.path)))
        except TimeoutError:
            outcome = "timeout"
            detail = f"there was no prediction within {self.settings.timeout:g} s"
            raise Problem(504, "timeout", detail, headers={"Retry-After": "10"}) from None
        except VideoError as error:
            outcome = error.reason
            raise of_video(error) from error
        except Problem as problem:
            outcome = problem.code
            raise
        else:
            outcome = "labelled"
            self.metrics.count_answer(model.name, found)
            return found
        finally:
            self.metrics.clips.labels(model.name, outcome).inc()

    def _load(self) -> None:
        try:
            torch.set_num_threads(self._layout.threads)
            models = load_models(self._found, device=self._device, engine=self._encoder_engine)
            limits = Limits(
                max_pixels=self.settings.max_pixels,
                max_bytes=self.settings.max_upload,
                timeout=self.settings.timeout,
                max_memory=self.settings.max_memory,
            )
            prepare(self._layout.decoders)
            self._engine = engine = Engine(
                self._layout, limits=limits, max_duration=self.settings.max_duration, metrics=self.metrics
            )
            self._worker = JobWorker(
                self.store, models, self.settings, threads=self._layout.threads, metrics=self.metrics
            )
            self.metrics.watch(
                {
                    "requests": lambda: self._inside,
                    "decoding": lambda: engine.waiting,
                    "encoding": lambda: engine.decoded,
                    "jobs": lambda: self.store.count("waiting"),
                }
            )
            self.models = models
            if self.status == "loading":
                self.status = "ready"
        except Exception as error:  # raised again by the server
            self.failure = error

    def _end(self, loading: threading.Thread) -> None:
        loading.join()
        if self._worker is not None:
            self._worker.stop()
        if self._engine is not None:
            self._engine.close()

    async def _sweep(self) -> None:
        while True:
            try:
                self.store.forget_before(time.time() - self.settings.keep)
            except Exception:
                _LOG.exception("jobs that have expired could not be removed")
            await asyncio.sleep(_SWEEP)


async def _unless_left(request: Request, work: Awaitable[T]) -> T:
    """Return the result of work; cancel it when the caller leaves. The body of the request has been read."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise client_left()
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await leaving


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _digest(token: str) -> bytes:
    """Return a hash of the token: its length is constant, so that a comparison does not reveal that of the token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
