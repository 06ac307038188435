"""`marey predict`: labels and segments of new video, recorded or live, and annotated video."""

from __future__ import annotations

import csv as csv_files
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from marey.atomic import write_atomic
from marey.commands.options import (
    Changes,
    Device,
    Engine,
    MinDuration,
    Smooth,
    Stride,
    StrPath,
    Window,
    changes_of,
)
from marey.commands.registry import Help, Line, Table, command
from marey.commands.steps.live import LivePredictions, predict_live
from marey.errors import UnknownNameError, UsageError
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.commands.steps.outputs import Outputs
    from marey.commands.steps.written import Unwritten
    from marey.data import Clip
    from marey.prediction import Prediction, Predictor, Segmentation, Timeline


@dataclass(frozen=True)
class Predictions:
    """The answer of `predict` for clips, one prediction per clip.

    Attributes:
        predictions: in the order of the sources.
        labels: name the clips by these labels, without training: "wave, clap, jump"; in Python a list works too.
        recipe: the recipe that labels in words are compared by, whose encoder has a text tower: siglip2-zeroshot, the
            default for them, clip-zeroshot, xclip-zeroshot, or a YAML file.
        set: changes a key of that recipe: encoder.weights=FOLDER; may be repeated. In Python, a mapping works too.
        top: number of classes shown of each.
        written: requested files and folders.
        unwritten: those that could not be written, each with the reason.
    """

    predictions: tuple[Prediction, ...]
    top: int
    written: tuple[Path, ...] = ()
    unwritten: tuple[Unwritten, ...] = ()

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


def show_labels(answer: Predictions) -> Iterator[Any]:
    """Show the label of each clip, and then the files that cannot be used."""
    from marey.reports import NONE, confidence_text

    fit = ("fits",) if any(prediction.matches for prediction in answer.predictions) else ()
    columns = ("source", "label", "confidence", *fit, "then")
    table = Table(columns, whole=("label", "confidence", *fit), one_line=True, path="source")
    failed = [prediction for prediction in answer.predictions if prediction.reason is not None]
    for prediction in answer.predictions:
        if prediction.reason is not None:
            continue
        none = prediction.label is None
        top = [(label, confidence_text(value)) for label, value in prediction.top(answer.top)]
        label, confidence = (NONE, "") if none else top[0]
        others = ", ".join(" ".join(pair) for pair in (top if none else top[1:]))
        fits = [confidence_text(prediction.matches[0])] if prediction.matches else [""] * len(fit)
        table.add(prediction.source, label, confidence, *fits, others)
    if table.rows:
        yield table
    if failed:
        files = "file" if len(failed) == 1 else "files"
        yield Line(f"{len(failed)} {files} of {len(answer.predictions)} cannot be used:", "warning")
    for prediction in failed:
        yield Line(f"{prediction.source}: {prediction.reason}: {prediction.detail}", "fault")
    yield from _show_written(answer.written)


def _show(answer: Predictions | Timelines | LivePredictions) -> Iterator[Any]:
    if isinstance(answer, LivePredictions):
        yield answer
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
    for failed in answer.failed:
        yield Line(f"{failed.source}: {failed.reason}: {failed.detail}", "fault")
    yield from _show_written(answer.written)


def _show_written(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        yield f"written   {path}"


@command(
    "predict",
    panel="Predict",
    examples=(
        "predict runs/first clip.mp4",
        "predict runs/first clips/ --csv labels.csv --annotate annotated/",
        "predict runs/first match.mp4 --mode window --segments match.csv",
        "predict runs/first 0 --max-seconds 60",
        'predict clip.mp4 --labels "wave, clap, jump" --recipe siglip2-zeroshot',
    ),
    show=_show,
    renamed={"over": "mode", "plate": "chronophotograph", "seconds": "max_seconds"},
    values={"mode": {"windows": "window", "frames": "frame"}},
)
def predict(
    model: StrPath,
    sources: Annotated[StrPath | Sequence[StrPath], Help("", cli=list[str])] = (),
    *,
    labels: Annotated[str | Sequence[str] | None, Help("", cli=str | None)] = None,
    recipe: Annotated[StrPath | None, Help("", cli=str | None)] = None,
    set: Changes = None,
    top: int = 3,
    mode: Literal["clip", "window", "frame"] = "clip",
    window: Window = None,
    stride: Stride = None,
    smooth: Smooth = None,
    threshold: float | None = None,
    min_duration: MinDuration = None,
    annotate: StrPath | None = None,
    frames: StrPath | None = None,
    chronophotograph: StrPath | None = None,
    segments: StrPath | None = None,
    timeline: StrPath | None = None,
    thumbnails: StrPath | None = None,
    csv: StrPath | None = None,
    max_seconds: float | None = None,
    device: Device = "auto",
    engine: Engine = None,
    on_answer: Callable[[Predictions | Timelines], None] | None = None,
    reporter: Reporter = AUTO,
) -> Predictions | Timelines | LivePredictions:
    """Predict the action in video clips, long videos or a live camera, each with its confidence.

    Args:
        model: a model folder, or a run with one in it; with `labels` there is none, and the sources begin here.
        sources: video files, folders of them, or patterns such as 'clips/*.mp4'; or one live source: the number of a
            camera, rtsp://..., http(s)://..., or '-' for a pipe.
        top: number of classes to give, the most probable first.
        mode: "clip" gives one label a file; "window" slides over each file and gives labelled segments; "frame" labels
            each frame by the average of the windows that contain it.
        threshold: below this probability the answer is none of the classes; by default 0.5 for windows and live
            sources, and 0 for whole clips.
        annotate: write the video with label, confidence, bars and time on its frames, as .mp4; for several videos, a
            folder.
        frames: a new folder for labelled frames as images; for several videos, with a folder a video.
        chronophotograph: write the chronophotograph of the video as .png or .jpg; for several videos, a folder.
        segments: write the segments as .json, .csv or .vtt (subtitles).
        timeline: write a plot of the timeline as .png; for several videos, a folder.
        thumbnails: a new folder with an image of each segment; for several videos, with a folder a video.
        csv: write the labels of the clips to this CSV file: source, label, confidence, and the reason where a file
            cannot be used. For segments, --segments writes CSV.
        max_seconds: stop a live source after so many seconds.
        on_answer: called with the answer for files as soon as it is known, before any output is written.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.commands.steps.outputs import Outputs
    from marey.commands.steps.prepare import pick_device, segmentation_of
    from marey.commands.steps.words import open_labels
    from marey.prediction import Predictor, find_clips
    from marey.video import is_live

    if top < 1:
        raise UsageError(f"top={top}: at least one class has to be given")
    if mode not in ("clip", "window", "frame"):
        raise UnknownNameError("mode", mode, ("clip", "window", "frame"))
    named = [str(source) for source in ([sources] if isinstance(sources, str | Path) else sources)]
    if labels is not None:
        named = [str(model), *named]
    elif recipe is not None or set is not None:
        raise UsageError('a recipe names clips by labels, which are missing: add --labels "wave, clap, jump"')
    elif not named:
        raise UsageError("SOURCES is missing: name video files or folders after the model")
    given = {
        "window": window,
        "stride": stride,
        "smooth": smooth,
        "threshold": threshold,
        "min_duration": min_duration,
    }
    paths = (annotate, frames, chronophotograph, segments, timeline, thumbnails, csv)
    outputs = Outputs(top, *(None if path is None else Path(path) for path in paths))
    live = [source for source in named if is_live(source)]
    if live and len(named) > 1:
        raise UsageError(f"'{live[0]}' is a live source, which is watched alone; {len(named)} sources were given")
    if mode == "clip" and not live:
        _check_clip_options(given, outputs)
    if csv is not None and (mode != "clip" or live):
        raise UsageError("--csv writes the labels of whole clips: for segments, use --segments FILE.csv")
    if max_seconds is not None and not live:
        raise UsageError(f"max_seconds={max_seconds:g} ends a live source, and '{named[0]}' is a file")
    rule = segmentation_of(given)

    def opened(where: str) -> Predictor:
        if labels is None:
            return Predictor(model, device=where, engine=engine)
        return open_labels(labels, recipe, changes=changes_of(set), device=where, engine=engine)

    if live:
        outputs.check_live()
        predictor = opened(pick_device(device))
        return predict_live(predictor, live[0], rule=rule, outputs=outputs, seconds=max_seconds)
    clips = find_clips(named)
    outputs.check(clips)
    predictor = opened(pick_device(device))
    hear = on_answer or (lambda answer: None)
    if mode == "clip":
        return _label_clips(predictor, clips, threshold or 0.0, outputs, hear, reporter)
    return _watch(predictor, clips, rule, mode, outputs, hear, reporter)


def _check_clip_options(given: dict[str, float | None], outputs: Outputs) -> None:
    """Refuse options of windows and segments for whole clips."""
    named = [name for name, value in given.items() if value is not None and name != "threshold"]
    named += [name for name in ("segments", "timeline", "thumbnails") if getattr(outputs, name) is not None]
    if named:
        option = f"--{named[0].replace('_', '-')}"
        raise UsageError(f"{option} is for segments, and a whole clip has one label: add --mode window")


def _label_clips(
    predictor: Predictor,
    clips: list[Clip],
    threshold: float,
    outputs: Outputs,
    hear: Callable[[Predictions], None],
    reporter: Reporter,
) -> Predictions:
    from marey.commands.steps.outputs import CaptionTrack
    from marey.commands.steps.prepare import watched
    from marey.commands.steps.written import Written, written

    with watched(reporter, "reading clips", len(clips)) as watch:
        found = predictor.predict(clips, threshold=threshold, on_progress=watch)
    answer = Predictions(tuple(found), outputs.top)
    hear(answer)
    result = Written()
    for clip, prediction in zip(clips, found, strict=True):
        if prediction.reason is None:
            say = partial(CaptionTrack.of_clip, prediction, outputs.top)
            result += outputs.write(clip.path, say, reporter, several=len(clips) > 1)
    if outputs.csv is not None:
        result += written(outputs.csv, partial(_write_labels, found, outputs.csv))
    return replace(answer, written=result.paths, unwritten=result.failed)


def _watch(
    predictor: Predictor,
    clips: list[Clip],
    rule: Segmentation,
    mode: Literal["window", "frame"],
    outputs: Outputs,
    hear: Callable[[Timelines], None],
    reporter: Reporter,
) -> Timelines:
    from marey.commands.steps.outputs import CaptionTrack
    from marey.commands.steps.prepare import percent
    from marey.commands.steps.written import Written, written
    from marey.errors import VideoError
    from marey.prediction import Prediction
    from marey.reports import write_segments
    from marey.video import probe

    found: dict[Path, Timeline] = {}
    failed = []
    for clip in clips:
        try:
            mine = rule
            if mode == "frame" and rule.stride is None:
                mine = rule.model_copy(update={"stride": 1 / probe(clip.path).frame_rate})
            with percent(reporter, f"watching {clip.path.name}") as on_progress:
                found[clip.path] = predictor.timeline(clip.path, segmentation=mine, on_progress=on_progress)
        except VideoError as error:
            failed.append(Prediction(str(clip.path), (), (), error.reason, error.detail))
    answer = Timelines(tuple(found.values()), tuple(failed))
    hear(answer)
    result = Written()
    if outputs.segments is not None and found:  # first: it is small, and the videos may fill the disk
        result += written(outputs.segments, partial(write_segments, answer.timelines, outputs.segments))
    for path, timeline in found.items():
        say = partial(CaptionTrack.of_timeline, timeline, outputs.top, steady=mode == "window")
        result += outputs.write(path, say, reporter, several=len(clips) > 1)
    return replace(answer, written=result.paths, unwritten=result.failed)


def _write_labels(predictions: Sequence[Prediction], out: Path) -> None:
    """Write the label of each clip as CSV."""
    table = io.StringIO()
    rows = csv_files.writer(table, lineterminator="\n")
    rows.writerow(("source", "label", "confidence", "reason", "detail"))
    for each in predictions:
        confidence = "" if each.reason is not None else f"{each.top(1)[0][1]:.6f}"
        rows.writerow((each.source, each.label or "", confidence, each.reason or "", each.detail or ""))
    write_atomic(out, table.getvalue(), single_writer=True)
