"""A client of `marey serve`, for programs without a model of their own.

from marey.client import Client

with Client("http://127.0.0.1:8000") as service:
    answer = service.predict("clip.mp4")
    print(answer.label, answer.confidence)
    job = service.wait(service.submit("match.mp4"))
    for segment in job.segments:
        print(segment.start, segment.end, segment.label)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Self
from urllib.parse import quote

from marey.errors import ServiceError, UsageError, VideoError
from marey.extras import install_command
from marey.service.schema import ENDED, Answer, Segment
from marey.service.schema import HealthAnswer as Health
from marey.service.schema import JobAnswer as Job
from marey.service.schema import ModelAnswer as Model

try:
    import httpx
except ModuleNotFoundError as error:
    raise UsageError(f"the client needs httpx: {install_command('serve')}") from error

__all__ = ["Answer", "Client", "Health", "Job", "Model", "Segment", "Video"]

Video = str | Path | bytes
"""The path of a file, or its bytes."""

_TOKEN: Final = "MAREY_TOKEN"  # noqa: S105 - the variable's name
_LATER: Final = (429, 503)  # statuses that ask to come again
_SILENCE: Final = 60.0  # s: events come every 15 s at least


class Client:
    """A connection to a service; several threads may use it at once.

    Args:
        url: the URL that the service prints.
        token: the token of the service; by default the environment variable MAREY_TOKEN.
        timeout: seconds for an answer, from the end of an upload on.
        patience: seconds for which a request is repeated while too many are waiting.
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
        """Close the connections."""
        self._http.close()

    def predict(
        self,
        video: Video,
        *,
        model: str | None = None,
        top: int = 3,
        threshold: float | None = None,
        unknown: Literal["mark", "never"] | None = None,
        risk: float | None = None,
        sets: float | None = None,
    ) -> Answer:
        """Predict the action in a clip.

        Args:
            video: a path, or the bytes of a file.
            model: its name; by default the service's first one.
            top: number of classes to give.
            threshold: below this probability the label is None; by default 0.
            unknown: "mark", the default, labels clips that are unlike all training clips "unknown"; "never" does not.
            risk: share of wrong answers that is allowed; it sets the threshold, and `risk` of the answer says what is
                promised.
            sets: share of the sets of labels that shall hold the true one; `set` of the answer is that of this clip.

        Raises:
            ServiceError: there is no answer; `code` is the reason, for an unusable file that of `VideoError`.
            VideoError: there is no file at that path.
        """
        params = _params(model, top, threshold, unknown, risk, sets)
        return Answer.model_validate(self._upload("/predict", video, params))

    def predict_url(
        self,
        url: str,
        *,
        model: str | None = None,
        top: int = 3,
        threshold: float | None = None,
        unknown: Literal["mark", "never"] | None = None,
        risk: float | None = None,
        sets: float | None = None,
    ) -> Answer:
        """Predict the action in the clip at a URL, if the service allows URLs; otherwise as `predict`."""
        params = _given(_params(model, top, threshold, unknown, risk, sets))
        return Answer.model_validate(self._ask("POST", "/predict", params=params, json={"url": url}))

    def submit(self, video: Video, *, model: str | None = None) -> Job:
        """Submit a long video; the service keeps it over a restart.

        Args:
            video: a path, or the bytes of a file.
            model: its name; by default the service's first one.

        Raises:
            ServiceError: it was not accepted.
            VideoError: there is no file at that path.
        """
        return Job.model_validate(self._upload("/jobs", video, {"model": model}))

    def job(self, job: str | Job) -> Job:
        """Return the present state of a job."""
        return Job.model_validate(self._ask("GET", f"/jobs/{_id(job)}"))

    def cancel(self, job: str | Job) -> Job:
        """Cancel a job; delete one that has ended."""
        return Job.model_validate(self._ask("DELETE", f"/jobs/{_id(job)}"))

    def events(self, job: str | Job) -> Iterator[Job]:
        """Yield the state of a job at each change, until it has ended or the service stops."""
        timeout = httpx.Timeout(_SILENCE, connect=10.0)
        try:
            with self._http.stream("GET", f"/jobs/{_id(job)}/events", timeout=timeout) as reply:
                if reply.status_code != 200:
                    reply.read()
                    raise _refused(reply)
                for line in reply.iter_lines():
                    if line.startswith("data:"):
                        yield Job.model_validate_json(line.removeprefix("data:"))
        except httpx.HTTPError as error:
            raise _unreachable(self._http.base_url, error) from error

    def wait(self, job: str | Job, *, timeout: float | None = None) -> Job:
        """Wait until a job has ended, also over a restart of the service, and return it.

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
                if found.state in ENDED:
                    return found
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"job {_id(job)} has not ended within {timeout:g} s")
            time.sleep(pause)
            pause = min(2.0, pause * 1.5)

    def models(self) -> tuple[Model, ...]:
        """Return the models of the service."""
        return tuple(Model.model_validate(each) for each in self._ask("GET", "/models"))

    def health(self) -> Health:
        """Return the state of the service; loading and stopping are no errors here."""
        return Health.model_validate(self._ask("GET", "/health", expected=(200, 503)))

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


def _params(
    model: str | None,
    top: int,
    threshold: float | None,
    unknown: str | None,
    risk: float | None,
    sets: float | None,
) -> dict[str, Any]:
    shares = {"threshold": threshold, "risk": risk, "sets": sets}
    return {"model": model, "top": top, "unknown": unknown, **shares}


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _id(job: str | Job) -> str:
    return quote(job, safe="") if isinstance(job, str) else job.id


def _refused(reply: httpx.Response) -> ServiceError:
    try:
        found = reply.json()
        return ServiceError(reply.status_code, found["code"], found["detail"])
    except (ValueError, KeyError, TypeError):
        text = " ".join(reply.text.split())[:200]
        return ServiceError(reply.status_code, "refused", f"the service answers {reply.status_code}: {text}")


def _unreachable(url: httpx.URL, error: httpx.HTTPError) -> ServiceError:
    why = str(error) or type(error).__name__
    return ServiceError(None, "unreachable", f"the service at {url} does not answer: {why}")
