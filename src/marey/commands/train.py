"""`marey train`: a tested model from a folder of clips."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from marey.commands.options import (
    Changes,
    Data,
    Device,
    Devices,
    Engine,
    Epochs,
    Exclude,
    Folds,
    GroupRegex,
    IfExists,
    Nodes,
    PerClass,
    RecipeName,
    StrPath,
    changes_of,
)
from marey.commands.registry import Line, Table, command
from marey.errors import DatasetError, VideoError
from marey.progress import AUTO, SILENT, Reporter
from marey.remote_path import as_path

if TYPE_CHECKING:
    from marey.commands.steps.results import EvaluationResult
    from marey.evaluation import ClassScores, Metrics, ShiftResult
    from marey.training import Recipe


def show_result(answer: EvaluationResult) -> Iterator[Any]:
    """Show the metrics of a training or an evaluation, and where the files are."""
    from marey.reports import answer as sentence
    from marey.reports import frame_order

    if answer.per_class:
        yield class_table(answer.metrics)
    yield answer.metrics
    yield Line(sentence(answer.metrics), "strong")
    if answer.frame_order is not None:
        yield Line(frame_order(answer.frame_order), "strong")
    if answer.shifts:
        yield shift_table(answer.shifts)
    yield f"model   {answer.model}"
    yield f"report  {answer.report}"


def class_table(metrics: Metrics) -> Table:
    """Return the scores of each class and their averages, laid out as by scikit-learn's `classification_report`."""
    from marey.reports.phrases import share

    columns = ("class", "precision", "recall", "F1", "support")
    table = Table(columns, right=columns[1:], whole=columns[1:])

    def add(row: ClassScores) -> None:
        table.add(row.label, *(share(value, 3) for value in (row.precision, row.recall, row.f1)), f"{row.support:,}")

    for row in metrics.classes:
        add(row)
    table.add("accuracy", "", "", share(metrics.accuracy, 3), f"{metrics.clips:,}")
    for row in metrics.averages:
        add(row)
    return table


def shift_table(shifts: Sequence[ShiftResult]) -> Table:
    """Return the results of the clips under each shift."""
    from marey.reports.phrases import share

    columns = ("change", "accuracy", "ECE", "unknown", "sets that hold the label")
    table = Table(columns, right=columns[1:], whole=columns)
    for each in shifts:
        numbers = (share(each.accuracy), share(each.ece, 3), share(each.unknown), share(each.coverage))
        table.add(each.name, *numbers)
    return table


def _show(answer: EvaluationResult) -> Iterator[Any]:
    yield from show_result(answer)
    yield f"next    marey predict {shlex.quote(str(answer.folder))} VIDEO"


def _parameters(recipe: Recipe, classes: int) -> dict[str, str]:
    """Return the line of the report on a model of which a part is trained."""
    return {} if recipe.head.backbone is None else {"parameters": str(recipe.count_trained(classes))}


@command(
    "train",
    panel="Train and test",
    examples=(
        "train clips/ --out runs/first",
        "train clips/ --recipe bilstm --out runs/folds --folds group --epochs 100 --seed 1",
    ),
    show=_show,
)
def train(
    data: Data,
    *,
    recipe: RecipeName = "auto",
    out: StrPath,
    folds: Folds = None,
    set: Changes = None,
    epochs: Epochs = None,
    seed: int | None = None,
    per_class: PerClass = False,
    group_regex: GroupRegex = None,
    exclude: Exclude = None,
    device: Device = "auto",
    devices: Devices = None,
    nodes: Nodes = 1,
    engine: Engine = None,
    if_exists: IfExists = "resume",
    reporter: Reporter = AUTO,
) -> EvaluationResult:
    """Train a model on labelled clips and test it on held-out clips.

    Writes a run: the model, metrics, predictions and a report. The same command continues an interrupted run.

    Args:
        out: the folder of the run: model/, metrics.json, predictions.csv, report.html.
        seed: the random seed of the split and the training; short for --set seed=N.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    call = dict(locals())

    from marey.commands.steps.data_findings import copies_across, quick_findings
    from marey.commands.steps.epochs import EpochNotes, kept_text
    from marey.commands.steps.few_clips import few_clips
    from marey.commands.steps.given_features import given_features
    from marey.commands.steps.guarantees import guarantees
    from marey.commands.steps.prepare import load_labelled, name_unusable, pick_device, read_tests, read_views
    from marey.commands.steps.results import EvaluationResult, tested, trained_seeds, versions, write_results
    from marey.commands.steps.unknown_actions import unknown_actions
    from marey.data import data_hash, is_features
    from marey.encoders import Contract, load_encoder
    from marey.evaluation import Evaluation
    from marey.models import save_model
    from marey.training import (
        Experiment,
        load_recipe,
        make_splits,
        require_fabric,
        require_frames,
        run_protocol,
        watched_epochs,
    )
    from marey.training.launcher import several_started
    from marey.training.origin import Origin, command_line, command_words
    from marey.training.process_group import process_group, taking_turns
    from marey.training.run_folder import Times, claim_run, keep_times
    from marey.video import require_decoder

    began = time.monotonic()
    call["set"] = changes_of(set)
    written_as = command_line("train", train, call)
    data, out = str(data), Path(out)
    chosen = load_recipe(recipe, changes=changes_of(set, training__epochs=epochs, seed=seed))
    require_decoder(chosen.sampling.decoder)
    chosen.require_training()
    require_fabric(chosen)
    if (devices or 1) * nodes > 1 or several_started():
        require_frames(chosen)
    where = pick_device(device)
    words = command_words("train", train, call)
    with process_group(
        devices=devices, nodes=nodes, device=where, precision=chosen.training.precision, command=words
    ) as group:
        if group is not None and group.rank:
            reporter = SILENT
        manifest, excluded = load_labelled(
            data, group_regex=group_regex, exclude=exclude, features="take", reporter=reporter
        )
        if len(manifest.labels) < 2:
            raise DatasetError(
                f"all {len(manifest.clips)} clips are of one class, {manifest.labels[0]!r}: at least two are needed to "
                "tell apart; add clips of something else, even if it is only of nothing happening"
            )
        given = given_features(Path(data), manifest, chosen) if is_features(data) else None
        if given is not None:
            chosen, contract, views = given
            reporter.say("sampling, streams and encoder are those that the features were made with, one reading a clip")
        protocol = make_splits(
            manifest, folds=None if folds is None else str(folds), test=chosen.test, seed=chosen.seed
        )
        hashed = data_hash(manifest)
        if group is not None:
            group.require_same("clips", hashed)
        origin = Origin.of(data, group_regex=group_regex, exclude=exclude, command=written_as)
        owned = None
        if group is None or group.rank == 0:
            owned = claim_run(
                out,
                recipe=chosen,
                data_hash=hashed,
                protocol=protocol,
                origin=origin,
                if_exists=if_exists,
                reporter=reporter,
            )

        asked, images = time.monotonic(), 0
        made_with = {
            "recipe": chosen.model_dump(mode="json"),
            "data_hash": hashed,
            "protocol": protocol.name,
            **versions(),
        }
        experiment_on = partial(
            Experiment,
            manifest.clips,
            labels=manifest.labels,
            recipe=chosen,
            made_with=made_with,
            device=where,
            group=group,
        )
        if given is None:
            encoder = load_encoder(chosen.encoder, frames=chosen.sampling.count, device=where, engine=engine)
            contract = Contract.from_recipe(chosen.with_streams(chosen.selection.first), encoder)
            read_streams = partial(read_views, manifest, encoder, recipe=chosen, protocol=protocol, reporter=reporter)
            with taking_turns(group):
                views = read_streams(contract)
            if group is not None and group.rank:
                experiment_on(views, contract=contract).follow()
                return cast(EvaluationResult, group.receive())
            name_unusable(views, out / "quarantine.csv", reporter)
            experiment = experiment_on(views, contract=contract)
            if experiment.needs_more_streams(protocol, seed=chosen.seed):
                reporter.say(
                    f"{' and '.join(contract.streams)} leave too many clips wrong: the other streams are read too"
                )
                contract = Contract.from_recipe(chosen, encoder)
                views = read_streams(contract)
                experiment = experiment_on(views, contract=contract)
            images = encoder.images
        else:
            name_unusable(views, out / "quarantine.csv", reporter)
            experiment = experiment_on(views, contract=contract)
        read = time.monotonic()
        with reporter.stage("training", len(protocol.splits) + protocol.pooled) as stage:
            epochs_of = EpochNotes(stage)
            with watched_epochs(epochs_of.on_epoch):
                trained, final = run_protocol(
                    experiment, protocol, seed=chosen.seed, out=out, on_fold=epochs_of.on_fold
                )
        if (kept := kept_text([history for fold in trained for history in fold.histories])) is not None:
            reporter.say(kept)
        save_model(final.model, out / "model")
        keep_times(out, Times(read - asked, time.monotonic() - read, images, where))

        if given is None:
            tests = read_tests(manifest, encoder, contract, plain=views[0], protocol=protocol, reporter=reporter)
        else:
            tests = [result if isinstance(result, VideoError) else [result] for result in views[0]]
        copies = copies_across(manifest.clips, views, protocol, chosen, contract, given=given is not None)
        rows, leaks = tested(manifest.clips, tests, protocol, trained, copies)
        each = zip(protocol.splits, trained, strict=True)
        few = few_clips(Counter(str(clip.label) for clip in manifest.clips))
        notes = tuple(
            dict.fromkeys(
                note for note in (few, *(note for split, fold in each for note in (*split.notes, *fold.notes))) if note
            )
        )
        evaluation = Evaluation(
            labels=manifest.labels,
            rows=rows,
            leaks=leaks,
            protocol=protocol.name,
            data_hash=hashed,
            seed=chosen.seed,
            excluded=excluded,
            notes=notes,
            trained_seeds=trained_seeds(final.model.config),
        )
        for note in notes:
            reporter.say(note)
        if final.selection is not None:
            reporter.say(f"streams of the model: {final.selection.reason}")
        models = {number if protocol.pooled else None: fold.model for number, fold in enumerate(trained, start=1)}
        page = write_results(
            evaluation,
            manifest.clips,
            out,
            title=f"{chosen.name} on {as_path(data).name}",
            recipe_text=chosen.to_yaml(),
            histories=[history for fold in trained for history in fold.histories],
            unknown=unknown_actions(evaluation, final.model),
            guarantees=guarantees(evaluation, manifest.clips, models, final.model),
            findings=quick_findings(evaluation, manifest.clips, views, copies, contract),
            selections=[fold.selection for fold in trained if fold.selection is not None],
            facts={
                "command": written_as,
                "groups": manifest.grouping,
                "data": manifest.source,
                "seconds": f"{time.monotonic() - began:.1f}",
                **_parameters(chosen, len(manifest.labels)),
            },
        )
        if owned is not None:
            owned.release()
        result = EvaluationResult(evaluation.metrics, out, page, out / "model", notes, per_class=per_class)
        if group is not None:
            group.finish(replace(result, of_other_process=True))
        return result
