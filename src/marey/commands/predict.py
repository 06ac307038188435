"""`marey predict`: labels and segments of new video, recorded or live, and annotated video."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from marey.commands.options import (
    Actors,
    Changes,
    Device,
    Engine,
    GpuShare,
    MinDuration,
    On,
    Smooth,
    Stride,
    StrPath,
    Window,
    changes_of,
)
from marey.commands.registry import Help, command
from marey.commands.steps.label_answer import LabelledRows
from marey.commands.steps.live import LivePredictions, predict_live
from marey.commands.steps.prediction_lines import show_predictions
from marey.commands.steps.predictions import Predictions, Timelines
from marey.errors import UnknownNameError, UsageError
from marey.progress import AUTO, Reporter
from marey.remote_path import is_remote

if TYPE_CHECKING:
    from marey.commands.steps.outputs import Outputs
    from marey.data import Clip
    from marey.encoders import Features
    from marey.prediction import Predictor, Segmentation, Timeline, Way


@command(
    "predict",
    panel="Predict",
    examples=(
        "predict runs/first clip.mp4",
        "predict runs/first clips/ --csv labels.csv --annotate annotated/",
        "predict runs/first clips/ --risk 0.05 --sets 0.9",
        "predict runs/first match.mp4 --mode window --segments match.csv",
        "predict runs/first match.mp4 --mode frame --csv frames.csv",
        "predict runs/first https://example.org/clip.mp4 --download --annotate clip.mp4",
        "predict runs/first 's3://bucket/clips/*.mp4' --csv labels.csv",
        "predict runs/first s3://bucket/clips --on ray --out s3://bucket/predictions.parquet",
        "predict runs/first 0 --max-seconds 60",
        'predict clip.mp4 --labels "wave, clap, jump" --recipe siglip2-zeroshot',
    ),
    show=show_predictions,
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
    unknown: Literal["mark", "never"] | None = None,
    risk: float | None = None,
    sets: float | None = None,
    annotate: StrPath | None = None,
    frames: StrPath | None = None,
    chronophotograph: StrPath | None = None,
    segments: StrPath | None = None,
    timeline: StrPath | None = None,
    thumbnails: StrPath | None = None,
    csv: StrPath | None = None,
    independent: bool = False,
    verbose: bool = False,
    download: bool = False,
    in_place: bool = False,
    max_seconds: float | None = None,
    reconnect: float = 0.0,
    device: Device = "auto",
    engine: Engine = None,
    on_answer: Callable[[Predictions | Timelines], None] | None = None,
    out: StrPath | None = None,
    on: On = None,
    actors: Actors = None,
    gpu_share: GpuShare = None,
    reporter: Reporter = AUTO,
) -> Predictions | Timelines | LivePredictions | LabelledRows:
    """Predict the action in video clips, long videos or a live camera, each with its confidence.

    Args:
        model: a model folder, or a run with one in it; with `labels` there is none, and the sources begin here.
        sources: video files, folders of them, or patterns such as 'clips/*.mp4'; or one live source: the number of a
            camera, rtsp://..., http(s)://..., or '-' for a pipe. Files, folders and patterns may lie in an object
            store: s3://bucket/clips/*.mp4, gs://, az://, hf://.
        labels: name the clips by these labels, without training: "wave, clap, jump"; in Python a list works too.
        recipe: the recipe that labels in words are compared by, whose encoder has a text tower: siglip2-zeroshot, the
            default for them, clip-zeroshot, xclip-zeroshot, or a YAML file.
        set: changes a key of that recipe: encoder.weights=FOLDER; may be repeated. In Python, a mapping works too.
        top: number of classes to give, the most probable first.
        mode: "clip" gives one label a file; "window" slides over each file and gives labelled segments; "frame" labels
            each frame by the average of the windows that contain it.
        threshold: below this probability the answer is none of the classes; by default 0.5 for windows and live
            sources, and 0 for whole clips.
        unknown: "mark" labels what is unlike all clips that the model learned from "unknown"; "never" gives it the most
            probable class. By default "mark" for whole clips, and "never" for windows, frames and live sources, where
            every change from one action to the next is unlike them. Models of earlier versions cannot tell.
        risk: answer only where at most this share of the answers is wrong (0.05): the threshold comes from the clips
            that were held out of the training, and it is said where they are too few to guarantee it. For whole clips.
        sets: also give a set of labels that holds the true one with this probability (0.9). For whole clips.
        annotate: write the video with label, confidence, bars and time on its frames, as .mp4; for several videos, a
            folder.
        frames: a new folder for labelled frames as images; for several videos, with a folder a video.
        chronophotograph: write the chronophotograph of the video as .png or .jpg; for several videos, a folder.
        segments: write the segments as .json, .csv or .vtt (subtitles).
        timeline: write a plot of the timeline as .png; for several videos, a folder.
        thumbnails: a new folder with an image of each segment; for several videos, with a folder a video.
        csv: write the labels of the clips to this CSV file: source, label, confidence, and the reason where a file
            cannot be used; with --mode frame, a row for each frame: its time and the probability of each class. For
            segments, --segments writes CSV.
        independent: with --mode frame, classify each frame by itself, without those around it: the baseline that sees
            no movement.
        verbose: say what was read of each video: its frames, the timestamps, and the shape of the features.
        download: fetch the video at an http(s) URL, or on a web page, and label it as a clip, with all outputs of a
            file. Pages such as YouTube's need the extra live.
        in_place: read the file at an http(s) URL where it lies, by ranges of bytes, and label it as a file, with the
            extra remote; without this, one such URL is watched live. Other URLs of files, and several sources, are
            always read like this.
        max_seconds: stop a live source after so many seconds.
        reconnect: open a camera or a stream that breaks off again, for so many seconds, after growing waits.
        on_answer: called with the answer for files as soon as it is known, before any output is written.
        out: write the answers to this Parquet file, here or in an object store: a row a clip, or with --mode window and
            frame a row a window, with the probabilities of all classes. A second call adds what is missing. No other
            output goes with it.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.commands.steps.clip_results import Cluster
    from marey.commands.steps.outputs import Outputs
    from marey.commands.steps.predict_options import check_clip_options, check_independent, check_promises, check_rows
    from marey.commands.steps.prepare import pick_device, segmentation_of
    from marey.commands.steps.web_clip import fetched_clip
    from marey.commands.steps.words import open_labels
    from marey.prediction import Predictor, find_clips
    from marey.video import is_live

    if top < 1:
        raise UsageError(f"top={top}: at least one class has to be given")
    if mode not in ("clip", "window", "frame"):
        raise UnknownNameError("mode", mode, ("clip", "window", "frame"))
    if unknown not in (None, *(known := ("mark", "never"))):
        raise UnknownNameError("value of unknown", unknown, known)
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
    cluster = Cluster.of(on, actors, gpu_share, device, engine)
    as_files = in_place or len(named) > 1
    if in_place and (download or not all(map(is_remote, named))):
        raise UsageError("--in-place reads files at URLs where they lie: name only such, and leave out --download")
    live = [] if download else [each for each in named if is_live(each) and not (as_files and is_remote(each))]
    if live and len(named) > 1:
        raise UsageError(f"'{live[0]}' is a live source, which is watched alone; {len(named)} sources were given")
    if mode == "clip" and not live:
        check_clip_options(given, outputs)
    if csv is not None and (mode == "window" or live):
        raise UsageError("--csv writes the labels of clips or frames: for segments, use --segments FILE.csv")
    if independent:
        check_independent(mode, given, live)
    if max_seconds is not None and not live and not download:
        raise UsageError(f"max_seconds={max_seconds:g} ends a live source, and '{named[0]}' is a file")
    check_rows(out, cluster is not None, outputs, not (labels is not None or live or download or verbose))
    check_promises(risk, sets, threshold, whole=mode == "clip" and not live)
    if reconnect and not live:
        raise UsageError(f"reconnect={reconnect:g} is for live sources, and '{named[0]}' is a file")
    marking = unknown or ("mark" if mode == "clip" and not live else "never")
    rule = segmentation_of(given).model_copy(update={"unknown": marking})

    def opened(where: str) -> Predictor:
        if labels is None:
            loaded = Predictor(model, device=where, engine=engine)
            if loaded.model.familiarity is None and marking == "mark":
                reporter.say("this model cannot tell unknown actions: train it again, or say --unknown never")
            return loaded
        return open_labels(labels, recipe, changes=changes_of(set), device=where, engine=engine)

    if live:
        outputs.check_live()
        predictor = opened(pick_device(device))
        return predict_live(predictor, live[0], rule=rule, outputs=outputs, seconds=max_seconds, reconnect=reconnect)
    hear = on_answer or (lambda answer: None)
    rules: dict[str, Any] = {"threshold": threshold or 0.0, "unknown": marking, "risk": risk, "sets": sets}
    label = partial(_label_clips, rules=rules, outputs=outputs, hear=hear, reporter=reporter, verbose=verbose)
    if download:
        with fetched_clip(named, mode, outputs, seconds=max_seconds, reporter=reporter) as (clip, url):
            predictor = opened(pick_device(device))
            names = {clip.id: url}
            return label(predictor, [clip], names=names)
    clips = find_clips(named)
    outputs.check(clips)
    predictor = opened(pick_device(device))
    way: Way = "single frames" if independent else mode
    if out is not None:
        from marey.commands.steps.label_rows import label_rows

        watch = partial(label_rows, way=way, rules=rules, rule=rule, cluster=cluster, reporter=reporter)
        return watch(predictor, clips, out)
    if way == "clip":
        return label(predictor, clips)
    return _watch(predictor, clips, rule, way, outputs, hear, reporter, verbose=verbose)


def _label_clips(
    predictor: Predictor,
    clips: list[Clip],
    *,
    rules: Mapping[str, Any],
    outputs: Outputs,
    hear: Callable[[Predictions], None],
    reporter: Reporter,
    verbose: bool,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Predictions:
    from marey.commands.steps.outputs import CaptionTrack
    from marey.commands.steps.prepare import watched
    from marey.commands.steps.read_facts import clip_read
    from marey.commands.steps.written import Written, written
    from marey.prediction import Promises
    from marey.reports import write_label_table

    with watched(reporter, "reading clips", len(clips)) as watch:
        contract, facts = predictor.model.config.contract, []

        def note(clip: Clip, features: Features) -> None:
            facts.append(clip_read(clip, features, contract, name=names.get(clip.id, clip.id)))

        promises = Promises.of(predictor.model, risk=rules["risk"], sets=rules["sets"])
        found = predictor.predict(clips, **rules, on_progress=watch, on_features=note if verbose else None)
    for fact in facts:
        reporter.say(fact)
    found = [replace(each, source=names.get(each.source, each.source)) for each in found]
    answer = Predictions(tuple(found), outputs.top, notes=promises.notes)
    hear(answer)
    result = Written()
    for clip, prediction in zip(clips, found, strict=True):
        if prediction.reason is None:
            say = partial(CaptionTrack.of_clip, prediction, outputs.top, clip.path)
            result += outputs.write(clip.path, say, reporter, several=len(clips) > 1)
    if outputs.csv is not None:
        result += written(outputs.csv, partial(write_label_table, found, outputs.csv))
    return replace(answer, written=result.paths, unwritten=result.failed)


def _watch(
    predictor: Predictor,
    clips: list[Clip],
    rule: Segmentation,
    way: Way,
    outputs: Outputs,
    hear: Callable[[Timelines], None],
    reporter: Reporter,
    *,
    verbose: bool,
) -> Timelines:
    from marey.commands.steps.outputs import CaptionTrack
    from marey.commands.steps.prepare import percent
    from marey.commands.steps.read_facts import timeline_read
    from marey.commands.steps.written import Written, written
    from marey.errors import VideoError
    from marey.prediction import Prediction, timeline_of
    from marey.reports import write_frame_table, write_segments

    found: dict[Path, Timeline] = {}
    failed = []
    for clip in clips:
        try:
            with percent(reporter, f"watching {clip.path.name}") as on_progress:
                found[clip.path] = timeline_of(predictor, clip, way, rule, on_progress=on_progress)
            if verbose:
                reporter.say(timeline_read(clip, found[clip.path], predictor.model.config.contract))
        except VideoError as error:
            failed.append(Prediction(str(clip.path), (), (), error.reason, error.detail))
    answer = Timelines(tuple(found.values()), tuple(failed))
    hear(answer)
    result = Written()
    if outputs.segments is not None and found:  # first: it is small, and the videos may fill the disk
        result += written(outputs.segments, partial(write_segments, answer.timelines, outputs.segments))
    if outputs.csv is not None and found:
        frames = sum(len(timeline.times) for timeline in answer.timelines)  # about as many as there are
        with reporter.stage(f"writing {outputs.csv.name}", frames) as stage:
            result += written(
                outputs.csv, partial(write_frame_table, answer.timelines, outputs.csv, on_row=stage.advance)
            )
    for path, timeline in found.items():
        say = partial(CaptionTrack.of_timeline, timeline, outputs.top, steady=way == "window")
        result += outputs.write(path, say, reporter, several=len(clips) > 1)
    return replace(answer, written=result.paths, unwritten=result.failed)
