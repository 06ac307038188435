"""Clips, the manifest that lists them, and the segments of a long video."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from marey.errors import UsageError

Part = Literal["train", "val", "test"]
"""The part of a split that a clip belongs to."""

PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class Clip:
    """A span of a video file, with a label and a group if they are known.

    Attributes:
        path: the video file.
        label: the action.
        group: the subject, the source video or the sequence; a split never divides a group.
        start: start of the span `[start, end)` in seconds; None for the start of the file.
        end: end of the span in seconds; None for the end of the file.
        split: the part that the data set's own protocol assigns it to.
    """

    path: Path
    label: str | None = None
    group: str | None = None
    start: float | None = None
    end: float | None = None
    split: Part | None = None

    @property
    def id(self) -> str:
        """The clip's name in tables: its path, followed by `@start-end` if it is a span of the file."""
        if self.start is None and self.end is None:
            return self.path.as_posix()
        first, last = ("" if second is None else f"{second:.12g}" for second in (self.start, self.end))
        return f"{self.path.as_posix()}@{first}-{last}"


@dataclass(frozen=True)
class Manifest:
    """The table of clips, and its origin.

    Attributes:
        clips: one entry per clip, in the order in which they were read.
        root: the folder of relative paths.
        source: a description of the data that were read.
        grouping: a description of the origin of the groups.
        notes: remarks on data that were skipped or assumed, one sentence each.
    """

    clips: tuple[Clip, ...]
    root: Path
    source: str
    grouping: str
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted({clip.label for clip in self.clips if clip.label is not None}))

    @property
    def groups(self) -> tuple[str, ...]:
        """The distinct groups, sorted; the file of a clip without a group is its group (see `group_or_path`)."""
        return tuple(sorted({group_or_path(clip) for clip in self.clips}))

    def with_clips(self, clips: Iterable[Clip]) -> Manifest:
        """Return the same manifest with other clips."""
        return replace(self, clips=tuple(clips))

    def without(self, names: Iterable[str | Path]) -> Manifest:
        """Return the manifest without the named clips, as a quarantine list names them.

        Args:
            names: the path of a file, which removes all of its clips, or the `id` of one clip.
        """
        left_out = {os.path.abspath(name) for name in names}  # noqa: PTH100  (an id is not a path)
        kept = [
            clip
            for clip in self.clips
            if not {os.path.abspath(clip.path), os.path.abspath(clip.id)} & left_out  # noqa: PTH100
        ]
        if len(kept) == len(self.clips):
            return self
        note = f"{len(self.clips) - len(kept)} of {len(self.clips)} clips are left out by name"
        return replace(self, clips=tuple(kept), notes=(*self.notes, note))

    def describe(self) -> dict[str, Any]:
        """Return a summary for a table or for JSON: source, grouping and counts."""
        return {
            "source": self.source,
            "grouping": self.grouping,
            "clips": len(self.clips),
            "files": len({clip.path for clip in self.clips}),
            "groups": len(self.groups),
            "labels": dict(sorted(Counter(clip.label for clip in self.clips if clip.label).items())),
            "splits": {part: count for part in PARTS if (count := sum(clip.split == part for clip in self.clips))},
            "notes": list(self.notes),
        }


def group_or_path(clip: Clip) -> str:
    """Return the clip's group, or its file if no group is known, so that spans of one file stay together."""
    return clip.group if clip.group is not None else clip.path.as_posix()


@dataclass(frozen=True, slots=True)
class Segment:
    """A labelled span of a long video.

    Attributes:
        start: seconds from the first frame.
        end: seconds from the first frame; later than `start`.
        label: the action.
        confidence: mean probability of the label over the span; 1 for ground truth.
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
        """Length in seconds."""
        return self.end - self.start

    def overlap(self, other: Segment) -> float:
        """Return the temporal intersection over union, from 0 to 1; labels are ignored."""
        shared = min(self.end, other.end) - max(self.start, other.start)
        return max(0.0, shared) / (max(self.end, other.end) - min(self.start, other.start)) if shared > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {"start": self.start, "end": self.end, "label": self.label, "confidence": self.confidence}
