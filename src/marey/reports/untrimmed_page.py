"""Page of a test on untrimmed video: metrics, and the timelines of the videos."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from marey.data import Leak, Segment
from marey.errors import Reason
from marey.evaluation import F1_AT, TIOU, SegmentScores, leak_sentence, score_segments
from marey.prediction import Segmentation, Timeline
from marey.reports import phrases
from marey.reports.page import EmbeddedImage, embed, write_page
from marey.reports.style import clock_text
from marey.reports.timeline_plot import plot_timeline
from marey.whole_file import write_whole

SHOWN: Final = 24
"""Timelines on the page, the lowest F1@50 first."""


@dataclass(frozen=True)
class PlayedVideo:
    """A video of a test set, and what was found in it.

    Attributes:
        name: its path.
        duration: seconds.
        truth: what happens in it.
        group: what must not be on both sides of a split, where known.
        timeline: what the model says; None where the file cannot be used.
        reason: why it cannot be used, as one word.
        detail: the reason in words.
    """

    name: str
    duration: float
    truth: tuple[Segment, ...]
    group: str | None = None
    timeline: Timeline | None = None
    reason: Reason | None = None
    detail: str = ""

    @property
    def found(self) -> tuple[Segment, ...]:
        """The segments that the model says; none where the file cannot be used."""
        return () if self.timeline is None else self.timeline.segments

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what was found and what is true, or the reason why nothing was found."""
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
    """What a model found in the videos of a test set, and what can be computed of it.

    Attributes:
        videos: one a file.
        segmentation: how probabilities became segments.
        leaks: files that the model was trained on.
        protocol: which videos these are, in words.
        data_hash: hash of the data set.
        seed: of the resampling.
        excluded: clips that were left out by name.
        notes: what a reader should know beside the numbers.
    """

    videos: tuple[PlayedVideo, ...]
    segmentation: Segmentation
    leaks: tuple[Leak, ...]
    protocol: str
    data_hash: str
    seed: int
    excluded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def scores(self) -> SegmentScores:
        """Every number; computed once."""
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
        """What to say beside a number from a model that was trained on these files."""
        return leak_sentence(self.leaks)

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain JSON values, without times or dates: the same test gives the same bytes."""
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


def write_untrimmed(
    evaluation: UntrimmedEvaluation,
    out: Path,
    *,
    title: str,
    facts: Mapping[str, str] | None = None,
    shown: int = SHOWN,
) -> Path:
    """Write `report.html`, `metrics.json`, `segments.json`, and the timelines of the page as PNG in `plots/`.

    Args:
        evaluation: what to report.
        out: the folder; made if it does not exist. Images of an earlier report are replaced.
        title: heading of the page.
        facts: name -> value of what else is needed to reproduce the numbers.
        shown: number of timelines to show, the lowest F1@50 first.

    Returns:
        The path of the page.
    """
    plots = out / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for stale in plots.glob("timeline_*.png"):
        stale.unlink()
    played = [video for video in evaluation.videos if video.timeline is not None]
    scores = evaluation.scores
    played.sort(key=lambda video: (scores.videos[video.name].f1[50], scores.videos[video.name].frame_accuracy))
    own = {
        "protocol": evaluation.protocol,
        "segmentation": phrases.settings(evaluation.segmentation.model_dump()),
        "seed": str(evaluation.seed),
        "data hash": evaluation.data_hash,
    }
    write_page(
        out / "report.html",
        "untrimmed",
        alone=True,
        title=title,
        evaluation=evaluation,
        scores=scores,
        failed_reasons=Counter(str(video.reason) for video in evaluation.failed),
        remarks=remarks(evaluation),
        overlaps=F1_AT,
        tious=TIOU,
        timelines=[
            (video, scores.videos[video.name], _picture(video, plots / f"timeline_{number:02d}.png"))
            for number, video in enumerate(played[:shown], start=1)
        ],
        played=len(played),
        clock=partial(clock_text, digits=0),
        facts=own | dict(facts or {}),
    )
    write_whole(out / "metrics.json", _json(evaluation.as_dict()), alone=True)
    write_whole(out / "segments.json", _json([video.as_dict() for video in evaluation.videos]), alone=True)
    return out / "report.html"


def untrimmed_answer(evaluation: UntrimmedEvaluation) -> str:
    """Return the result in one sentence: "F1@50 0.91 [0.85, 0.96] over 64 segments in 9 videos, ..."."""
    scores = evaluation.scores
    value = f"F1@50 {phrases.share(scores.f1[50])} {phrases.span(scores.interval.f1)}".strip()
    what = f"{phrases.count(scores.segments, 'segment')} in {phrases.count(len(scores.videos), 'video')}"
    return f"{value} over {what}, {evaluation.protocol}"


def remarks(evaluation: UntrimmedEvaluation) -> list[str]:
    """Return sentences that a reader should know before trusting the result."""
    scores = evaluation.scores
    span = scores.interval
    text = [f"Always predicting the most frequent label has a frame accuracy of {phrases.share(scores.majority)}."]
    if scores.unlabelled:
        text.append(f"A share of {phrases.share(scores.unlabelled)} of the time has no label.")
    text += phrases.about_intervals(span, there=span.f1 is not None)
    if span.unit == "videos":
        text.append("No groups are known. If several videos show one person, the intervals are too narrow.")
    if scores.found > 1.5 * scores.segments:
        text.append("Many more segments are predicted than exist: a longer min_duration or smooth may join them.")
    value, label = min(((f1, row.label) for row in scores.classes if (f1 := row.f1[50]) is not None), default=(1.0, ""))
    if value < 1:
        text.append(f"The weakest class is “{label}” with an F1@50 of {phrases.share(value)}.")
    return [*text, *evaluation.notes]


def _picture(video: PlayedVideo, path: Path) -> EmbeddedImage:
    assert video.timeline is not None  # noqa: S101 - only those that could be played are shown
    found = (
        ", ".join(f"{one.label} {clock_text(one.start)} to {clock_text(one.end)}" for one in video.found[:6])
        or "nothing"
    )
    more = f" and {len(video.found) - 6} more" if len(video.found) > 6 else ""
    alt = f"Timeline of {video.name}. Found: {found}{more}. True: {phrases.count(len(video.truth), 'segment')}."
    return embed(plot_timeline(video.timeline, truth=video.truth), path, alt)


def _json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
