"""The page of a test on untrimmed video: the numbers, what they mean, and what was found when."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from marey.atomic import write_whole
from marey.evaluation import F1_AT, TIOU, PlayedVideo, SegmentScores, UntrimmedEvaluation
from marey.prediction import Timeline
from marey.reports import phrases
from marey.reports.page import Picture, embedded, environment
from marey.reports.style import clock_text
from marey.reports.timeline_plot import plot_timeline

SHOWN: Final = 24
"""Timelines on the page, those of the lowest F1@50."""


def write_untrimmed(
    evaluation: UntrimmedEvaluation,
    out: Path,
    *,
    title: str,
    timelines: Mapping[str, Timeline],
    facts: Mapping[str, str] | None = None,
    shown: int = SHOWN,
) -> Path:
    """Write `report.html`, `metrics.json`, `segments.json`, and the timelines of the page as pictures in `plots/`.

    Args:
        evaluation: what to report.
        out: the folder; made if it is not there. An earlier report's pictures are replaced.
        title: the heading of the page.
        timelines: name of each video that could be used -> its timeline.
        facts: name -> value of what else is needed to have the numbers again.
        shown: how many timelines to show, those of the lowest F1@50 first.

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
    text = (
        environment()
        .get_template("untrimmed.html.j2")
        .render(
            title=title,
            evaluation=evaluation,
            scores=scores,
            failed_reasons=Counter(str(video.reason) for video in evaluation.failed),
            remarks=remarks(evaluation),
            numbers=numbers(scores),
            overlaps=F1_AT,
            tious=TIOU,
            timelines=[
                (
                    video,
                    scores.videos[video.name],
                    _picture(video, timelines[video.name], plots / f"timeline_{number:02d}.png"),
                )
                for number, video in enumerate(played[:shown], start=1)
            ],
            played=len(played),
            clock=partial(clock_text, digits=0),
            facts=facts or {},
        )
    )
    write_whole(out / "metrics.json", _json(evaluation.as_dict()), alone=True)
    write_whole(out / "segments.json", _json([video.as_dict() for video in evaluation.videos]), alone=True)
    write_whole(out / "report.html", text, alone=True)
    return out / "report.html"


def untrimmed_answer(evaluation: UntrimmedEvaluation) -> str:
    """The result in one sentence: "F1@50 0.91 [0.85, 0.96] over 64 segments in 9 videos, ..."."""
    scores = evaluation.scores
    value = f"F1@50 {phrases.share(scores.f1[50])} {phrases.span(scores.interval.f1)}".strip()
    what = f"{phrases.count(scores.segments, 'segment')} in {phrases.count(len(scores.videos), 'video')}"
    return f"{value} over {what}, {evaluation.protocol}"


def untrimmed_table(evaluation: UntrimmedEvaluation) -> Table:
    """The main numbers with their intervals; a leak is said beside the first."""
    scores = evaluation.scores
    table = Table(title=Text(evaluation.protocol), title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column(f"{scores.interval.level:.0%} interval")
    for name, value, ends, _ in numbers(scores):
        table.add_row(name, phrases.share(value, 3), phrases.span(ends, 3))
        if evaluation.leak and name == "F1@50":
            table.add_row("", "", Text(f"leak: {evaluation.leak}", style="bold red"))
    table.add_row("segments, true and found", f"{scores.segments:,} and {scores.found:,}", "")
    table.add_row("videos", f"{len(scores.videos):,}", Text(f"{clock_text(scores.seconds, digits=0)} in all"))
    for video in evaluation.failed:
        table.add_row("without segments", Text(str(video.reason), style="red"), Text(video.name))
    return table


def numbers(scores: SegmentScores) -> list[tuple[str, float | None, tuple[float, float] | None, str]]:
    """Name, value, interval and meaning of each number of the table."""
    rows: list[tuple[str, float | None, tuple[float, float] | None, str]] = [
        (
            "frame accuracy",
            scores.frame_accuracy,
            scores.interval.frame_accuracy,
            "share of all time in which the label is right, or rightly none",
        )
    ]
    rows += [
        (
            f"F1@{at}",
            value,
            scores.interval.f1 if at == 50 else None,
            f"segments found and not invented, from {at}\N{NO-BREAK SPACE}% of overlap on",
        )
        for at, value in scores.f1.items()
    ]
    rows.append(("edit score", scores.edit, None, "whether the actions come in the right order"))
    rows += [
        (
            f"mAP at tIoU {at:g}",
            value,
            None,
            f"from {at:.0%} of overlap on, the surest answers first",
        )
        for at, value in scores.mean_ap.items()
    ]
    return rows


def remarks(evaluation: UntrimmedEvaluation) -> list[str]:
    """What one should know before believing the answer, a sentence each."""
    scores = evaluation.scores
    span = scores.interval
    said = [f"Always saying the most frequent thing would be right in {phrases.share(scores.majority)} of the time."]
    if scores.unlabelled:
        said.append(f"In {phrases.share(scores.unlabelled)} of the time there is none of the classes.")
    said += phrases.about_intervals(span, there=span.f1 is not None)
    if span.unit == "videos":
        said.append("No groups are known. If several videos show one person, the intervals are too narrow.")
    if scores.found > 1.5 * scores.segments:
        said.append("Many more segments are found than there are: a longer min_duration or smooth may join them.")
    value, label = min(((f1, row.label) for row in scores.classes if (f1 := row.f1[50]) is not None), default=(1.0, ""))
    if value < 1:
        said.append(f"The weakest class is “{label}” with an F1@50 of {phrases.share(value)}.")
    return [*said, *evaluation.notes]


def _picture(video: PlayedVideo, timeline: Timeline, path: Path) -> Picture:
    found = (
        ", ".join(f"{one.label} {clock_text(one.start)} to {clock_text(one.end)}" for one in video.found[:6])
        or "nothing"
    )
    more = f" and {len(video.found) - 6} more" if len(video.found) > 6 else ""
    alt = f"Timeline of {video.name}. Found: {found}{more}. True: {phrases.count(len(video.truth), 'segment')}."
    return embedded(plot_timeline(timeline, truth=video.truth), path, alt)


def _json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
