"""`marey predict`: labels for new video, recorded or live, and the video with its labels on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from marey.commands.steps.live import LivePredictions, predict_live
from marey.errors import UsageError
from marey.progress import SILENT, Reporter

if TYPE_CHECKING:
    from marey.commands.steps.outputs import Outputs
    from marey.commands.steps.written import Unwritten
    from marey.data import Clip
    from marey.prediction import Prediction, Predictor, Segmentation, Timeline


@dataclass(frozen=True)
class Predictions:
    """What `predict` answers, one prediction a clip.

    Attributes:
        predictions: in the order of the sources.
        top: how many classes are shown of each.
        written: files and folders that were asked for.
        unwritten: those that could not be written, each with the reason.
    """

    predictions: tuple[Prediction, ...]
    top: int
    written: tuple[Path, ...] = ()
    unwritten: tuple[Unwritten, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether any clip could be used."""
        return any(prediction.reason is None for prediction in self.predictions)

    def as_dict(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [prediction.as_dict(self.top) for prediction in self.predictions]


@dataclass(frozen=True)
class Timelines:
    """What `predict` answers over windows: what happens when, video by video.

    Attributes:
        timelines: of the videos that could be used, in the order of the sources.
        failed: those that could not, each with its reason.
        written: files and folders that were asked for.
        unwritten: those that could not be written, each with the reason.
    """

    timelines: tuple[Timeline, ...]
    failed: tuple[Prediction, ...]
    written: tuple[Path, ...] = ()
    unwritten: tuple[Unwritten, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether any video could be used."""
        return bool(self.timelines)

    def as_dict(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [timeline.as_dict() for timeline in self.timelines] + [failed.as_dict(0) for failed in self.failed]


def predict(
    model: Path,
    sources: list[str],
    *,
    top: int = 3,
    over: Literal["clip", "windows", "frames"] = "clip",
    window: float | None = None,
    stride: float | None = None,
    smooth: float | None = None,
    threshold: float | None = None,
    min_duration: float | None = None,
    annotate: Path | None = None,
    frames: Path | None = None,
    plate: Path | None = None,
    segments: Path | None = None,
    timeline: Path | None = None,
    thumbnails: Path | None = None,
    seconds: float | None = None,
    device: str = "auto",
    engine: str | None = None,
    on_answer: Callable[[Predictions | Timelines], None] | None = None,
    reporter: Reporter = SILENT,
) -> Predictions | Timelines | LivePredictions:
    """Say which action each clip shows, or what happens when in a long video or before a camera, and how sure that is.

    Args:
        model: a model folder, or a run with one in it.
        sources: video files, folders of them, or patterns such as 'clips/*.mp4'; or one live source: the number of a
            camera, rtsp://..., http(s)://..., or '-' for a pipe.
        top: how many classes to give, the most probable first.
        over: "clip" gives one label a file; "windows" slides over each file and gives labelled segments; "frames"
            labels each frame by the rolling average of the windows that it lies in.
        window: seconds that the model looks at, at a time; by default as long as the clips were that it learned from,
            at most 2.
        stride: seconds from one window to the next; each frame is encoded once whatever the stride.
        smooth: seconds over which probabilities are averaged.
        threshold: below this probability it is none of the classes; by default 0.5 over windows and for live sources,
            and 0 for whole clips.
        min_duration: seconds that a segment has to last.
        annotate: writes the video with label, confidence, bars and time on its frames, as .mp4; of several, a folder.
        frames: a new folder for labelled frames as pictures; of several videos, with a folder a video.
        plate: writes the chronophotograph of the video as .png or .jpg; of several, a folder.
        segments: writes what happens when as .json, .csv or .vtt (subtitles).
        timeline: writes a picture of what happens when, as .png; of several, a folder.
        thumbnails: a new folder for a picture of each segment; of several videos, with a folder a video.
        seconds: ends a live source after so long.
        device: where to run: auto, cpu or cuda.
        engine: what runs the encoder: auto (the fastest here), pytorch, openvino, onnxruntime or cuda; by default what
            MAREY_ENGINE says, else auto.
        on_answer: called with the answer of files as soon as it is known, before any output is written: whatever then
            happens to an output, the answer is not lost.
        reporter: hears how far it is.
    """
    from marey.commands.steps.outputs import Outputs
    from marey.commands.steps.prepare import pick_device, segmentation_of
    from marey.prediction import Predictor, find_clips
    from marey.video import is_live

    if top < 1:
        raise UsageError(f"top={top}: at least one class has to be given")
    if over not in ("clip", "windows", "frames"):
        raise UsageError(f"over='{over}' is neither 'clip' nor 'windows' nor 'frames'")
    given = {
        "window": window,
        "stride": stride,
        "smooth": smooth,
        "threshold": threshold,
        "min_duration": min_duration,
    }
    outputs = Outputs(annotate, frames, plate, segments, timeline, thumbnails, top)
    live = [source for source in sources if is_live(source)]
    if live and len(sources) > 1:
        raise UsageError(f"'{live[0]}' is a live source, which is watched alone; {len(sources)} sources were given")
    if over == "clip" and not live:
        _check_clip_options(given, outputs)
    if seconds is not None and not live:
        raise UsageError(f"seconds={seconds:g} ends a live source, and '{sources[0]}' is a file, which ends by itself")
    rule = segmentation_of(given)
    if live:
        outputs.check_live()
        predictor = Predictor(model, device=pick_device(device), engine=engine)
        return predict_live(predictor, live[0], rule=rule, outputs=outputs, seconds=seconds)
    clips = find_clips(sources)
    outputs.check(clips)
    predictor = Predictor(model, device=pick_device(device), engine=engine)
    hear = on_answer or (lambda answer: None)
    if over == "clip":
        return _label_clips(predictor, clips, threshold or 0.0, outputs, hear, reporter)
    return _watch(predictor, clips, rule, over, outputs, hear, reporter)


def _check_clip_options(given: dict[str, float | None], outputs: Outputs) -> None:
    """A label for the whole clip has no windows, and no segments."""
    named = [name for name, value in given.items() if value is not None and name != "threshold"]
    named += [name for name in ("segments", "timeline", "thumbnails") if getattr(outputs, name) is not None]
    if named:
        option = f"--{named[0].replace('_', '-')}"
        raise UsageError(f"{option} is about what happens when, and a whole clip has one label: add --over windows")


def _label_clips(
    predictor: Predictor,
    clips: list[Clip],
    threshold: float,
    outputs: Outputs,
    hear: Callable[[Predictions], None],
    reporter: Reporter,
) -> Predictions:
    from marey.commands.steps.outputs import Saying
    from marey.commands.steps.prepare import watched
    from marey.commands.steps.written import Written

    with watched(reporter, "reading clips", len(clips)) as watch:
        found = predictor.predict(clips, threshold=threshold, on_progress=watch)
    answer = Predictions(tuple(found), outputs.top)
    hear(answer)
    result = Written()
    for clip, prediction in zip(clips, found, strict=True):
        if prediction.reason is None:
            say = partial(Saying.of_clip, prediction, outputs.top)
            result += outputs.write(clip.path, say, reporter, several=len(clips) > 1)
    return replace(answer, written=result.paths, unwritten=result.failed)


def _watch(
    predictor: Predictor,
    clips: list[Clip],
    rule: Segmentation,
    over: Literal["windows", "frames"],
    outputs: Outputs,
    hear: Callable[[Timelines], None],
    reporter: Reporter,
) -> Timelines:
    from marey.commands.steps.outputs import Saying
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
            if over == "frames" and rule.stride is None:
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
        say = partial(Saying.of_timeline, timeline, outputs.top, steady=over == "windows")
        result += outputs.write(path, say, reporter, several=len(clips) > 1)
    return replace(answer, written=result.paths, unwritten=result.failed)
