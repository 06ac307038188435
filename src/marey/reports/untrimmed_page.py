"""Page of a test on untrimmed video: metrics, and the timelines of the videos."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from marey.atomic import write_atomic
from marey.evaluation import F1_AT, TIOU, PlayedVideo, UntrimmedEvaluation
from marey.prediction import Timeline
from marey.reports import phrases
from marey.reports.embedding import EmbeddedImage, embed
from marey.reports.page import write_page
from marey.reports.style import clock_text
from marey.reports.timeline_plot import plot_timeline

SHOWN: Final = 24
"""Timelines on the page, the lowest F1@50 first."""


def write_untrimmed(
    evaluation: UntrimmedEvaluation,
    out: Path,
    *,
    title: str,
    timelines: Mapping[str, Timeline],
    facts: Mapping[str, str] | None = None,
    shown: int = SHOWN,
) -> Path:
    """Write `report.html`, `metrics.json`, `segments.json`, and the timelines of the page as PNG in `plots/`.

    Args:
        evaluation: what to report.
        out: the folder; made if it does not exist. Images of an earlier report are replaced.
        title: heading of the page.
        timelines: name of each video that could be used -> its timeline.
        facts: name -> value of what else is needed to reproduce the numbers.
        shown: number of timelines to show, the lowest F1@50 first.

    Returns:
        The path of the page.
    """
    plots = out / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for stale in plots.glob("timeline_*.png"):
        stale.unlink()
    played = [video for video in evaluation.videos if video.name in timelines]
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
        single_writer=True,
        title=title,
        evaluation=evaluation,
        scores=scores,
        failed_reasons=Counter(str(video.reason) for video in evaluation.failed),
        remarks=remarks(evaluation),
        overlaps=F1_AT,
        tious=TIOU,
        timelines=[
            (
                video,
                scores.videos[video.name],
                _timeline_image(video, timelines[video.name], plots / f"timeline_{number:02d}.png"),
            )
            for number, video in enumerate(played[:shown], start=1)
        ],
        played=len(played),
        clock=partial(clock_text, digits=0),
        facts=own | dict(facts or {}),
    )
    write_atomic(out / "metrics.json", _json(evaluation.as_dict()), single_writer=True)
    write_atomic(out / "segments.json", _json([video.as_dict() for video in evaluation.videos]), single_writer=True)
    return out / "report.html"


def untrimmed_summary(evaluation: UntrimmedEvaluation) -> str:
    """Return the result in one sentence: "F1@50 0.91 [0.85, 0.96] over 64 segments in 9 videos, ..."."""
    scores = evaluation.scores
    value = f"F1@50 {phrases.share(scores.f1[50])} {phrases.span(scores.interval.f1)}".strip()
    what = f"{phrases.count(scores.segments, 'segment')} in {phrases.count(len(scores.videos), 'video')}"
    return f"{value} over {what}, {evaluation.protocol}"


def remarks(evaluation: UntrimmedEvaluation) -> list[str]:
    """Return sentences that a reader should know before trusting the result."""
    scores = evaluation.scores
    span = scores.interval
    text = [
        f"Always predicting the most frequent label has a frame accuracy of {phrases.share(scores.majority_baseline)}."
    ]
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


def _timeline_image(video: PlayedVideo, timeline: Timeline, path: Path) -> EmbeddedImage:
    found = (
        ", ".join(f"{one.label} {clock_text(one.start)} to {clock_text(one.end)}" for one in video.found[:6])
        or "nothing"
    )
    more = f" and {len(video.found) - 6} more" if len(video.found) > 6 else ""
    alt = f"Timeline of {video.name}. Found: {found}{more}. True: {phrases.count(len(video.truth), 'segment')}."
    return embed(plot_timeline(timeline, truth=video.truth), path, alt)


def _json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
