"""What a data set is made of: clips, and the manifest that lists them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

Part = Literal["train", "val", "test"]
"""The side of a split that a clip is on."""

PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class Clip:
    """A span of a video file, with a label and a group where they are known.

    Attributes:
        path: the video file.
        label: the action that it shows.
        group: what must never be on both sides of a split: the subject, the source video, the sequence.
        start: first second of the span `[start, end)`; None for the start of the file.
        end: second at which the span is over; None for the end of the file.
        split: the part that the data set's own protocol puts it in.
    """

    path: Path
    label: str | None = None
    group: str | None = None
    start: float | None = None
    end: float | None = None
    split: Part | None = None

    @property
    def id(self) -> str:
        """The clip's name in tables: its path, and `@start-end` where it is a span of the file."""
        if self.start is None and self.end is None:
            return self.path.as_posix()
        first, last = ("" if second is None else f"{second:.12g}" for second in (self.start, self.end))
        return f"{self.path.as_posix()}@{first}-{last}"


@dataclass(frozen=True)
class Manifest:
    """The table of clips, and how it came to be.

    Attributes:
        clips: one entry a clip, in the order in which they were read.
        root: the folder that relative paths start from.
        source: what was read, in words.
        grouping: where the groups come from, in words.
        notes: what was seen and left aside, a sentence each.
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
        """The distinct groups, sorted; a clip without one counts with its file (see `group_of`)."""
        return tuple(sorted({group_of(clip) for clip in self.clips}))

    def with_clips(self, clips: Iterable[Clip]) -> Manifest:
        """The same manifest with other clips."""
        return replace(self, clips=tuple(clips))

    def without(self, names: Iterable[str | Path]) -> Manifest:
        """The manifest without the named clips, as a quarantine list names them.

        Args:
            names: a file's path, which takes all of its clips out, or the `id` of one clip.
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
        """The counts that a person asks for first, ready for a table or for JSON."""
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


def group_of(clip: Clip) -> str:
    """The clip's group; its file where none is known, so that spans of one file stay together."""
    return clip.group if clip.group is not None else clip.path.as_posix()


def relative_name(path: Path, root: Path) -> str:
    """The path with forward slashes, relative to `root` where it lies below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def counted(count: int, noun: str) -> str:
    """The number and the noun, as in '1 clip' and '2 clips'."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listing(items: Sequence[str], *, limit: int = 3) -> str:
    """The first few of many, and how many more there are, for the end of a sentence."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more
