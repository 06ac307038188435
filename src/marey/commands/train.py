"""`marey train`: a tested model from a folder of clips."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marey.commands.options import (
    Changes,
    Data,
    Device,
    Engine,
    Epochs,
    Exclude,
    Folds,
    GroupRegex,
    IfExists,
    RecipeName,
    StrPath,
    changes_of,
)
from marey.commands.registry import Line, command
from marey.errors import DatasetError, VideoError
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.commands.steps.results import EvaluationResult


def show_result(answer: EvaluationResult) -> Iterator[Any]:
    """Show the metrics of a training or an evaluation, and where the files are."""
    from marey.reports import answer as sentence
    from marey.reports import frame_order

    yield answer.metrics
    yield Line(sentence(answer.metrics), "strong")
    if answer.frame_order is not None:
        yield Line(frame_order(answer.frame_order), "strong")
    yield f"model   {answer.model}"
    yield f"report  {answer.report}"


def _show(answer: EvaluationResult) -> Iterator[Any]:
    yield from show_result(answer)
    yield f"next    marey predict {shlex.quote(str(answer.folder))} VIDEO"


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
    group_regex: GroupRegex = None,
    exclude: Exclude = None,
    device: Device = "auto",
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

    from marey.commands.steps.few_clips import few_clips
    from marey.commands.steps.given_features import given_features
    from marey.commands.steps.prepare import load_labelled, name_unusable, pick_device, read_tests, read_views
    from marey.commands.steps.results import EvaluationResult, tested, versions, write_results
    from marey.data import data_hash, is_features
    from marey.encoders import Contract, load_encoder
    from marey.evaluation import Evaluation
    from marey.models import save_model
    from marey.training import Experiment, load_recipe, make_splits, require_fabric, run_protocol
    from marey.training.origin import Origin, command_line
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
    where = pick_device(device)
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
    protocol = make_splits(manifest, folds=None if folds is None else str(folds), test=chosen.test, seed=chosen.seed)
    hashed = data_hash(manifest)
    origin = Origin.of(data, group_regex=group_regex, exclude=exclude, command=written_as)
    claim_run(
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
        Experiment, manifest.clips, labels=manifest.labels, recipe=chosen, made_with=made_with, device=where
    )
    if given is None:
        encoder = load_encoder(chosen.encoder, frames=chosen.sampling.count, device=where, engine=engine)
        contract = Contract.from_recipe(chosen.with_streams(chosen.selection.first), encoder)
        read_streams = partial(read_views, manifest, encoder, recipe=chosen, protocol=protocol, reporter=reporter)
        views = read_streams(contract)
        name_unusable(views, out / "quarantine.csv", reporter)
        experiment = experiment_on(views, contract=contract)
        if experiment.needs_more_streams(protocol, seed=chosen.seed):
            reporter.say(f"{' and '.join(contract.streams)} leave too many clips wrong: the other streams are read too")
            contract = Contract.from_recipe(chosen, encoder)
            views = read_streams(contract)
            experiment = experiment_on(views, contract=contract)
        images = encoder.images
    else:
        name_unusable(views, out / "quarantine.csv", reporter)
        experiment = experiment_on(views, contract=contract)
    read = time.monotonic()
    with reporter.stage("training", len(protocol.splits) + protocol.pooled) as stage:
        trained, final = run_protocol(
            experiment, protocol, seed=chosen.seed, out=out, on_fold=lambda done, _: stage.advance(done)
        )
    save_model(final.model, out / "model")
    keep_times(out, Times(read - asked, time.monotonic() - read, images, where))

    if given is None:
        tests = read_tests(manifest, encoder, contract, plain=views[0], protocol=protocol, reporter=reporter)
    else:
        tests = [result if isinstance(result, VideoError) else [result] for result in views[0]]
    rows, leaks = tested(manifest.clips, tests, protocol, trained)
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
    )
    for note in notes:
        reporter.say(note)
    if final.selection is not None:
        reporter.say(f"streams of the model: {final.selection.reason}")
    page = write_results(
        evaluation,
        manifest.clips,
        out,
        title=f"{chosen.name} on {Path(data).name}",
        recipe_text=chosen.to_yaml(),
        histories=[history for fold in trained for history in fold.histories],
        selections=[fold.selection for fold in trained if fold.selection is not None],
        facts={
            "command": written_as,
            "groups": manifest.grouping,
            "data": manifest.source,
            "seconds": f"{time.monotonic() - began:.1f}",
        },
    )
    return EvaluationResult(evaluation.metrics, out, page, out / "model", notes)
