"""A labelled span of a long video."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from marey.errors import UsageError


@dataclass(frozen=True, slots=True)
class Segment:
    """What happens from `start` until `end`.

    Attributes:
        start: seconds from the first frame.
        end: likewise; later than `start`.
        label: the action.
        confidence: the mean of its probability over the span; 1 for the truth.
    """

    start: float
    end: float
    label: str
    confidence: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end) and 0 <= self.start < self.end):
            raise UsageError(f"a segment has to end after it starts, in seconds, not [{self.start}, {self.end})")

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start

    def overlap(self, other: Segment) -> float:
        """Temporal intersection over union, from 0 to 1; labels are not looked at."""
        shared = min(self.end, other.end) - max(self.start, other.start)
        return max(0.0, shared) / (max(self.end, other.end) - min(self.start, other.start)) if shared > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"start": self.start, "end": self.end, "label": self.label, "confidence": self.confidence}
