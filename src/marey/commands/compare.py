"""`marey compare`: several recipes on the same clips, in one table and on one page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from marey.atomic import write_atomic
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
    StrPath,
    changes_of,
)
from marey.commands.registry import Help, Line, command
from marey.errors import MareyError, UsageError
from marey.progress import AUTO, Once, Reporter
from marey.remote_path import as_path

if TYPE_CHECKING:
    from marey.data import Manifest
    from marey.evaluation import RunResults
    from marey.reports import Entry
    from marey.training import Protocol, Recipe


@dataclass(frozen=True)
class Comparison:
    """The answer of `compare`.

    Attributes:
        entries: one per recipe, the best first, failed ones last.
        folder: the folder of the runs, compare.json, compare.csv and compare.png.
        page: the page, compare.html.
        notes: caveats, a sentence each.
    """

    entries: tuple[Entry, ...]
    folder: Path
    page: Path
    notes: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """True if any recipe could be run."""
        return any(entry.failure is None for entry in self.entries)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "folder": str(self.folder),
            "page": str(self.page),
            "notes": list(self.notes),
            "recipes": [entry.as_dict() for entry in self.entries],
        }


def _show(answer: Comparison) -> Iterator[Any]:
    from marey.reports import comparison_summary

    yield answer.entries
    for entry in answer.entries:
        if entry.failure is not None:
            yield Line(f"{entry.recipe}: {entry.failure}", "fault")
    yield Line(comparison_summary([entry for entry in answer.entries if entry.failure is None]), "strong")
    for note in answer.notes:
        yield Line(note, "note")
    yield f"page   {answer.page}"


@command(
    "compare",
    panel="Train and test",
    examples=("compare clips/ --recipes auto,order-blind --out runs/comparison --folds group",),
    show=_show,
)
def compare(
    data: Data,
    *,
    recipes: Annotated[str | Sequence[StrPath], Help("", cli=str)],
    out: StrPath,
    seeds: int = 3,
    folds: Folds = None,
    set: Changes = None,
    epochs: Epochs = None,
    group_regex: GroupRegex = None,
    exclude: Exclude = None,
    device: Device = "auto",
    engine: Engine = None,
    if_exists: IfExists = "resume",
    reporter: Reporter = AUTO,
) -> Comparison:
    """Train several recipes on the same clips and compare their accuracy and cost.

    Each recipe is trained with the seeds 0, 1, ..., as by `marey train`, in OUT/RECIPE/seed-N. Finished runs are kept:
    the same command continues a comparison, and more recipes or seeds can be added. A recipe that fails is listed with
    the reason, and the others are still run.

    Args:
        recipes: built-in recipes or YAML files, separated by commas; in Python, a list works too.
        out: the folder of the comparison: compare.html, compare.json, compare.csv, and the runs.
        seeds: number of runs of each recipe; each seed draws its own split, the same for all recipes.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    call = dict(locals())

    import torch

    from marey.commands.steps.prepare import load_labelled, pick_device
    from marey.commands.steps.results import versions
    from marey.commands.train import train
    from marey.data import data_hash
    from marey.encoders import family_of
    from marey.reports import Entry, write_comparison
    from marey.training import load_recipe, make_splits
    from marey.training.origin import command_line
    from marey.training.run_folder import claim_folder, run_state

    data, out, reporter = str(data), Path(out), Once(reporter)
    changes = changes_of(set, training__epochs=epochs)
    call |= {"set": changes_of(set), "recipes": recipes if isinstance(recipes, str) else ",".join(map(str, recipes))}
    folds = None if folds is None else str(folds)
    if seeds < 1:
        raise UsageError(f"seeds={seeds}: at least one run of each recipe is needed")
    if if_exists not in ("resume", "restart"):
        raise UsageError(f"if_exists='{if_exists}' is neither 'resume' nor 'restart'")
    written_as = command_line("compare", compare, call)
    where = pick_device(device)
    asked = {
        name: [load_recipe(file, changes=[*changes, f"seed={seed}"]) for seed in range(seeds)]
        for name, file in _named(call["recipes"]).items()
    }
    for each in asked.values():
        each[0].require_training()
    manifest, _ = load_labelled(data, group_regex=group_regex, exclude=exclude, reporter=reporter)
    hashed = data_hash(manifest)
    if not _holds_runs_alone(out):  # of an earlier version, or put together by hand
        claim_folder(out, marks=("comparison.json", "compare.json"), what="a comparison")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "comparison.json", json.dumps({"command": written_as}, indent=1) + "\n", single_writer=True)
    protocols: dict[str, list[Protocol]] = {}
    for name, chosen in asked.items():
        protocols[name] = [make_splits(manifest, folds=folds, test=each.test, seed=each.seed) for each in chosen]
    finished = {
        (name, seed): run_state(
            _place(out, name, seed), recipe=chosen[seed], data_hash=hashed, protocol=protocols[name][seed]
        )
        == "finished"
        for name, chosen in asked.items()
        for seed in range(seeds)
        if if_exists == "resume"
    }

    if any(family_of(recipe.encoder).gives == "frames" for chosen in asked.values() for recipe in chosen):
        with suppress(ImportError):  # each recipe that needs it says so
            import_module("lightning.fabric")  # takes seconds, which are not the first recipe's
    failures: dict[str, str] = {}
    for seed in range(seeds):
        for name, file in _named(call["recipes"]).items():
            if name in failures or finished.get((name, seed)):
                continue
            reporter.say(f"{name}, seed {seed} ({seed + 1} of {seeds})")
            try:
                train(
                    data,
                    recipe=file,
                    out=_place(out, name, seed),
                    folds=folds,
                    set=[*changes, f"seed={seed}"],
                    group_regex=group_regex,
                    exclude=exclude,
                    device=device,
                    engine=engine,
                    if_exists=if_exists,
                    reporter=reporter,
                )
            except (MareyError, torch.OutOfMemoryError) as error:
                failures[name] = " ".join(str(error).split())
                reporter.say(f"{name} cannot be run: {failures[name]}")

    ran: dict[str, tuple[Entry, RunResults]] = {}
    for name, chosen in asked.items():
        if name not in failures:
            reporter.say(f"measuring {name}")
            ran[name] = _entry(name, chosen, out, manifest, device=where, engine=engine)
    entries = _ranked(ran)
    entries += [Entry(name, asked[name][0].description, failure=why) for name, why in failures.items()]
    notes = [f"Guessing blindly would get {1 / len(manifest.labels):.2f} right.", *_notes(entries, seeds, protocols)]
    page = write_comparison(
        entries,
        out,
        title=f"{len(asked)} {'recipe' if len(asked) == 1 else 'recipes'} on {as_path(data).name}",
        protocol=_protocol(next(iter(protocols.values()))),
        notes=notes,
        facts={
            "command": written_as,
            "data": manifest.source,
            "groups": manifest.grouping,
            "data hash": hashed,
            "seeds": ", ".join(map(str, range(seeds))),
            **({"changes": ", ".join(changes)} if changes else {}),
            "device": where,
            **versions(),
        },
    )
    return Comparison(tuple(entries), out, page, tuple(notes))


def _named(recipes: str) -> dict[str, str]:
    """Return the name of each recipe's folder -> the recipe as `load_recipe` takes it."""
    named: dict[str, str] = {}
    for file in (part.strip() for part in recipes.split(",")):
        if not file:
            continue
        name = Path(file).stem if file.endswith((".yaml", ".yml")) else file
        if name in named:
            raise UsageError(f"two recipes are called '{name}', and their runs would share a folder: rename one file")
        named[name] = file
    if not named:
        raise UsageError("no recipe is named; write --recipes auto,order-blind")
    return named


def _holds_runs_alone(out: Path) -> bool:
    """Return whether a folder has nothing in it but runs where a comparison has them, RECIPE/seed-N."""
    if not out.is_dir():
        return False
    folders = [path for path in out.iterdir() if not path.name.startswith(".")]
    return bool(folders) and all(any(folder.glob("seed-*/run.json")) for folder in folders)


def _place(out: Path, name: str, seed: int) -> Path:
    return out / name / f"seed-{seed}"


def _entry(
    name: str, chosen: Sequence[Recipe], out: Path, manifest: Manifest, *, device: str, engine: str | None
) -> tuple[Entry, RunResults]:
    """Return the scores of the runs of a recipe, its cost, and its answers."""
    from marey.commands.steps.cost import kept_cost
    from marey.evaluation import RunResults, pool, read_predictions
    from marey.reports import Entry, TrainingTime
    from marey.training.run_folder import read_times

    labels: tuple[str, ...] = ()
    runs, scores, leak, failed_clips = {}, {}, None, 0
    for seed in range(len(chosen)):
        folder = _place(out, name, seed)
        labels, runs[seed] = read_predictions(folder / "predictions.csv")
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        scores[seed] = (metrics["accuracy"], metrics["macro_f1"])
        leak = leak or metrics["leaks"]["note"]
        failed_clips += metrics["failed"]
    answers = RunResults(labels, runs)
    times = [read_times(_place(out, name, seed)) for seed in range(len(chosen))]
    known = [time for time in times if time is not None]
    usable = [row.clip for row in runs[0] if row.probabilities is not None]
    by_id = {clip.id: clip for clip in manifest.clips}
    entry = Entry(
        name,
        chosen[0].description,
        pooled=pool(answers, seed=0),
        seeds=scores,
        cost=kept_cost(
            _place(out, name, 0),
            [by_id[clip] for clip in usable if clip in by_id],
            kept=out / name / "cost.json",
            device=device,
            engine=engine,
        ),
        time=TrainingTime(
            reading=sum(time.reading for time in known),
            images=sum(time.images for time in known),
            training=statistics.median(time.training for time in known),
            whole=all(time.starts == 1 for time in known),
        )
        if len(known) == len(times)
        else None,
        leak=leak,
        failed_clips=failed_clips,
    )
    return entry, answers


def _ranked(ran: dict[str, tuple[Entry, RunResults]]) -> list[Entry]:
    """Return the entries, the best recipe first, with the distance of each other one from it."""
    from marey.evaluation import rank_recipes

    recipes = {name: (entry.pooled, answers) for name, (entry, answers) in ran.items() if entry.pooled is not None}
    return [replace(ran[place.name][0], behind=place.behind, p=place.p) for place in rank_recipes(recipes, seed=0)]


def _protocol(protocols: Sequence[Protocol]) -> str:
    """Return the protocol of all seeds in words."""
    first, *others = protocols
    again = any(other.splits != first.splits for other in others)
    return f"{first.name}; for each further seed another split" if again else first.name


def _notes(entries: Sequence[Entry], seeds: int, protocols: dict[str, list[Protocol]]) -> list[str]:
    """Return caveats about the numbers, a sentence each."""
    from marey.reports import SIGNIFICANCE
    from marey.reports.phrases import sentence

    ran = [entry for entry in entries if entry.pooled is not None]
    notes = []
    first = ran[0].pooled if ran else None
    if first is not None:
        if first.interval.note:
            notes.append(sentence(first.interval.note))
        compared = len(ran) - 1
        units = min((entry.behind.units for entry in ran if entry.behind is not None), default=0)
        least = compared * 2.0 ** (1 - units) if units else 0.0
        if least > SIGNIFICANCE:
            notes.append(
                f"{units} {first.interval.unit} are too few for any significant difference: with {compared} to "
                f"compare, the smallest p there can be is {min(1.0, least):.2g}."
            )
        if first.interval.unit == "clips":
            notes.append(
                "No groups are known. If several clips show one person or come from one video, the intervals are too "
                "narrow and the p-values too small."
            )
    if len(ran) > 1:
        notes.append(
            "The best recipe was found on the clips that it is tested on, so its own accuracy is a little too high; "
            "the more recipes are compared, the more."
        )
    if seeds == 1:
        notes.append("One seed: the intervals do not include how much the random seed changes the numbers.")
    for name, found in protocols.items():
        first_found = next(iter(protocols.values()))
        if [each.splits for each in found] != [each.splits for each in first_found]:
            notes.append(f"{name} was split in another way than the others: {found[0].name}.")
    failed = sorted({entry.failed_clips for entry in ran if entry.failed_clips})
    if failed:
        notes.append(f"Up to {failed[-1]} answers are clips that could not be used; each counts as wrong.")
    return notes
