"""`marey evaluate`: the quality of a model on a test set of clips, or of untrimmed video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from marey.commands.options import (
    OLD_FRAME_ORDER,
    Actors,
    Device,
    Engine,
    Exclude,
    FrameOrder,
    GpuShare,
    GroupRegex,
    MinDuration,
    On,
    PerClass,
    Smooth,
    Stride,
    StrPath,
    Window,
)
from marey.commands.registry import Line, command
from marey.commands.steps.untrimmed import UntrimmedResult
from marey.commands.train import show_result
from marey.errors import DatasetError, UnknownNameError, UsageError
from marey.json_text import json_text
from marey.progress import AUTO, Reporter
from marey.remote_path import as_path

if TYPE_CHECKING:
    from marey.commands.steps.clip_results import Cluster
    from marey.commands.steps.held_out import Fold
    from marey.commands.steps.results import EvaluationResult
    from marey.data import Manifest
    from marey.encoders import Encoder
    from marey.encoders import FrameOrder as Order
    from marey.evaluation import ShiftResult
    from marey.models import ActionModel
    from marey.training.origin import Mark, Origin


def _show(answer: EvaluationResult | UntrimmedResult) -> Iterator[Any]:
    if not isinstance(answer, UntrimmedResult):
        yield from show_result(answer)
        return
    from marey.reports import untrimmed_summary

    yield answer.evaluation
    yield Line(untrimmed_summary(answer.evaluation), "strong")
    for note in answer.evaluation.notes:
        yield Line(note, "note")
    yield f"model   {answer.model}"
    yield f"report  {answer.report}"


@overload
def evaluate(
    model: StrPath,
    data: StrPath | None = None,
    *,
    out: StrPath | None = None,
    mode: Literal["clip"] = "clip",
    split: Literal["auto", "train", "val", "test", "all"] = "auto",
    frame_order: FrameOrder = "original",
    shifts: bool = False,
    per_class: PerClass = False,
    group_regex: GroupRegex = None,
    exclude: Exclude = None,
    device: Device = "auto",
    engine: Engine = None,
    on: On = None,
    actors: Actors = None,
    gpu_share: GpuShare = None,
    reporter: Reporter = AUTO,
) -> EvaluationResult: ...


@overload
def evaluate(
    model: StrPath,
    data: StrPath | None = None,
    *,
    out: StrPath | None = None,
    mode: Literal["window"],
    split: Literal["auto", "train", "val", "test", "all"] = "auto",
    window: Window = None,
    stride: Stride = None,
    smooth: Smooth = None,
    threshold: float | None = None,
    min_duration: MinDuration = None,
    group_regex: GroupRegex = None,
    exclude: Exclude = None,
    device: Device = "auto",
    engine: Engine = None,
    reporter: Reporter = AUTO,
) -> UntrimmedResult: ...


@command(
    "evaluate",
    panel="Train and test",
    examples=(
        "evaluate runs/first",
        "evaluate runs/first other-clips/ --split all",
        "evaluate runs/first --shifts",
        "evaluate runs/first s3://bucket/clips --on ray",
        "evaluate runs/first untrimmed.csv --mode window --threshold 0.6",
    ),
    show=_show,
    renamed={"over": "mode", "part": "split"},
    values={"mode": {"clips": "clip", "windows": "window"}, **OLD_FRAME_ORDER},
)
def evaluate(
    model: StrPath,
    data: StrPath | None = None,
    *,
    out: StrPath | None = None,
    mode: Literal["clip", "window"] = "clip",
    split: Literal["auto", "train", "val", "test", "all"] = "auto",
    frame_order: FrameOrder = "original",
    shifts: bool = False,
    window: Window = None,
    stride: Stride = None,
    smooth: Smooth = None,
    threshold: float | None = None,
    min_duration: MinDuration = None,
    per_class: PerClass = False,
    group_regex: GroupRegex = None,
    exclude: Exclude = None,
    device: Device = "auto",
    engine: Engine = None,
    on: On = None,
    actors: Actors = None,
    gpu_share: GpuShare = None,
    reporter: Reporter = AUTO,
) -> EvaluationResult | UntrimmedResult:
    """Test a model on labelled clips, or on untrimmed video.

    Writes metrics, predictions and a report. Without data, and on the data of the run itself, each clip is tested by
    the model of its fold, which was not trained on it. With --mode window each file is read whole, and the segments
    found are compared with the labelled spans: frame accuracy, F1 at 10, 25 and 50 % overlap, edit score, mean average
    precision. Test clips that the model was trained on are detected by content and group, and reported with the
    numbers.

    Args:
        model: a run, or a model folder.
        data: a folder of class folders, a manifest (CSV or Parquet), the name of a data set, or a folder of features
            made as those that the model was trained on; by default the held-out clips of the run.
        out: folder for metrics.json, predictions.csv or segments.json, and report.html; by default beside the run.
        mode: "clip" tests one label a clip; "window" slides over whole files and tests the segments found.
        split: the part of the data set's own split; "auto" takes the test part if there is one, else all. On the run's
            own data, "auto" takes what each fold has held out.
        frame_order: "shuffled" or "reversed" also tests with the frames in that order; the drop in accuracy shows how
            much the model uses temporal order. For clips only.
        shifts: also test the clips darker, smaller, faster, at another frame rate and recompressed; copies of them are
            made and encoded for it, which takes as long as reading the clips five times.
        threshold: segments below this probability are none of the classes.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    call = dict(locals())

    from marey.commands.steps.clip_results import Cluster
    from marey.commands.steps.held_out import load_own_data, read_folds
    from marey.commands.steps.prepare import load_labelled, pick_device, require_known_labels, segmentation_of
    from marey.commands.steps.untrimmed import evaluate_untrimmed
    from marey.data import is_features
    from marey.models import load_model
    from marey.prediction import Predictor
    from marey.training.origin import EVALUATION, Mark, command_line, located
    from marey.training.run_folder import claim_folder, read_origin, run_of

    written_as = command_line("evaluate", evaluate, call)
    cluster = Cluster.of(on, actors, gpu_share, device, engine)
    if cluster is not None and mode == "window":
        raise UsageError("a cluster reads clips: leave out --mode window, or --on")
    if mode not in ("clip", "window"):
        raise UnknownNameError("mode", mode, ("clip", "window"))
    if frame_order not in get_args(FrameOrder):
        raise UnknownNameError("frame order", frame_order, get_args(FrameOrder))
    data = None if data is None else str(data)
    order: Order = "given" if frame_order == "original" else frame_order
    given = {
        "window": window,
        "stride": stride,
        "smooth": smooth,
        "threshold": threshold,
        "min_duration": min_duration,
    }
    named = [name for name, value in given.items() if value is not None]
    if mode == "clip" and named:
        raise UsageError(f"{named[0]} is for windows: add --mode window, or leave it out")
    if mode == "window" and order != "given":
        raise UsageError(f"frame_order={frame_order} is for clips: leave it out with --mode window")
    if shifts and (mode == "window" or order != "given"):
        raise UsageError("--shifts changes clips, with their frames in order: leave out --mode and --frame-order")
    if mode == "window" and per_class:
        raise UsageError("--per-class is for clips: leave it out with --mode window")
    if mode == "window" and data is None:
        raise UsageError("windows slide over untrimmed video: name the data, a manifest with several rows a file")
    if data is None and split != "auto":
        raise UsageError(f"split={split} needs data: without data, the held-out clips of the run are tested")
    segmentation = segmentation_of(given).model_copy(update={"unknown": "never"})  # labels are compared
    if data is not None and is_features(data) and (mode == "window" or order != "given"):
        raise UsageError(f"{data} holds features of clips: windows, and another order of frames, need the videos")

    trained, where = load_model(model), pick_device(device)
    run, origin = run_of(Path(model)) or Path(model), read_origin(Path(model))
    place = Path(out) if out is not None else _beside(run, data, order)
    claim_folder(place, marks=(EVALUATION, "segments.json"), what="an evaluation")
    own = data is None or (split == "auto" and mode == "clip" and _is_own(data, origin, group_regex, exclude))
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
        if is_features(source) and order != "given":
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
        wanted, folds = _part_of(manifest, trained, split)
        protocol = f"{'all' if wanted == 'all' else f'the {wanted}'} clips of the data"
    if not is_features(source):
        require_known_labels([clip for fold in folds for clip in fold.test], trained.labels)
    title = f"{Path(model).resolve().name} on {as_path(source).name}"
    made_by = Mark(str(Path(model).absolute()), located(source), written_as)
    if mode == "window":
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
    if cluster is not None and is_features(source):
        raise UsageError(f"{source} holds features, and a cluster would have nothing to read: leave out --on")
    if shifts and is_features(source):
        raise UsageError(f"{source} holds features of clips: --shifts changes the videos, and needs them")
    encoder = None if is_features(source) else trained.load_encoder(device=where, engine=engine)
    return _evaluate_clips(
        Path(model),
        trained,
        folds,
        manifest,
        source=source,
        encoder=encoder,
        cluster=cluster,
        order=order,
        protocol=protocol,
        excluded=excluded,
        out=place,
        title=title,
        made_by=made_by,
        per_class=per_class,
        with_shifts=shifts,
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
    cluster: Cluster | None,
    order: Order,
    protocol: str,
    excluded: tuple[str, ...],
    out: Path,
    title: str,
    made_by: Mark,
    per_class: bool,
    with_shifts: bool,
    reporter: Reporter,
) -> EvaluationResult:
    from marey.atomic import write_atomic
    from marey.commands.steps.evaluated_rows import predicted_rows
    from marey.commands.steps.guarantees import guarantees
    from marey.commands.steps.results import EvaluationResult, leaks_from_training, trained_seeds, write_results
    from marey.commands.steps.shifts import shifted, write_shifts
    from marey.commands.steps.unknown_actions import unknown_actions
    from marey.data import data_hash
    from marey.encoders import PRECOMPUTED
    from marey.evaluation import Evaluation, OrderEffect

    clips = [clip for fold in folds for clip in fold.test]
    leaks = [leak for fold in folds for leak in leaks_from_training(fold.model.config, fold.test)]
    notes: tuple[str, ...] = ()
    if encoder is None and trained.config.contract.encoder.name != PRECOMPUTED:
        notes = ("Features do not say of which videos they are: whether the model was trained on those is not known.",)
    evaluation = Evaluation(
        labels=trained.labels,
        rows=predicted_rows(folds, source, encoder, "given", cluster, reporter),
        leaks=tuple(dict.fromkeys(leaks)),
        protocol=protocol,
        data_hash=data_hash(manifest.with_clips(clips)),
        seed=int(trained.config.made_with.get("recipe", {}).get("seed", 0)),
        excluded=excluded,
        notes=notes,
        trained_seeds=trained_seeds(trained.config),
    )
    made_by.write(out)
    effect = None
    if order != "given":
        rows = predicted_rows(folds, source, encoder, order, cluster, reporter)
        changed = replace(evaluation, rows=rows, protocol=f"{protocol}, frames {order}")
        effect, evaluation = OrderEffect.of(order, evaluation, changed), changed
        write_atomic(out / "frame_order.json", json_text(effect.as_dict(), indent=1) + "\n", single_writer=True)
    changed_clips: tuple[ShiftResult, ...] = ()
    if with_shifts and encoder is not None:
        changed_clips = shifted(evaluation, folds, encoder, trained, reporter)
        write_shifts(changed_clips, out / "shifts.json")
    for note in notes:
        reporter.say(note)
    page = write_results(
        evaluation,
        clips,
        out,
        title=title,
        frame_order=effect,
        unknown=unknown_actions(evaluation, trained),
        guarantees=guarantees(evaluation, clips, {fold.number: fold.model for fold in folds}, trained),
        shifts=changed_clips,
        facts={
            "command": made_by.command,
            "groups": manifest.grouping,
            "data": manifest.source,
            **({"leaks": notes[0]} if notes else {}),
        },
    )
    return EvaluationResult(evaluation.metrics, out, page, model, notes, effect, per_class, changed_clips)


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


def _is_own(data: str, origin: Origin | None, group_regex: str | None, exclude: StrPath | None) -> bool:
    """Return whether the data that are named are those of the run, read in the same way."""
    from marey.training.origin import located

    if origin is None or located(data) != origin.data:
        return False
    same_list = exclude is None or str(Path(exclude).absolute()) == origin.exclude
    return same_list and group_regex in (None, origin.group_regex)


def _beside(run: Path, data: str | None, order: str) -> Path:
    """Return where results go that were given no place: beside the run, named for what was tested."""
    tested = "held-out" if data is None else f"on-{as_path(data).stem}"
    ending = tested if order == "given" else f"{tested}-{order}"
    return run.with_name(f"{run.resolve().name}-{ending}")
