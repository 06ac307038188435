"""`marey tune`: the best values of a recipe's keys, found on validation clips and tested once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from marey.atomic import write_atomic
from marey.commands.options import (
    Changes,
    Data,
    Device,
    Engine,
    Epochs,
    Exclude,
    GroupRegex,
    RecipeName,
    StrPath,
    changes_of,
)
from marey.commands.registry import Help, Line, Table, command
from marey.commands.train import show_result
from marey.errors import DatasetError, MareyError, UsageError
from marey.progress import AUTO, SILENT, Reporter
from marey.remote_path import as_path

if TYPE_CHECKING:
    from marey.commands.steps.results import EvaluationResult
    from marey.data import Manifest, Split
    from marey.training import Experiment, Recipe
    from marey.training.tune import Study, Trial

_POLL: Final = 1.0  # s between two looks at the trials of other processes


@dataclass(frozen=True)
class Tuning:
    """The answer of `tune`.

    Attributes:
        trials: all trials.
        best: the trial with the highest validation score.
        importances: key -> share of the score's variance that it explains.
        folder: the folder of study.db, best.yaml, tune.json, history.png and importance.png.
        recipe: best.yaml: the recipe with the best values.
        page: the page, tune.html.
        result: the result of the best recipe on the test part.
        notes: caveats, a sentence each.
    """

    trials: tuple[Trial, ...]
    best: Trial
    importances: dict[str, float]
    folder: Path
    recipe: Path
    page: Path
    result: EvaluationResult
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "folder": str(self.folder),
            "recipe": str(self.recipe),
            "page": str(self.page),
            "notes": list(self.notes),
            "best": asdict(self.best),
            "importances": self.importances,
            "trials": [asdict(trial) for trial in self.trials],
            "test": self.result.as_dict(),
        }


def _show(answer: Tuning) -> Iterator[Any]:
    table = Table(("key", "best", "importance"))
    for key, value in answer.best.parameters.items():
        best = f"{value:.3g}" if isinstance(value, float) else str(value)
        table.add(key, best, f"{answer.importances[key]:.2f}" if key in answer.importances else "")
    yield table
    for note in answer.notes:
        yield Line(note, "note")
    yield from show_result(answer.result)
    yield f"recipe  {answer.recipe}"
    yield f"page    {answer.page}"


@command(
    "tune",
    panel="Train and test",
    examples=(
        "tune clips/ --out runs/search --trials 50 --set 'search={head.options.dropout: {low: 0.0, high: 0.7}}'",
    ),
    show=_show,
)
def tune(
    data: Data,
    *,
    recipe: RecipeName = "auto",
    out: StrPath,
    trials: int = 30,
    sampler: Literal["tpe", "random", "grid"] = "tpe",
    storage: str | None = None,
    folds: Annotated[str | int | None, Help("", cli=str | None)] = None,
    set: Changes = None,
    epochs: Epochs = None,
    group_regex: GroupRegex = None,
    exclude: Exclude = None,
    device: Device = "auto",
    engine: Engine = None,
    seed: int = 0,
    reporter: Reporter = AUTO,
) -> Tuning:
    """Search the best values of a recipe's keys, and test them once.

    The recipe's key `search` names the keys and their ranges. The test part is set aside first, as by `marey train`.
    Trials are scored by macro-F1 on validation clips inside the training part, split by group; bad trials stop early.
    The best recipe is written to OUT/best.yaml, and trained and tested in OUT/best. The same command continues an
    interrupted search, or adds trials.

    Args:
        out: the folder of the search: study.db, best.yaml, tune.html, and the runs.
        trials: number of trials in all.
        sampler: "tpe" learns from earlier trials, "random" does not, "grid" tries all values in turn.
        storage: a database that several processes share, on one machine or on many, each with a folder OUT of its own:
            a file in a folder that all see, or a URL such as postgresql://user@host/database. By default OUT/study.db.
        folds: "group" scores a trial on each group of the training part once, a number on so many parts of it; by
            default the data's own validation part, else five.
        seed: the random seed of the search.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    call = dict(locals())

    from marey.commands.steps.prepare import load_labelled, pick_device
    from marey.commands.steps.results import versions
    from marey.data.hashing import data_hash, values_hash
    from marey.reports import write_tuning
    from marey.training import load_recipe, make_splits, require_fabric
    from marey.training.origin import command_line
    from marey.training.tune import Study, scores, sole_use, validation_folds
    from marey.training.tune_storage import SharedStorage
    from marey.video import require_decoder

    call["set"] = changes_of(set)
    written_as = command_line("tune", tune, call)
    data, out, changes = str(data), Path(out), changes_of(set, training__epochs=epochs)
    folds = None if folds is None else str(folds)
    if trials < 1:
        raise UsageError(f"trials={trials}: at least one is needed")
    chosen = load_recipe(recipe, changes=changes)
    require_decoder(chosen.sampling.decoder)
    chosen.require_training()
    require_fabric(chosen)
    where = pick_device(device)
    manifest, _ = load_labelled(data, group_regex=group_regex, exclude=exclude, reporter=reporter)
    (part,) = make_splits(manifest, folds=None, test=chosen.test, seed=chosen.seed).splits
    # Clips that are tested on are not even handed to the search.
    learnt_from = manifest.with_clips(manifest.clips[index] for index in (*part.train, *part.val))
    own = range(len(part.train), len(learnt_from.clips))
    inside = validation_folds(learnt_from.clips, validation=own, folds=folds, seed=chosen.seed)
    identity = {
        "recipe": values_hash(chosen.model_dump(mode="json")),
        "data": data_hash(manifest),
        "validation folds": values_hash([[fold.train, fold.val] for fold in inside]),
        "sampler": sampler,
        "seed": str(seed),
    }
    _claim(out)
    with (
        sole_use(out / "study.lock"),
        closing(
            Study(
                out / "study.db" if storage is None else SharedStorage(storage),
                chosen,
                identity=identity,
                sampler=sampler,
                seed=seed,
            )
        ) as study,
    ):
        wanted = trials if study.size is None else min(trials, study.size)
        if study.done < wanted:
            reader = _Reader(learnt_from, manifest.labels, where, engine)
            reader.open(chosen, reporter)
            with reporter.stage("trials", wanted) as stage:

                def attempt(tried: Recipe, number: int) -> Iterator[float]:
                    experiment = reader.open(tried, SILENT)
                    return scores(experiment, inside, seed=tried.seed, out=out / "trials" / f"{number:04d}")

                while study.done < wanted:
                    trial = study.run(attempt) if storage is None else study.run_shared(attempt, wanted=wanted)
                    if trial is None:
                        stage.advance(study.done, "waiting for the trials of other processes")
                        time.sleep(_POLL)
                        continue
                    score = "" if trial.score is None else f", macro F1 {trial.score:.3f}"
                    stage.advance(study.done, f"{trial.state}{score}")
        best = study.best
        if best is None:
            why = next((trial.reason for trial in reversed(study.trials) if trial.reason), "all were given up")
            raise DatasetError(f"none of the {study.done} trials could be run to its end: {why}")
        reporter.say(f"trial {best.number} of {study.done} is best: macro F1 {best.score:.3f} on the validation clips")
        study.note_test(best)
        tuned = study.recipe_of(best.parameters)
        tuned = tuned.model_copy(
            update={
                "name": f"{chosen.name.removesuffix('-tuned')}-tuned",
                "description": f"{chosen.description.removesuffix('.')}, with the values of trial {best.number}.",
            }
        )
        result = _test(
            tuned, data, out, group_regex=group_regex, exclude=exclude, device=device, engine=engine, reporter=reporter
        )
        importances = study.importances()
        notes = _notes(study, inside)
        page = write_tuning(
            study.trials,
            best,
            importances,
            result.metrics,
            out,
            title=f"{chosen.name} on {as_path(data).name}",
            notes=notes,
            facts={
                "command": written_as,
                "data": manifest.source,
                "groups": manifest.grouping,
                "data hash": identity["data"],
                "validation": f"{len(inside)} {'fold' if len(inside) == 1 else 'folds'} inside the training part",
                "sampler": f"{sampler}, seed {seed}",
                **({"changes": ", ".join(changes)} if changes else {}),
                "device": where,
                **versions(),
            },
        )
        return Tuning(study.trials, best, importances, out, out / "best.yaml", page, result, notes)


class _Reader:
    """The features that trials share: read once, and again only if a trial changes the reading."""

    def __init__(self, manifest: Manifest, labels: tuple[str, ...], device: str, engine: str | None) -> None:
        self._manifest = manifest
        self._labels = labels
        self._device = device
        self._engine = engine
        self._last: tuple[dict[str, Any], Experiment] | None = None

    def open(self, recipe: Recipe, reporter: Reporter) -> Experiment:
        """Return the clips with their features, ready to try a recipe on."""
        from marey.commands.steps.prepare import read_views
        from marey.data import Split
        from marey.encoders import Contract, load_encoder
        from marey.training import Experiment, Protocol

        how = recipe.model_dump(
            mode="json", include={"sampling", "streams", "fit", "photometric", "conversion", "encoder", "views"}
        )
        if self._last is None or self._last[0] != how:
            self._last = None  # two sets of features need not fit into memory
            encoder = load_encoder(
                recipe.encoder, frames=recipe.sampling.count, device=self._device, engine=self._engine
            )
            contract = Contract.from_recipe(recipe, encoder, multi_view=False)
            everything = Protocol("", (Split(tuple(range(len(self._manifest.clips))), (), ()),), pooled=False)
            views = read_views(self._manifest, encoder, contract, recipe=recipe, protocol=everything, reporter=reporter)
            experiment = Experiment(
                self._manifest.clips,
                views,
                labels=self._labels,
                contract=contract,
                recipe=recipe,
                made_with={},
                device=self._device,
            )
            self._last = how, experiment
        return self._last[1].with_recipe(recipe)


def _claim(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give the search a folder of its own with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / "study.lock").is_file():
        raise UsageError(f"{out} holds other things than a search; give the search a folder of its own with --out")
    out.mkdir(parents=True, exist_ok=True)


def _test(tuned: Recipe, data: str, out: Path, **options: Any) -> EvaluationResult:
    """Write the best recipe down, train it on the whole training part, and test it."""
    from marey.commands.train import train
    from marey.training import load_recipe

    path, run = out / "best.yaml", out / "best"
    write_atomic(path, tuned.to_yaml(), single_writer=True)
    try:
        same = load_recipe(run / "recipe.yaml") == tuned
    except MareyError:
        same = False
    return train(data, recipe=str(path), out=run, if_exists="resume" if same else "restart", **options)


def _notes(study: Study, inside: Sequence[Split]) -> tuple[str, ...]:
    """Return caveats about the numbers, a sentence each."""
    failed = [trial.reason for trial in study.trials if trial.reason is not None]
    notes = ["The score chose the epoch and the values, so it is higher than new video would give; the test is not."]
    clips = sum(len(fold.val) for fold in inside)
    notes.append(f"{clips} validation clips: one more that is right changes the score by about {1 / clips:.3f}.")
    if len(study.tested) > 1:
        notes.append(
            f"The test part has been looked at {len(study.tested)} times, after trials "
            f"{', '.join(map(str, study.tested))}: what was decided by an earlier look makes this one too high."
        )
    if failed:
        notes.append(f"{len(failed)} {'trial' if len(failed) == 1 else 'trials'} could not be run: {failed[-1]}")
    return tuple(notes)
