"""The answers of `marey predict` for recorded video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marey.commands.registry import Table

if TYPE_CHECKING:
    from marey.commands.steps.written import Unwritten
    from marey.data import Segment
    from marey.prediction import Prediction, Timeline


@dataclass(frozen=True)
class Predictions:
    """The answer of `predict` for clips, one prediction per clip.

    Attributes:
        predictions: in the order of the sources.
        top: number of classes shown of each.
        written: requested files and folders.
        unwritten: those that could not be written, each with the reason.
        notes: on what is promised of the answers.
    """

    predictions: tuple[Prediction, ...]
    top: int
    written: tuple[Path, ...] = ()
    unwritten: tuple[Unwritten, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """True if any clip could be used."""
        return any(prediction.reason is None for prediction in self.predictions)

    def as_dict(self) -> list[dict[str, Any]]:
        """Return it for JSON."""
        return [prediction.as_dict(self.top) for prediction in self.predictions]


@dataclass(frozen=True)
class Timelines:
    """The answer of `predict` for windows and frames: a timeline per video.

    Attributes:
        timelines: of the videos that could be used, in the order of the sources.
        failed: those that could not, each with its reason.
        written: requested files and folders.
        unwritten: those that could not be written, each with the reason.
    """

    timelines: tuple[Timeline, ...]
    failed: tuple[Prediction, ...]
    written: tuple[Path, ...] = ()
    unwritten: tuple[Unwritten, ...] = ()

    @property
    def usable(self) -> bool:
        """True if any video could be used."""
        return bool(self.timelines)

    def as_dict(self) -> list[dict[str, Any]]:
        """Return it for JSON."""
        return [timeline.as_dict() for timeline in self.timelines] + [failed.as_dict(0) for failed in self.failed]


def totals(segments: Iterable[Segment], duration: float) -> Iterator[Table]:
    """Give a table of the time of each action, the longest first; none where no action comes twice.

    Args:
        segments: of all videos together.
        duration: of these videos, seconds.
    """
    from marey.reports.style import clock_text

    times: dict[str, list[float]] = {}
    for segment in segments:
        times.setdefault(segment.label, []).append(segment.end - segment.start)
    if all(len(each) < 2 for each in times.values()):
        return
    table = Table(("action", "segments", "in total", "share"), right=("segments", "in total", "share"))
    for label, each in sorted(times.items(), key=lambda pair: -sum(pair[1])):
        share = f"{100 * sum(each) / duration:.0f} %" if duration > 0 else ""
        table.add(label, str(len(each)), clock_text(sum(each)), share)
    yield table
