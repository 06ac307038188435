"""`marey train`: from a folder of clips to a tested model."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from marey.errors import DatasetError, UsageError
from marey.verbs.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from marey.verbs.results import EvaluationResult

_RUN: Final = "run.json"


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
        if_exists: what to do with a run in `out`: "resume" it, or "restart" it from nothing.
    """
    from marey.data import Leak, data_hash, find_leaks, write_quarantine
    from marey.data.scan import ScanRow
    from marey.encoders import load_encoder
    from marey.errors import VideoError
    from marey.evaluation import Evaluation, Row
    from marey.models import save_model
    from marey.training import Experiment, load_recipe, plan, run_protocol
    from marey.verbs.prepare import extract_features, load_labelled, pick_device
    from marey.verbs.results import EvaluationResult, to_row, versions, write_results

    began = time.monotonic()
    chosen = load_recipe(recipe, changes=set or ())
    where = pick_device(device)
    manifest, excluded = load_labelled(
        data, group_regex=group_regex, exclude=str(exclude) if exclude else None, reporter=reporter
    )
    if len(manifest.labels) < 2:
        raise DatasetError(
            f"all {len(manifest.clips)} clips are of one class, {manifest.labels[0]!r}: at least two are needed to "
            "tell apart; add clips of something else, even if it is only of nothing happening"
        )
    protocol = plan(manifest, folds=folds, test=chosen.test, seed=chosen.seed)
    hashed = data_hash(manifest)
    _claim(out, _fingerprint(chosen.model_dump(mode="json"), hashed, protocol.splits), if_exists, reporter)
    (out / "recipe.yaml").write_text(chosen.to_yaml(), encoding="utf-8")

    encoder = load_encoder(chosen.encoder, device=where)
    contract = encoder.contract(sampling=chosen.sampling, streams=chosen.streams, fit=chosen.fit)
    clips = manifest.clips
    features = [
        extract_features(clips, encoder, contract, view=view, reporter=reporter) for view in chosen.views.readings
    ]
    failed = {result.path: result for view in features for result in view if isinstance(result, VideoError)}
    if failed:
        rows = [ScanRow(path, False, error.reason, error.detail, None) for path, error in failed.items()]
        write_quarantine(rows, out / "quarantine.csv")
        reporter.say(f"{len(failed)} files cannot be used, and count as wrong: {out / 'quarantine.csv'} says why")

    made_with: dict[str, Any] = {
        "recipe": chosen.model_dump(mode="json"),
        "data_hash": hashed,
        "protocol": protocol.name,
        **versions(),
    }
    experiment = Experiment(
        clips,
        features,
        labels=manifest.labels,
        contract=contract,
        recipe=chosen,
        made_with=made_with,
        device=where,
    )
    steps = len(protocol.splits) + protocol.pooled
    with reporter.stage("training", steps) as stage:
        trained, final = run_protocol(
            experiment, protocol, seed=chosen.seed, out=out, on_fold=lambda done, _: stage.advance(done)
        )
    save_model(final.model, out / "model")

    rows_of_test: list[Row] = []
    leaks: list[Leak] = []
    notes: list[str] = []
    for number, (split, fold) in enumerate(zip(protocol.splits, trained, strict=True), start=1):
        leaks += find_leaks(clips, (*split.train, *split.val), split.test)
        notes += [note for note in (*split.notes, *fold.notes) if note not in notes]
        for index in split.test:
            found = features[0][index]
            result = found if isinstance(found, VideoError) else tuple(fold.model.probabilities(found).tolist())
            rows_of_test.append(to_row(clips[index], result, fold=number if protocol.pooled else None))
    evaluation = Evaluation(
        labels=manifest.labels,
        rows=tuple(rows_of_test),
        leaks=tuple(dict.fromkeys(leaks)),
        protocol=protocol.name,
        data_hash=hashed,
        seed=chosen.seed,
        excluded=excluded,
    )
    page = write_results(
        evaluation,
        clips,
        out,
        title=f"{chosen.name} on {Path(data).name}",
        recipe_text=chosen.to_yaml(),
        histories=[fold.history for fold in trained],
        facts={"groups": manifest.grouping, "data": manifest.source, "seconds": f"{time.monotonic() - began:.1f}"},
    )
    for note in notes:
        reporter.say(note)
    return EvaluationResult(evaluation.metrics, out, page, out / "model", tuple(notes))


def _fingerprint(recipe: dict[str, Any], data_hash: str, splits: Any) -> dict[str, str]:
    """What has to be the same for an interrupted run to go on, by name."""
    parts = [[list(split.train), list(split.val), list(split.test)] for split in splits]
    return {
        "recipe": hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=16).hexdigest(),
        "data": data_hash,
        "splits": hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest(),
    }


def _claim(out: Path, fingerprint: dict[str, str], if_exists: str, reporter: Reporter) -> None:
    """Make the run's folder, or take over one that an interrupted run of the very same kind has left."""
    if if_exists not in ("resume", "restart"):
        raise UsageError(f"if_exists='{if_exists}' is neither 'resume' nor 'restart'")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give the run a folder of its own with --out")
    known = out / _RUN
    if out.is_dir() and any(out.iterdir()):
        if not known.is_file():
            raise UsageError(f"{out} holds other things than a run; give the run a folder of its own with --out")
        try:
            before = json.loads(known.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        changed = [name for name, value in fingerprint.items() if before.get(name) != value]
        if if_exists == "restart":
            for name in ("folds", "model", "plots"):
                shutil.rmtree(out / name, ignore_errors=True)
            for name in ("metrics.json", "predictions.csv", "report.html", "quarantine.csv"):
                (out / name).unlink(missing_ok=True)
        elif changed:
            raise UsageError(
                f"{out} holds a run with another {' and other '.join(changed)}; "
                "choose another --out, or --if-exists restart to replace it"
            )
        else:
            reporter.say(f"going on with the run in {out}: what it has trained already is taken from there")
    out.mkdir(parents=True, exist_ok=True)
    part = out / f".{_RUN}.part"
    part.write_text(json.dumps(fingerprint, indent=1) + "\n", encoding="utf-8")
    part.replace(known)
