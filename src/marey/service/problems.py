"""Errors of requests as problem JSON (RFC 9457): a status, a code and a sentence."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from marey.errors import VideoError
from marey.service.schema import ProblemAnswer

_CLIENT_LEFT: Final = 499  # the status of nginx for it; only the metrics show it
_STATUS: Final = {"not_video": 415, "no_video_stream": 415, "timeout": 504}
_CODES: Final = {401: "unauthorized", 404: "not_found", 405: "method_not_allowed"}
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_LOG: Final = logging.getLogger("marey.service")
_MEDIA_TYPE: Final = "application/problem+json"


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """The error that answers a request.

    Attributes:
        status: of HTTP.
        code: one word.
        detail: a sentence.
        headers: further ones.
    """

    def __init__(self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def of_video(error: VideoError) -> Problem:
    """Return the error for an unusable file: 415 if it is not a video, 504 after a timeout, else 422."""
    return Problem(_STATUS.get(error.reason, 422), error.reason, error.detail)


def too_many(code: str, detail: str, *, retry_after: int) -> Problem:
    """Return error 429 with the seconds after which to try again."""
    return Problem(429, code, detail, headers={"Retry-After": str(retry_after)})


def client_left() -> Problem:
    """Return the error for a caller that has left; only the metrics show it."""
    return Problem(_CLIENT_LEFT, "client_left", "the caller left before the answer")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of these statuses for the OpenAPI page."""
    schema = {"$ref": "#/components/schemas/ProblemAnswer"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {_MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def add_handlers(app: FastAPI) -> None:
    """Answer every error of an app with problem JSON."""
    app.add_exception_handler(Problem, _of_problem)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(OSError, _of_disk)
    app.add_exception_handler(Exception, _of_fault)


def _of_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - as registered
    return answer_of(error)


def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered
    detail = error.detail
    if error.status_code in (404, 405):
        detail = f"there is no {request.method} {request.url.path[:200]} here; /docs lists what there is"
    code = _CODES.get(error.status_code, "refused")
    return answer_of(Problem(error.status_code, code, detail, headers=error.headers))


def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as registered
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return answer_of(Problem(422, "invalid", f"{where[:200]}: {first['msg']}"))


def _of_disk(request: Request, error: Exception) -> JSONResponse:
    if getattr(error, "errno", None) not in _DISK:
        raise error
    _LOG.error("%s %s: %s", request.method, request.url.path[:200], error)
    detail = "the service has no room, or its disk fails, and nothing was accepted; try again later"
    return answer_of(Problem(507, "no_space", detail, headers={"Retry-After": "30"}))


def _of_fault(request: Request, error: Exception) -> JSONResponse:
    return answer_of(Problem(500, "fault", "this is a fault of the service, and its log says more"))


def answer_of(problem: Problem) -> JSONResponse:
    """Return the response for a problem."""
    title = HTTPStatus(problem.status).phrase if problem.status != _CLIENT_LEFT else "Client Closed Request"
    body = ProblemAnswer(title=title, status=problem.status, code=problem.code, detail=problem.detail)
    return JSONResponse(body.model_dump(), status_code=problem.status, headers=problem.headers, media_type=_MEDIA_TYPE)
