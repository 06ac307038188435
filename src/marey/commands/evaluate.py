"""`marey evaluate`: what a model is worth on a test set, of clips or of untrimmed video."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from marey.commands.steps.untrimmed import UntrimmedResult
from marey.errors import DatasetError, UnknownNameError, UsageError
from marey.progress import SILENT, Reporter

if TYPE_CHECKING:
    from marey.commands.steps.held_out import Fold
    from marey.commands.steps.results import EvaluationResult
    from marey.data import Manifest
    from marey.encoders import Encoder, FrameOrder
    from marey.evaluation import Row
    from marey.models import ActionModel
    from marey.training.origin import Mark, Origin


@overload
def evaluate(
    model: Path,
    data: str | None = None,
    *,
    out: Path | None = None,
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
    data: str | None = None,
    *,
    out: Path | None = None,
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
    data: str | None = None,
    *,
    out: Path | None = None,
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

    Without data, and on the data of the run itself, each clip is tested by the model of its fold, which has not seen
    it. Over clips, each clip gets one label. Over windows, each file is played whole, and the segments that are found
    are scored against the spans that the data give: frame accuracy, F1 at 10, 25 and 50 % of overlap, edit score, mean
    average precision. What the model was trained on is found by its content and by the names of groups, and said
    beside the numbers.

    Args:
        model: a run, or a model folder.
        data: a folder of class folders, a manifest (CSV or Parquet), the name of a data set, or a folder of features
            that were made as those were that the model was trained on; by default the held-out clips of the run.
        out: folder for metrics.json, predictions.csv or segments.json, and report.html; by default beside the run.
        over: "clips", or "windows" that slide over whole files.
        part: which part of the data set's own split; "auto" takes the test part where there is one, else all. Of the
            run's own data, "auto" takes what each fold has held out.
        frame_order: "shuffled" or "reversed" also hands the model the same frames in another order: what it loses is
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
    call = dict(locals())

    from marey.commands.steps.held_out import load_own_data, read_folds
    from marey.commands.steps.prepare import load_labelled, pick_device, require_known_labels, segmentation_of
    from marey.commands.steps.untrimmed import evaluate_untrimmed
    from marey.data import is_features
    from marey.encoders import FRAME_ORDERS
    from marey.models import load_model
    from marey.prediction import Predictor
    from marey.training.origin import EVALUATION, Mark, command_line, located
    from marey.training.run_folder import claim_folder, read_origin, run_of

    command = command_line("evaluate", evaluate, call)
    if over not in ("clips", "windows"):
        raise UnknownNameError("way to evaluate", over, ("clips", "windows"))
    if frame_order not in FRAME_ORDERS:
        raise UnknownNameError("frame order", frame_order, FRAME_ORDERS)
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
    if over == "windows" and data is None:
        raise UsageError("windows slide over untrimmed video: name the data, a manifest with several rows a file")
    if data is None and part != "auto":
        raise UsageError(
            f"part={part} is of data that are named: without data, the held-out clips of the run are tested"
        )
    segmentation = segmentation_of(given)
    if data is not None and is_features(data) and (over == "windows" or frame_order != "given"):
        raise UsageError(f"{data} holds features of clips: windows, and another order of frames, need the videos")

    trained, where = load_model(model), pick_device(device)
    run, origin = run_of(Path(model)) or Path(model), read_origin(Path(model))
    place = Path(out) if out is not None else _beside(run, data, frame_order)
    claim_folder(place, marks=(EVALUATION, "segments.json"), what="an evaluation")
    own = data is None or (part == "auto" and over == "clips" and _is_own(data, origin, group_regex, exclude))
    if own:
        source = data if data is not None else origin.data if origin is not None else ""
        manifest, excluded = load_own_data(
            run,
            trained,
            data,
            origin=origin,
            group_regex=group_regex,
            exclude=exclude,
            reporter=reporter,
        )
        if is_features(source) and frame_order != "given":
            raise UsageError(f"{source} holds features of clips: another order of frames needs the videos")
        folds = read_folds(run, trained, manifest.clips)
        reporter.say("these clips are the run's own: each is tested by the model that has not seen it")
        protocol = str(trained.config.made_with.get("protocol", ""))
    else:
        assert data is not None  # noqa: S101 - asked before
        source = data
        manifest, excluded = load_labelled(
            data, group_regex=group_regex, exclude=exclude, features="take", reporter=reporter
        )
        wanted, folds = _part_of(manifest, trained, part)
        protocol = f"{'all' if wanted == 'all' else f'the {wanted}'} clips of the data"
    if not is_features(source):
        require_known_labels([clip for fold in folds for clip in fold.test], trained.labels)
    title = f"{Path(model).resolve().name} on {Path(source).name}"
    made_by = Mark(str(Path(model).absolute()), located(source), command)
    if over == "windows":
        return evaluate_untrimmed(
            Path(model),
            Predictor(trained, device=where, engine=engine),
            manifest,
            folds[0].test,
            out=place,
            part=wanted,
            segmentation=segmentation,
            excluded=excluded,
            title=title,
            made_by=made_by,
            reporter=reporter,
        )
    encoder = None if is_features(source) else trained.load_encoder(device=where, engine=engine)
    return _evaluate_clips(
        Path(model),
        trained,
        folds,
        manifest,
        source=source,
        encoder=encoder,
        order=frame_order,
        protocol=protocol,
        excluded=excluded,
        out=place,
        title=title,
        made_by=made_by,
        reporter=reporter,
    )


def _evaluate_clips(
    model: Path,
    trained: ActionModel,
    folds: Sequence[Fold],
    manifest: Manifest,
    *,
    source: str,
    encoder: Encoder | None,
    order: FrameOrder,
    protocol: str,
    excluded: tuple[str, ...],
    out: Path,
    title: str,
    made_by: Mark,
    reporter: Reporter,
) -> EvaluationResult:
    from marey.commands.steps.results import EvaluationResult, leaks_from_training, write_results
    from marey.data import data_hash
    from marey.encoders import GIVEN
    from marey.evaluation import Evaluation, OrderEffect
    from marey.whole_file import write_whole

    clips = [clip for fold in folds for clip in fold.test]
    leaks = [leak for fold in folds for leak in leaks_from_training(fold.model.config, fold.test)]
    notes: tuple[str, ...] = ()
    if encoder is None and trained.config.contract.encoder.name != GIVEN:
        notes = ("Features do not say of which videos they are: whether the model was trained on those is not known.",)
    evaluation = Evaluation(
        labels=trained.labels,
        rows=_rows(folds, source, encoder, "given", reporter),
        leaks=tuple(dict.fromkeys(leaks)),
        protocol=protocol,
        data_hash=data_hash(manifest.with_clips(clips)),
        seed=int(trained.config.made_with.get("recipe", {}).get("seed", 0)),
        excluded=excluded,
        notes=notes,
    )
    made_by.write(out)
    effect = None
    if order != "given":
        rows = _rows(folds, source, encoder, order, reporter)
        changed = replace(evaluation, rows=rows, protocol=f"{protocol}, frames {order}")
        effect, evaluation = OrderEffect.of(order, evaluation, changed), changed
        write_whole(out / "frame_order.json", json.dumps(effect.as_dict(), indent=1) + "\n", alone=True)
    for note in notes:
        reporter.say(note)
    page = write_results(
        evaluation,
        clips,
        out,
        title=title,
        frame_order=effect,
        facts={
            "command": made_by.command,
            "groups": manifest.grouping,
            "data": manifest.source,
            **({"leaks": notes[0]} if notes else {}),
        },
    )
    return EvaluationResult(evaluation.metrics, out, page, model, notes, effect)


def _rows(
    folds: Sequence[Fold], source: str, encoder: Encoder | None, order: FrameOrder, reporter: Reporter
) -> tuple[Row, ...]:
    """Return what the model of each fold predicts for its clips, a row a clip."""
    from marey.commands.steps.given_features import given_probabilities
    from marey.commands.steps.prepare import watched
    from marey.commands.steps.results import to_row
    from marey.prediction import Predictor

    rows: list[Row] = []
    title = "reading clips" if order == "given" else f"reading clips, {order}"
    for fold in folds:
        if encoder is None:
            results = given_probabilities(Path(source), fold.test, fold.model)
        else:
            name = title if fold.number is None else f"{title}, fold {fold.number} of {len(folds)}"
            with watched(reporter, name, len(fold.test)) as watch:
                predictor = Predictor(fold.model, encoder=encoder)
                results = predictor.view_probabilities(fold.test, order=order, on_progress=watch)
        rows += [
            to_row(clip, result, fold.model.labels, fold=fold.number)
            for clip, result in zip(fold.test, results, strict=True)
        ]
    return tuple(rows)


def _part_of(manifest: Manifest, model: ActionModel, part: str) -> tuple[str, list[Fold]]:
    """Return which part of the data is tested on, and its clips with the one model that is tested."""
    from marey.commands.steps.held_out import Fold

    parts = {clip.split for clip in manifest.clips}
    wanted = ("test" if "test" in parts else "all") if part == "auto" else part
    clips = tuple(clip for clip in manifest.clips if wanted in ("all", clip.split))
    if not clips:
        known = ", ".join(sorted(str(name) for name in parts if name)) or "none"
        raise DatasetError(f"no clip of {manifest.source} is in the part '{wanted}'; the parts it names: {known}")
    return wanted, [Fold(None, model, clips)]


def _is_own(data: str, origin: Origin | None, group_regex: str | None, exclude: Path | None) -> bool:
    """Return whether the data that are named are those of the run, read in the same way."""
    from marey.training.origin import located

    if origin is None or located(data) != origin.data:
        return False
    same_list = exclude is None or str(Path(exclude).absolute()) == origin.exclude
    return same_list and group_regex in (None, origin.group_regex)


def _beside(run: Path, data: str | None, order: str) -> Path:
    """Return where results go that were given no place: beside the run, named for what was tested."""
    tested = "held-out" if data is None else f"on-{Path(data).stem}"
    ending = tested if order == "given" else f"{tested}-{order}"
    return run.with_name(f"{run.resolve().name}-{ending}")
