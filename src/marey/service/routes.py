"""The routes of the service."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.sse import EventSourceResponse, ServerSentEvent

from marey.data import Clip
from marey.errors import UsageError
from marey.prediction import Promises, Unknown, draw_of, prediction_of_answer
from marey.service.jobs import Job
from marey.service.metrics import MEDIA_TYPE
from marey.service.models import ServedModel
from marey.service.problems import Problem, documented
from marey.service.schema import (
    ENDED,
    Answer,
    ClassProbability,
    HealthAnswer,
    HealthState,
    JobAnswer,
    ModelAnswer,
    Risk,
)
from marey.service.service import Service
from marey.service.uploads import UPLOAD_SCHEMA
from marey.version import __version__

_LOOK: Final = 0.2  # s between two checks of a job that a caller follows

_bearer = HTTPBearer(auto_error=False, description="needed where the service was started with MAREY_TOKEN set")


def service_of(request: Request) -> Service:
    """Return the service that received a request."""
    found = request.app.state.service
    assert isinstance(found, Service)  # noqa: S101 - set by create_app
    return found


Serving = Annotated[Service, Depends(service_of)]


async def check_token(
    service: Serving, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Refuse requests without the token."""
    service.check_token(None if shown is None else shown.credentials)


async def check_page_token(request: Request, service: Serving) -> None:
    """Refuse the page without the token; a browser asks for it, and sends it as a password."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            given = base64.b64decode(given, validate=True).decode("utf-8", "surrogateescape").partition(":")[2]
    try:
        service.check_token(given or None)
    except Problem as problem:
        problem.headers["WWW-Authenticate"] = 'Basic realm="marey", charset="UTF-8"'
        raise


open_routes = APIRouter()
routes = APIRouter(dependencies=[Depends(check_token)], responses=documented(401))

ModelName = Annotated[str | None, Query(description="which of the models; the first one by default")]
JobId = Annotated[str, Path(description="as the answer to POST /jobs says", max_length=64)]


@open_routes.get("/health", tags=["service"], responses={503: {"model": HealthAnswer, "description": "Not ready"}})
async def health(service: Serving, response: Response) -> HealthAnswer:
    """Report the state of the service: 200 if models are loaded and requests are accepted, else 503."""
    status: HealthState = service.status
    jobs = 0
    try:
        jobs = service.store.count("waiting", "running")
    except OSError:
        status = "failing" if status == "ready" else status
    if service.status == "ready" and service.jobs.fault is not None:
        status = "failing"
    if status != "ready":
        response.status_code = 503
    return HealthAnswer(status=status, version=__version__, waiting=service.waiting, jobs=jobs)


@routes.get("/metrics", tags=["service"], response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
async def metrics(service: Serving) -> Response:
    """Return counters and queues in the text format of Prometheus."""
    return Response(service.metrics.text(), media_type=MEDIA_TYPE)


@routes.get("/models", tags=["predictions"], responses=documented(503))
async def models(service: Serving) -> list[ModelAnswer]:
    """List the models."""
    service.check_ready()
    first = next(iter(service.models))
    return [model.describe(default=name == first) for name, model in service.models.items()]


@routes.post(
    "/predict",
    tags=["predictions"],
    openapi_extra={"requestBody": UPLOAD_SCHEMA},
    responses=documented(400, 403, 404, 408, 413, 415, 422, 429, 503, 504, 507),
)
async def predict(
    request: Request,
    service: Serving,
    model: ModelName = None,
    top: Annotated[int, Query(ge=1, le=1000, description="how many classes to give")] = 3,
    threshold: Annotated[
        float | None,
        Query(ge=0, le=1, description="below this probability it is none of the classes, and the label null"),
    ] = None,
    unknown: Annotated[
        Unknown, Query(description="mark: clips that are unlike all training clips are labelled unknown; never: none")
    ] = "mark",
    risk: Annotated[
        float | None, Query(gt=0, lt=1, description="answer only where at most this share of the answers is wrong")
    ] = None,
    sets: Annotated[
        float | None,
        Query(gt=0, lt=1, description="give a set of labels that holds the true one with this probability"),
    ] = None,
) -> Answer:
    """Predict the action in a clip: the `file` of a form, the body itself, or, if allowed, its URL."""
    asked = service.model(model)
    promises = await _promises(asked, threshold, risk, sets)
    service.check_room()
    async with service.video(request) as upload:
        with service.slot():
            found = await service.predict(request, asked, upload)
        draw = "" if sets is None else await asyncio.to_thread(draw_of, Clip(upload.path))
    prediction = prediction_of_answer(
        upload.name,
        asked.predictor.model,
        found,
        threshold=threshold or 0.0,
        unknown=unknown,
        promises=promises,
        draw=draw,
    )
    return Answer(
        source=upload.name,
        model=asked.name,
        label=prediction.label,
        unknown=prediction.unknown,
        unfamiliarity=prediction.unfamiliarity,
        nearest=prediction.labels[0],
        why=prediction.why or None,
        confidence=prediction.probabilities[0],
        top=[ClassProbability(label=label, probability=probability) for label, probability in prediction.top(top)],
        set=None if sets is None else list(prediction.label_set),
        set_level=prediction.level,
        set_guaranteed=None if sets is None else prediction.set_guaranteed,
        risk=None if prediction.risk is None else Risk.model_validate(prediction.risk.as_dict()),
    )


async def _promises(asked: ServedModel, threshold: float | None, risk: float | None, sets: float | None) -> Promises:
    """Return the bounds that a caller asks for, before the upload is read."""
    if risk is not None and threshold is not None:
        raise Problem(422, "invalid", "the risk sets the threshold: leave one of `risk` and `threshold` out")
    try:
        return await asyncio.to_thread(asked.promises, risk=risk, sets=sets)
    except UsageError as error:
        raise Problem(422, "no_held_out_answers", str(error)) from error


@routes.post(
    "/jobs",
    tags=["jobs"],
    status_code=202,
    openapi_extra={"requestBody": UPLOAD_SCHEMA},
    responses=documented(400, 403, 404, 408, 413, 415, 422, 429, 503, 504, 507),
)
async def submit(request: Request, response: Response, service: Serving, model: ModelName = None) -> JobAnswer:
    """Accept a long video as a job, which survives a restart; its result is the segments."""
    asked = service.model(model)
    service.check_job_room()
    async with service.video(request) as upload:
        with service.job_slot():
            job = await asyncio.to_thread(service.store.accept, upload.path, model=asked.name, source=upload.name)
    service.jobs.wake()
    response.headers["Location"] = f"/jobs/{job.id}"
    return _answer(service, job)


async def find_job(service: Serving, id: JobId) -> Job:
    """Return the job of an id."""
    found = service.store.get(id)
    if found is None:
        raise Problem(404, "unknown_job", "there is no such job: it has expired, or never was")
    return found


@routes.get("/jobs/{id}", tags=["jobs"], responses=documented(404, 422))
async def job(service: Serving, found: Annotated[Job, Depends(find_job)]) -> JobAnswer:
    """Report the state of a job, and its result once it is done."""
    return _answer(service, found)


@routes.delete("/jobs/{id}", tags=["jobs"], responses=documented(404, 422, 503))
async def cancel(service: Serving, found: Annotated[Job, Depends(find_job)]) -> JobAnswer:
    """Cancel a job; delete one that has ended."""
    if found.state in ENDED:
        service.store.forget(found.id)
        return _answer(service, found)
    service.jobs.cancel(found.id)
    return _answer(service, service.store.get(found.id) or found)


@routes.get("/jobs/{id}/events", tags=["jobs"], response_class=EventSourceResponse, responses=documented(404, 422))
async def events(service: Serving, found: Annotated[Job, Depends(find_job)]) -> AsyncIterator[ServerSentEvent]:
    """Follow a job: events `progress` at each change, and at the end `done`, `failed` or `cancelled`.

    The stream ends with the job, or with the service; the data of each event is what `GET /jobs/{id}` says.
    """
    last: dict[str, Any] | None = None
    current: Job | None = found
    while current is not None and service.status != "stopping":
        answer = _answer(service, current)
        body = answer.model_dump(mode="json")
        if body != last:
            last = body
            event = answer.state if answer.state in ENDED else "progress"
            yield ServerSentEvent(data=body, event=event)
        if answer.state in ENDED:
            return
        await asyncio.sleep(_LOOK)
        current = service.store.get(current.id)


def _answer(service: Service, found: Job) -> JobAnswer:
    return found.answer(progress=service.progress(found.id), keep=service.settings.keep)
