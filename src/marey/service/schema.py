"""The bodies of requests and answers, as in the OpenAPI page; `marey.client` reads them with the same models."""

from __future__ import annotations

from collections.abc import Iterator
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


class ClassProbability(BaseModel):
    """A class with its probability; it unpacks as `label, probability`."""

    label: str
    probability: Probability

    def __iter__(self) -> Iterator[str | float]:  # type: ignore[override]
        return iter((self.label, self.probability))

    def __getitem__(self, place: int) -> str | float:
        return (self.label, self.probability)[place]


class Risk(BaseModel):
    """A bound on wrong answers, and what stands behind it."""

    risk: Probability = Field(description="share of wrong answers that is allowed")
    threshold: Probability | None = Field(description="the least confidence of an answer; null where none is given")
    guaranteed: bool = Field(description="whether the bound is shown with 90 % confidence")
    held_out_answered: Probability = Field(description="share of the held-out clips that have that confidence")
    held_out_wrong: Probability | None = Field(description="share of wrong answers among them")
    groups: int = Field(description="held-out groups")
    groups_needed: int = Field(description="groups without an error that the bound takes")
    note: str = Field(description="the same in a sentence")


class Answer(BaseModel):
    """The prediction of a model for one clip."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "source": "clip.mp4",
                "model": "first",
                "label": "walking",
                "unknown": False,
                "unfamiliarity": 0.81,
                "nearest": "walking",
                "why": None,
                "confidence": 0.94,
                "top": [{"label": "walking", "probability": 0.94}, {"label": "jogging", "probability": 0.05}],
            }
        }
    )

    source: str = Field(description="the file's name, as the caller gave it")
    model: str = Field(description="the name of the model")
    label: str | None = Field(
        description="the most probable class; unknown if the clip is unlike all training clips; null if its "
        "probability is below the threshold, or below that of the risk"
    )
    unknown: bool = Field(False, description="true if the clip is unlike all training clips")
    unfamiliarity: float | None = Field(
        None, description="how unlike the training clips it is: above 1 it is unknown; null if the model cannot tell"
    )
    nearest: str | None = Field(None, description="the most probable class, whatever the label")
    why: str | None = Field(None, description="of an unknown clip: the reason in words")
    confidence: Probability = Field(description="the calibrated probability of the most probable class")
    top: list[ClassProbability] = Field(description="the most probable classes, most probable first")
    set: list[str] | None = Field(None, description="labels that hold the true one with the share that was asked for")
    set_level: Probability | None = Field(None, description="the share")
    set_guaranteed: bool | None = Field(None, description="whether it is guaranteed for new groups")
    risk: Risk | None = Field(None, description="the bound on wrong answers, where one was asked for")


class UrlRequest(BaseModel):
    """The URL of a video that the service fetches, if it was started with --allow-urls."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"url": "https://example.org/clip.mp4"}})

    url: Annotated[str, Field(max_length=4096)]


class Segment(BaseModel):
    """A labelled span of a video."""

    start: Seconds = Field(description="seconds from the first frame")
    end: Seconds = Field(description="seconds from the first frame")
    label: str
    confidence: Probability = Field(description="the mean of its probability over the span")


class TimelineAnswer(BaseModel):
    """The segments of a long video; between them it is none of the classes."""

    duration: Seconds = Field(description="of the video")
    window: Seconds = Field(description="length of the sliding window")
    segments: list[Segment]


class JobAnswer(BaseModel):
    """A job: a long video and its state."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE_JOB})

    id: str
    state: JobState
    progress: Probability = Field(description="from 0 to 1")
    source: str = Field(description="the file's name, as the caller gave it")
    model: str
    created: datetime
    ended: datetime | None = None
    expires: datetime | None = Field(None, description="when an ended job is deleted")
    result: TimelineAnswer | None = Field(None, description="of a done job")
    code: str | None = Field(None, description="of a failed job: the reason as one word")
    detail: str | None = Field(None, description="of a failed job: the reason in words")

    @property
    def duration(self) -> float | None:
        """Duration of the video in seconds, once the job is done."""
        return None if self.result is None else self.result.duration

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments found, once the job is done."""
        return () if self.result is None else tuple(self.result.segments)


class ModelAnswer(BaseModel):
    """A model of the service."""

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
    default: bool = Field(description="true if it answers requests that name no model")
    labels: list[str]
    encoder: str
    streams: list[str]
    frames: int = Field(description="timestamps that are read of a clip")


HealthState = Literal["loading", "ready", "stopping", "failing"]
"""The state of the service; "failing" where its disk is full or broken."""


class HealthAnswer(BaseModel):
    """The state of the service."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"status": "ready", "version": "0.1.0", "waiting": 0, "jobs": 0}}
    )

    status: HealthState = Field(
        description="failing: the folder of jobs cannot be written to; it is tried again every few seconds"
    )
    version: str
    waiting: int = Field(description="predictions that wait or run")
    jobs: int = Field(description="jobs that wait or run")


class ProblemAnswer(BaseModel):
    """An error (RFC 9457)."""

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
    code: str = Field(description="the reason as one word, for programs")
    detail: str = Field(description="the reason in words")
