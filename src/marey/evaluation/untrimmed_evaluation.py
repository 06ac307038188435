"""Evaluation on untrimmed video: the segments found in whole files against the true ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from marey.data import Leak, Segment
from marey.errors import Reason
from marey.evaluation.evaluation import leak_warning
from marey.evaluation.segments import SegmentScores, score_segments


@dataclass(frozen=True)
class PlayedVideo:
    """A video of a test set, and the segments found in it.

    Attributes:
        name: its path.
        duration: seconds.
        truth: the true segments.
        group: what must not be on both sides of a split, where known.
        found: the predicted segments; none where the file cannot be used.
        reason: why it cannot be used, as one word.
        detail: the reason in words.
    """

    name: str
    duration: float
    truth: tuple[Segment, ...]
    group: str | None = None
    found: tuple[Segment, ...] = ()
    reason: Reason | None = None
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON: predicted and true segments, or the reason why there are no predicted ones."""
        fault = {} if self.reason is None else {"reason": self.reason, "detail": self.detail}
        return {
            "source": self.name,
            "duration": self.duration,
            "group": self.group,
            **fault,
            "segments": [segment.as_dict() for segment in self.found],
            "truth": [{"start": one.start, "end": one.end, "label": one.label} for one in self.truth],
        }


@dataclass(frozen=True)
class UntrimmedEvaluation:
    """The segments found in the videos of a test set, and their scores.

    Attributes:
        videos: one a file.
        segmentation: how probabilities became segments.
        leaks: files that the model was trained on.
        protocol: which videos these are, in words.
        data_hash: hash of the data set.
        seed: of the resampling.
        excluded: clips that were left out by name.
        notes: what a reader should know beside the scores.
    """

    videos: tuple[PlayedVideo, ...]
    segmentation: BaseModel
    leaks: tuple[Leak, ...]
    protocol: str
    data_hash: str
    seed: int
    excluded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Show counts, and no list."""
        return (
            f"UntrimmedEvaluation(protocol={self.protocol!r}, videos={len(self.videos)}, failed={len(self.failed)}, "
            f"leaks={len(self.leaks)}, notes={len(self.notes)})"
        )

    @cached_property
    def scores(self) -> SegmentScores:
        """All scores; computed once."""
        groups = {video.name: video.group for video in self.videos if video.group is not None}
        return score_segments(
            {video.name: video.found for video in self.videos},
            {video.name: video.truth for video in self.videos},
            {video.name: video.duration for video in self.videos},
            groups=groups or None,
            seed=self.seed,
        )

    @property
    def failed(self) -> tuple[PlayedVideo, ...]:
        """The videos that could not be used."""
        return tuple(video for video in self.videos if video.reason is not None)

    @property
    def leak(self) -> str | None:
        """The warning to show beside the scores of a model that was trained on these files."""
        return leak_warning(self.leaks)

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain JSON values, without times or dates: the same test gives the same bytes."""
        return {
            "protocol": self.protocol,
            "over": "windows",
            **self.scores.as_dict(),
            "failed": len(self.failed),
            "failed_reasons": dict(sorted(Counter(str(video.reason) for video in self.failed).items())),
            "excluded": list(self.excluded),
            "leaks": {"count": len(self.leaks), "note": self.leak},
            "notes": list(self.notes),
            "segmentation": self.segmentation.model_dump(mode="json"),
            "data_hash": self.data_hash,
            "seed": self.seed,
        }
