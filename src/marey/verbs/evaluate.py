"""`marey evaluate`: what a model is worth on a test set, of clips or of untrimmed video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from marey.errors import DatasetError, UnknownNameError, UsageError
from marey.verbs.reporter import SILENT, Reporter
from marey.verbs.untrimmed import UntrimmedResult

if TYPE_CHECKING:
    from marey.verbs.results import EvaluationResult


@overload
def evaluate(
    model: Path,
    data: str,
    *,
    out: Path,
    over: Literal["clips"] = "clips",
    part: Literal["auto", "train", "val", "test", "all"] = "auto",
    frame_order: Literal["given", "reversed", "shuffled"] = "given",
    group_regex: str | None = None,
    exclude: Path | None = None,
    device: str = "auto",
    engine: str | None = None,
    reporter: Reporter = SILENT,
) -> EvaluationResult: ...


@overload
def evaluate(
    model: Path,
    data: str,
    *,
    out: Path,
    over: Literal["windows"],
    part: Literal["auto", "train", "val", "test", "all"] = "auto",
    window: float | None = None,
    stride: float | None = None,
    smooth: float | None = None,
    threshold: float | None = None,
    min_duration: float | None = None,
    group_regex: str | None = None,
    exclude: Path | None = None,
    device: str = "auto",
    engine: str | None = None,
    reporter: Reporter = SILENT,
) -> UntrimmedResult: ...


def evaluate(
    model: Path,
    data: str,
    *,
    out: Path,
    over: Literal["clips", "windows"] = "clips",
    part: Literal["auto", "train", "val", "test", "all"] = "auto",
    frame_order: Literal["given", "reversed", "shuffled"] = "given",
    window: float | None = None,
    stride: float | None = None,
    smooth: float | None = None,
    threshold: float | None = None,
    min_duration: float | None = None,
    group_regex: str | None = None,
    exclude: Path | None = None,
    device: str = "auto",
    engine: str | None = None,
    reporter: Reporter = SILENT,
) -> EvaluationResult | UntrimmedResult:
    """Test a model on labelled clips, or on untrimmed video: metrics, predictions and a report.

    Over clips, each clip gets one label. Over windows, each file is played whole, and the segments that are found are
    scored against the spans that the data give: frame accuracy, F1 at 10, 25 and 50 % of overlap, edit score, mean
    average precision. What the model was trained on is found by its content, and said beside the numbers.

    Args:
        model: a model folder, or a run with one in it.
        data: a folder of class folders, a manifest (CSV or Parquet), the name of a data set, or a folder of features
            that were made as those were that the model was trained on.
        out: folder for metrics.json, predictions.csv or segments.json, and report.html.
        over: "clips", or "windows" that slide over whole files.
        part: which part of the data set's own split; "auto" takes the test part where there is one, else all.
        frame_order: "shuffled" or "reversed" hands the model the same frames in another order: what it loses is
            what it knows of time. For clips.
        window: seconds that the model looks at, at a time; by default as long as the clips were that it learned from,
            at most 2. This and the next four are for windows, as in `marey predict`.
        stride: seconds from one window to the next.
        smooth: seconds over which probabilities are averaged.
        threshold: below this probability it is none of the classes.
        min_duration: seconds that a segment has to last.
        group_regex: takes the group of a clip from the first capture in its path, or names a known pattern.
        exclude: a quarantine list, as `marey data scan` writes it: these clips are left out, and counted.
        device: where to run: auto, cpu or cuda.
        engine: what runs the encoder: auto (the fastest here), pytorch, openvino, onnxruntime or cuda; by default what
            MAREY_ENGINE says, else auto.
    """
    from marey.data import data_hash, is_features
    from marey.encoders import GIVEN
    from marey.evaluation import Evaluation
    from marey.models import load_model
    from marey.prediction import Predictor
    from marey.verbs.given_features import given_probabilities
    from marey.verbs.prepare import load_labelled, pick_device, segmentation_of, watched
    from marey.verbs.results import EvaluationResult, leaks_from_training, to_row, write_results
    from marey.verbs.untrimmed import evaluate_untrimmed

    if over not in ("clips", "windows"):
        raise UnknownNameError("way to evaluate", over, ("clips", "windows"))
    given = {
        "window": window,
        "stride": stride,
        "smooth": smooth,
        "threshold": threshold,
        "min_duration": min_duration,
    }
    named = [name for name, value in given.items() if value is not None]
    if over == "clips" and named:
        raise UsageError(f"{named[0]} is for windows: add --over windows, or leave it out")
    if over == "windows" and frame_order != "given":
        raise UsageError(f"frame_order={frame_order} is for clips: leave it out with --over windows")
    segmentation = segmentation_of(given)
    if is_features(data) and (over == "windows" or frame_order != "given"):
        raise UsageError(f"{data} holds features of clips: windows, and another order of frames, need the videos")
    trained, where = load_model(model), pick_device(device)
    predictor = None if is_features(data) else Predictor(trained, device=where, engine=engine)
    manifest, excluded = load_labelled(
        data, group_regex=group_regex, exclude=exclude, features="take", reporter=reporter
    )
    parts = {clip.split for clip in manifest.clips}
    wanted = ("test" if "test" in parts else "all") if part == "auto" else part
    clips = [clip for clip in manifest.clips if wanted in ("all", clip.split)]
    if not clips:
        known = ", ".join(sorted(str(name) for name in parts if name)) or "none"
        raise DatasetError(f"no clip of {manifest.source} is in the part '{wanted}'; the parts it names: {known}")
    title = f"{Path(model).resolve().name} on {Path(data).name}"
    notes: tuple[str, ...] = ()
    if predictor is None:
        results = given_probabilities(Path(data), clips, trained)
        if trained.config.contract.encoder.name != GIVEN:
            notes = (
                "Features do not say of which videos they are: whether the model was trained on those is not known.",
            )
    elif over == "windows":
        return evaluate_untrimmed(
            Path(model),
            predictor,
            manifest,
            clips,
            out=Path(out),
            part=wanted,
            segmentation=segmentation,
            excluded=excluded,
            title=title,
            reporter=reporter,
        )
    else:
        with watched(reporter, "reading clips", len(clips)) as watch:
            results = predictor.view_probabilities(clips, order=frame_order, on_progress=watch)
    protocol = f"{'the test' if wanted == 'test' else 'all' if wanted == 'all' else f'the {wanted}'} clips of the data"
    if frame_order != "given":
        protocol += f", frames {frame_order}"
    evaluation = Evaluation(
        labels=trained.labels,
        rows=tuple(to_row(clip, result, trained.labels) for clip, result in zip(clips, results, strict=True)),
        leaks=leaks_from_training(trained.config, clips),
        protocol=protocol,
        data_hash=data_hash(manifest.with_clips(clips)),
        seed=int(trained.config.made_with.get("recipe", {}).get("seed", 0)),
        excluded=excluded,
    )
    for note in notes:
        reporter.say(note)
    page = write_results(
        evaluation,
        clips,
        Path(out),
        title=title,
        facts={"groups": manifest.grouping, "data": manifest.source, **({"leaks": notes[0]} if notes else {})},
    )
    return EvaluationResult(evaluation.metrics, Path(out), page, Path(model), notes)
