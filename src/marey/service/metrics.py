"""Counters of the service in the text format of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marey.prediction import Answer

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_CONFIDENCES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_CLIPS: Final = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The counters of one service; those of several services in a process are separate.

    Attributes:
        requests: by route, method and status.
        seconds: of requests, by route.
        received: bytes of uploads.
        clips: that were predicted, by model and outcome: "labelled", a reason code, or "fault".
        batches: how many clips had a part in each batch.
        encoding: seconds that each batch took.
        confidence: of the answers, by model: its mean falls where video drifts away from the training clips.
        unfamiliar: answers for clips that are unlike all training clips, by model; over those counted by `confidence`.
        jobs: that have ended, by state.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        r = self._registry
        self.requests = Counter("marey_requests", "Requests", ("route", "method", "status"), registry=r)
        self.seconds = Histogram("marey_request_seconds", "Seconds", ("route",), buckets=_SECONDS, registry=r)
        self.received = Counter("marey_received_bytes", "Bytes of uploads", registry=r)
        self.clips = Counter("marey_clips", "Clips predicted", ("model", "outcome"), registry=r)
        self.batches = Histogram("marey_batch_clips", "Clips in a batch", buckets=_CLIPS, registry=r)
        self.encoding = Histogram("marey_batch_seconds", "Seconds of a batch", buckets=_SECONDS, registry=r)
        self.confidence = Histogram(
            "marey_confidence", "Confidence of the answers", ("model",), buckets=_CONFIDENCES, registry=r
        )
        self.unfamiliar = Counter("marey_unfamiliar_clips", "Clips unlike all training clips", ("model",), registry=r)
        self.jobs = Counter("marey_jobs", "Jobs that have ended", ("state",), registry=r)
        self._queue = Gauge("marey_queue", "What is not finished", ("stage",), registry=r)

    def count_answer(self, model: str, answer: Answer) -> None:
        """Count the answer for a clip: its confidence, and whether the clip is unfamiliar."""
        self.confidence.labels(model).observe(max(answer.probabilities))
        if answer.unfamiliarity is not None:  # counted from the first answer on, so that a share of 0 shows
            self.unfamiliar.labels(model).inc(int(answer.unknown))

    def watch(self, stages: Mapping[str, Callable[[], int]]) -> None:
        """Set the functions that read the lengths of the queues at each request."""
        for stage, length in stages.items():
            self._queue.labels(stage).set_function(length)

    def text(self) -> bytes:
        """Return all counters in the format of Prometheus."""
        return generate_latest(self._registry)


class CountRequests:
    """Counts the requests of an app.

    Args:
        app: what answers them.
        metrics: where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_watched)
        finally:
            route: Any = scope.get("route")
            # The declared path: the number of paths that callers may invent is unlimited.
            path = str(getattr(route, "path", "other"))
            method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE") else "other"
            self._metrics.requests.labels(path, method, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)
