"""What goes over the wire: the bodies of requests and answers, as they stand in the OpenAPI page."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: tuple[JobState, ...] = ("done", "failed", "cancelled")

_EXAMPLE_JOB: dict[str, Any] = {
    "id": "9f0c5a54d1f94bfe8a6ac34a10f5e6b1",
    "state": "done",
    "progress": 1.0,
    "source": "match.mp4",
    "model": "first",
    "created": "2026-03-01T10:00:00Z",
    "ended": "2026-03-01T10:00:41Z",
    "expires": "2026-03-02T10:00:41Z",
    "result": {
        "duration": 61.4,
        "window": 2.0,
        "segments": [{"start": 3.2, "end": 7.6, "label": "walking", "confidence": 0.94}],
    },
    "code": None,
    "detail": None,
}


class Likelihood(BaseModel):
    """A class and how probable it is."""

    label: str
    probability: Probability


class Answer(BaseModel):
    """What a model says to one clip."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "source": "clip.mp4",
                "model": "first",
                "label": "walking",
                "confidence": 0.94,
                "top": [{"label": "walking", "probability": 0.94}, {"label": "jogging", "probability": 0.05}],
            }
        }
    )

    source: str = Field(description="the file's name, as the caller gave it")
    model: str = Field(description="which model answered")
    label: str | None = Field(description="the most probable class; null where its probability is below the threshold")
    confidence: Probability = Field(description="the calibrated probability of the most probable class")
    top: list[Likelihood] = Field(description="the most probable classes, most probable first")


class Link(BaseModel):
    """A video that the service shall fetch, where it was started with that allowed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"url": "https://example.org/clip.mp4"}})

    url: Annotated[str, Field(max_length=4096)]


class SpanOfLabel(BaseModel):
    """What happens from `start` until `end`."""

    start: Seconds = Field(description="seconds from the first frame")
    end: Seconds = Field(description="likewise")
    label: str
    confidence: Probability = Field(description="the mean of its probability over the span")


class TimelineAnswer(BaseModel):
    """What happens when in a long video; between the segments it is none of the classes."""

    duration: Seconds = Field(description="of the video")
    window: Seconds = Field(description="that the model looked at, at a time")
    segments: list[SpanOfLabel]


class JobAnswer(BaseModel):
    """A long video on its way."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE_JOB})

    id: str
    state: JobState
    progress: Probability = Field(description="from 0 to 1")
    source: str = Field(description="the file's name, as the caller gave it")
    model: str
    created: datetime
    ended: datetime | None = None
    expires: datetime | None = Field(None, description="when a job that has ended is forgotten")
    result: TimelineAnswer | None = Field(None, description="of a job that is done")
    code: str | None = Field(None, description="of a job that failed: why, as one word")
    detail: str | None = Field(None, description="of a job that failed: why, in words")


class ModelAnswer(BaseModel):
    """A model that can be asked."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "first",
                "default": True,
                "labels": ["boxing", "walking"],
                "encoder": "efficientnet-lite0",
                "streams": ["differences", "triplets"],
                "frames": 16,
            }
        }
    )

    name: str
    default: bool = Field(description="whether it answers where no model is named")
    labels: list[str]
    encoder: str
    streams: list[str]
    frames: int = Field(description="instants that are looked at")


class HealthAnswer(BaseModel):
    """Whether the service can be asked."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"status": "ready", "version": "0.1.0", "waiting": 0, "jobs": 0}}
    )

    status: Literal["loading", "ready", "stopping"]
    version: str
    waiting: int = Field(description="predictions that wait or are worked on")
    jobs: int = Field(description="jobs that wait or are worked on")


class ProblemAnswer(BaseModel):
    """Why there is no answer (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Unsupported Media Type",
                "status": 415,
                "code": "not_video",
                "detail": "no video format that is known starts like this file",
            }
        }
    )

    type: str = "about:blank"
    title: str = Field(description="the status in words")
    status: int
    code: str = Field(description="why, as one word that programs can count on")
    detail: str = Field(description="why, in words for people")
