"""`marey train`: from a folder of clips to a tested model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from marey.errors import DatasetError, VideoError
from marey.progress import SILENT, Reporter

if TYPE_CHECKING:
    from marey.commands.steps.results import EvaluationResult


def train(
    data: str,
    *,
    recipe: str = "default",
    out: Path,
    folds: str | None = None,
    set: list[str] | None = None,
    group_regex: str | None = None,
    exclude: Path | None = None,
    device: str = "auto",
    engine: str | None = None,
    if_exists: Literal["resume", "restart"] = "resume",
    reporter: Reporter = SILENT,
) -> EvaluationResult:
    """Train a model on clips and test it on others: a model folder, metrics, predictions and a report.

    An interrupted run that is started again goes on where it was.

    Args:
        data: a folder of class folders, a manifest (CSV or Parquet), or the name of a data set.
        recipe: the name of a recipe that comes with marey, or a YAML file.
        out: the run's folder: model/, metrics.json, predictions.csv, report.html.
        folds: "group" tests on each group once, a number makes so many folds by group; by default one split.
        set: key=value, changes a key of the recipe, as in training.epochs=100; may be repeated.
        group_regex: takes the group of a clip from the first capture in its path, or names a known pattern.
        exclude: a quarantine list, as `marey data scan` writes it: these clips are left out, and counted.
        device: where to run: auto, cpu or cuda.
        engine: what runs the encoder: auto (the fastest here), pytorch, openvino, onnxruntime or cuda; by default what
            MAREY_ENGINE says, else auto.
        if_exists: what to do with a run in `out`: "resume" it, or "restart" it from nothing.
    """
    call = dict(locals())

    from marey.commands.steps.given_features import given_features
    from marey.commands.steps.prepare import load_labelled, name_unusable, pick_device, read_tests, read_views
    from marey.commands.steps.results import EvaluationResult, tested, versions, write_results
    from marey.data import data_hash, is_features
    from marey.encoders import Contract, load_encoder
    from marey.evaluation import Evaluation
    from marey.models import save_model
    from marey.training import Experiment, load_recipe, plan, run_protocol
    from marey.training.origin import Origin, command_line
    from marey.training.run_folder import Times, claim_run, keep_times
    from marey.video import require_decoder

    began = time.monotonic()
    command = command_line("train", train, call)
    out = Path(out)
    chosen = load_recipe(recipe, changes=set or ())
    require_decoder(chosen.sampling.decoder)
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
    protocol = plan(manifest, folds=folds, test=chosen.test, seed=chosen.seed)
    hashed = data_hash(manifest)
    origin = Origin.of(data, group_regex=group_regex, exclude=exclude, command=command)
    claim_run(
        out,
        recipe=chosen,
        data_hash=hashed,
        protocol=protocol,
        origin=origin,
        if_exists=if_exists,
        reporter=reporter,
    )

    asked, pictures = time.monotonic(), 0
    if given is None:
        encoder = load_encoder(chosen.encoder, frames=chosen.sampling.count, device=where, engine=engine)
        contract = Contract.from_recipe(chosen, encoder)
        views = read_views(manifest, encoder, contract, recipe=chosen, protocol=protocol, reporter=reporter)
        pictures = encoder.pictures
    read = time.monotonic()
    name_unusable(views, out / "quarantine.csv", reporter)
    experiment = Experiment(
        manifest.clips,
        views,
        labels=manifest.labels,
        contract=contract,
        recipe=chosen,
        made_with={
            "recipe": chosen.model_dump(mode="json"),
            "data_hash": hashed,
            "protocol": protocol.name,
            **versions(),
        },
        device=where,
    )
    with reporter.stage("training", len(protocol.splits) + protocol.pooled) as stage:
        trained, final = run_protocol(
            experiment, protocol, seed=chosen.seed, out=out, on_fold=lambda done, _: stage.advance(done)
        )
    save_model(final.model, out / "model")
    keep_times(out, Times(read - asked, time.monotonic() - read, pictures, where))

    if given is None:
        tests = read_tests(manifest, encoder, contract, plain=views[0], protocol=protocol, reporter=reporter)
    else:
        tests = [result if isinstance(result, VideoError) else [result] for result in views[0]]
    rows, leaks = tested(manifest.clips, tests, protocol, trained)
    notes = tuple(
        dict.fromkeys(
            note for split, fold in zip(protocol.splits, trained, strict=True) for note in (*split.notes, *fold.notes)
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
    page = write_results(
        evaluation,
        manifest.clips,
        out,
        title=f"{chosen.name} on {Path(data).name}",
        recipe_text=chosen.to_yaml(),
        histories=[history for fold in trained for history in fold.histories],
        facts={
            "command": command,
            "groups": manifest.grouping,
            "data": manifest.source,
            "seconds": f"{time.monotonic() - began:.1f}",
        },
    )
    return EvaluationResult(evaluation.metrics, out, page, out / "model", notes)
