"""Lines and tables of the answers of `marey predict`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from marey.commands.registry import Line, Table
from marey.commands.steps.label_answer import LabelledRows
from marey.commands.steps.live import LivePredictions
from marey.commands.steps.predictions import Predictions, Timelines, totals


def show_labels(answer: Predictions) -> Iterator[Any]:
    """Show the label of each clip, and then the files that cannot be used."""
    from marey.prediction import UNKNOWN
    from marey.reports import NONE, confidence_text, confidence_texts
    from marey.reports.phrases import sentence

    fit = ("fits",) if any(prediction.matches for prediction in answer.predictions) else ()
    sets = ("set",) if any(prediction.label_set for prediction in answer.predictions) else ()
    columns = ("source", "label", "confidence", *fit, *sets, "then")
    table = Table(columns, whole=("label", "confidence", *fit, *sets), one_line=True, path="source")
    failed = [prediction for prediction in answer.predictions if prediction.reason is not None]
    for prediction in answer.predictions:
        if prediction.reason is not None:
            continue
        none = prediction.label is None
        texts = confidence_texts(prediction.probabilities, threshold=prediction.threshold)
        top = list(zip(prediction.labels, texts, strict=True))[: answer.top]
        label, confidence = (NONE, "") if none else top[0]
        others = ", ".join(" ".join(pair) for pair in (top if none else top[1:]))
        if prediction.unknown:
            label, confidence = UNKNOWN, ""
            others = f"nearest {', '.join(' '.join(pair) for pair in top)}"
        fits = [confidence_text(prediction.matches[0])] if prediction.matches else [""] * len(fit)
        held = [" or ".join(prediction.label_set)] if sets else []
        table.add(prediction.source, label, confidence, *fits, *held, others)
    if table.rows:
        yield table
    if failed:
        files = "file" if len(failed) == 1 else "files"
        yield Line(f"{len(failed)} {files} of {len(answer.predictions)} cannot be used:", "warning")
    for why, count in Counter(prediction.why for prediction in answer.predictions if prediction.unknown).items():
        clips = "clip is" if count == 1 else "clips are"
        yield Line(f"{count} {clips} unknown: {why}", "note")
    for note in answer.notes:
        yield Line(sentence(note), "note")
    for prediction in failed:
        yield Line(f"{prediction.source}: {prediction.reason}: {prediction.detail}", "fault")
    yield from _show_written(answer.written)


def show_predictions(answer: Predictions | Timelines | LivePredictions | LabelledRows) -> Iterator[Any]:
    """Show the answer for clips, for segments, of a live source, or where the rows were written."""
    if isinstance(answer, LabelledRows):
        for source, why in answer.failed.items():
            yield Line(f"{source}: {why}", "fault")
        before = f"{answer.done_before} labelled before, " if answer.done_before else ""
        yield f"{answer.clips} files, {before}{len(answer.failed)} unusable"
        yield f"written   {answer.path}"
    elif isinstance(answer, LivePredictions):
        yield answer
        yield from totals(answer.segments, answer.segments[-1].end if answer.segments else 0.0)
    elif isinstance(answer, Predictions):
        yield from show_labels(answer)
    else:
        yield from _show_segments(answer)


def _show_segments(answer: Timelines) -> Iterator[Any]:
    from marey.reports import NONE, confidence_text
    from marey.reports.style import clock_text

    columns = ("source", "from", "to", "label", "confidence")
    table = Table(columns, whole=("from", "to", "confidence"), one_line=True, path="source")
    for timeline in answer.timelines:
        for segment in timeline.segments:
            ends = (clock_text(segment.start), clock_text(segment.end))
            table.add(timeline.source, *ends, segment.label, confidence_text(segment.confidence))
        if not timeline.segments:
            table.add(timeline.source, clock_text(0.0), clock_text(timeline.duration), NONE, "")
    if table.rows:
        yield table
    every = [segment for timeline in answer.timelines for segment in timeline.segments]
    yield from totals(every, sum(timeline.duration for timeline in answer.timelines))
    for failed in answer.failed:
        yield Line(f"{failed.source}: {failed.reason}: {failed.detail}", "fault")
    yield from _show_written(answer.written)


def _show_written(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        yield f"written   {path}"
