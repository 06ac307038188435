"""A client of `marey serve`, for programs that have no model of their own.

from marey.client import Client

with Client("http://127.0.0.1:8000") as service:
    answer = service.predict("clip.mp4")
    print(answer.label, answer.confidence)
    job = service.wait(service.submit("match.mp4"))
    for segment in job.segments:
        print(segment.start, segment.end, segment.label)
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Self
from urllib.parse import quote

from marey.errors import ServiceError, UsageError, VideoError
from marey.extras import install_command

try:
    import httpx
except ModuleNotFoundError as error:
    raise UsageError(f"the client needs httpx: {install_command('serve')}") from error

Video = str | Path | bytes
"""A file by its path, or what stands in it."""

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]

_TOKEN: Final = "MAREY_TOKEN"  # noqa: S105 - the variable's name
_ENDED: Final = ("done", "failed", "cancelled")
_LATER: Final = (429, 503)  # statuses that ask to come again
_SILENCE: Final = 60.0  # s: events come every 15 s at least


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says to a clip.

    Attributes:
        source: the file's name.
        model: which model answered.
        label: the most probable class; None where its probability is below the threshold.
        confidence: the probability of the most probable class.
        top: the most probable classes with their probabilities, most probable first.
    """

    source: str
    model: str
    label: str | None
    confidence: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """What happens from `start` until `end`, in seconds from the first frame.

    Attributes:
        start: seconds.
        end: seconds.
        label: the action.
        confidence: the mean of its probability.
    """

    start: float
    end: float
    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Job:
    """A long video on its way.

    Attributes:
        id: its name.
        state: "waiting", "running", "done", "failed" or "cancelled".
        progress: from 0 to 1.
        source: the file's name.
        model: which model is asked.
        duration: of the video in seconds, once it is done.
        segments: what happens when, once it is done.
        code: why it failed, as one word.
        detail: likewise, in words.
    """

    id: str
    state: JobState
    progress: float
    source: str
    model: str
    duration: float | None = None
    segments: tuple[Segment, ...] = ()
    code: str | None = None
    detail: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing about it changes any more."""
        return self.state in _ENDED


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the service answers with.

    Attributes:
        name: what it is called.
        default: whether it answers where none is named.
        labels: its classes.
    """

    name: str
    default: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """How the service is.

    Attributes:
        status: "loading", "ready" or "stopping".
        version: of marey.
        waiting: predictions that are not finished.
        jobs: likewise.
    """

    status: Literal["loading", "ready", "stopping"]
    version: str
    waiting: int
    jobs: int


class Client:
    """A service, as Python sees it; may be used by several threads at a time.

    Args:
        url: where the service is, as it prints it.
        token: what it asks for; by default what the environment has in MAREY_TOKEN.
        timeout: seconds for an answer, from the end of an upload on.
        patience: seconds for which a request is made again when the service says that too many wait.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 120.0, patience: float = 60.0) -> None:
        token = token or os.environ.get(_TOKEN)
        self._patience = patience
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout, connect=10.0),
            limits=httpx.Limits(max_connections=None),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def predict(
        self, video: Video, *, model: str | None = None, top: int = 3, threshold: float | None = None
    ) -> Answer:
        """Which action a clip shows.

        Args:
            video: a path, or the bytes of a file.
            model: which one; the service's first one by default.
            top: how many classes to give.
            threshold: below this probability it is none of the classes; by default 0.

        Raises:
            ServiceError: there is no answer; `code` says why, for a file that cannot be used as `VideoError` does.
            VideoError: there is no file at that path.
        """
        return _answer(self._upload("/predict", video, {"model": model, "top": top, "threshold": threshold}))

    def predict_url(
        self, url: str, *, model: str | None = None, top: int = 3, threshold: float | None = None
    ) -> Answer:
        """Which action the clip at an address shows, where the service fetches addresses; otherwise as `predict`."""
        params = _given({"model": model, "top": top, "threshold": threshold})
        return _answer(self._ask("POST", "/predict", params=params, json={"url": url}))

    def submit(self, video: Video, *, model: str | None = None) -> Job:
        """Hand over a long video; from then on it is safe with the service.

        Args:
            video: a path, or the bytes of a file.
            model: which one; the service's first one by default.

        Raises:
            ServiceError: it was not accepted.
            VideoError: there is no file at that path.
        """
        return _job(self._upload("/jobs", video, {"model": model}))

    def job(self, job: str | Job) -> Job:
        """How a job is now."""
        return _job(self._ask("GET", f"/jobs/{_id(job)}"))

    def cancel(self, job: str | Job) -> Job:
        """End a job; one that has ended already is forgotten."""
        return _job(self._ask("DELETE", f"/jobs/{_id(job)}"))

    def events(self, job: str | Job) -> Iterator[Job]:
        """How a job is whenever that has changed, until it has ended or the service stops."""
        timeout = httpx.Timeout(_SILENCE, connect=10.0)
        try:
            with self._http.stream("GET", f"/jobs/{_id(job)}/events", timeout=timeout) as reply:
                if reply.status_code != 200:
                    reply.read()
                    raise _refused(reply)
                for line in reply.iter_lines():
                    if line.startswith("data:"):
                        yield _job(json.loads(line.removeprefix("data:")))
        except httpx.HTTPError as error:
            raise _unreachable(self._http.base_url, error) from error

    def wait(self, job: str | Job, *, timeout: float | None = None) -> Job:
        """The job once it has ended, also when the service is started anew meanwhile.

        Args:
            job: the job, or its id.
            timeout: seconds; None for as long as it takes.

        Raises:
            TimeoutError: it has not ended by then.
            ServiceError: the service does not know it, or cannot be reached for longer than `patience`.
        """
        until = None if timeout is None else time.monotonic() + timeout
        pause, lost = 0.1, None
        while True:
            try:
                found = self.job(job)
                lost = None
            except ServiceError as error:
                lost = lost or time.monotonic()
                if error.status is not None or time.monotonic() - lost > self._patience:
                    raise
            else:
                if found.ended:
                    return found
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"job {_id(job)} has not ended within {timeout:g} s")
            time.sleep(pause)
            pause = min(2.0, pause * 1.5)

    def models(self) -> tuple[Model, ...]:
        """The models that can be asked."""
        return tuple(
            Model(each["name"], each["default"], tuple(each["labels"])) for each in self._ask("GET", "/models")
        )

    def health(self) -> Health:
        """How the service is; one that loads its models or stops is no error here."""
        found = self._ask("GET", "/health", expected=(200, 503))
        return Health(found["status"], found["version"], found["waiting"], found["jobs"])

    def _upload(self, path: str, video: Video, params: dict[str, Any]) -> Any:
        with ExitStack() as opened:
            content: bytes | BinaryIO
            if isinstance(video, bytes):
                name, content = "upload", video
            else:
                name = Path(video).name
                try:
                    content = opened.enter_context(Path(video).open("rb"))
                except OSError as error:
                    raise VideoError(video, "missing", f"it cannot be opened: {error.strerror}") from error
            return self._ask("POST", path, params=_given(params), files={"file": (name, content)})

    def _ask(self, method: str, path: str, *, expected: tuple[int, ...] = (200, 202), **request: Any) -> Any:
        until = time.monotonic() + self._patience
        while True:
            try:
                reply = self._http.request(method, path, **request)
            except httpx.HTTPError as error:
                raise _unreachable(self._http.base_url, error) from error
            if reply.status_code in expected:
                return reply.json()
            wait = float(reply.headers.get("Retry-After", "0") or 0)
            if reply.status_code not in _LATER or not wait or time.monotonic() + wait > until:
                raise _refused(reply)
            time.sleep(wait)
            for _, content in request.get("files", {}).values():
                if not isinstance(content, bytes):
                    content.seek(0)


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _id(job: str | Job) -> str:
    return quote(job, safe="") if isinstance(job, str) else job.id


def _answer(found: dict[str, Any]) -> Answer:
    top = tuple((each["label"], each["probability"]) for each in found["top"])
    return Answer(found["source"], found["model"], found["label"], found["confidence"], top)


def _job(found: dict[str, Any]) -> Job:
    result = found["result"] or {"duration": None, "segments": []}
    segments = tuple(
        Segment(each["start"], each["end"], each["label"], each["confidence"]) for each in result["segments"]
    )
    return Job(
        found["id"],
        found["state"],
        found["progress"],
        found["source"],
        found["model"],
        result["duration"],
        segments,
        found["code"],
        found["detail"],
    )


def _refused(reply: httpx.Response) -> ServiceError:
    try:
        found = reply.json()
        return ServiceError(reply.status_code, found["code"], found["detail"])
    except (ValueError, KeyError, TypeError):
        said = " ".join(reply.text.split())[:200]
        return ServiceError(reply.status_code, "refused", f"the service answers {reply.status_code}: {said}")


def _unreachable(url: httpx.URL, error: httpx.HTTPError) -> ServiceError:
    why = str(error) or type(error).__name__
    return ServiceError(None, "unreachable", f"the service at {url} does not answer: {why}")
