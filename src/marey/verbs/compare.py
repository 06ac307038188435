"""`marey compare`: several recipes on the same clips, in one table and on one page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from marey.atomic import write_whole
from marey.errors import MareyError, UsageError
from marey.verbs.reporter import SILENT, Once, Reporter

if TYPE_CHECKING:
    from marey.data import Manifest
    from marey.evaluation import Answers
    from marey.reports import Entry
    from marey.training import Protocol, Recipe


@dataclass(frozen=True)
class Comparison:
    """What `compare` answers.

    Attributes:
        entries: a recipe each, the best first, those that could not be run last.
        folder: where the runs lie, and compare.json, compare.csv and compare.png.
        page: the page, compare.html.
        notes: what a reader should know.
    """

    entries: tuple[Entry, ...]
    folder: Path
    page: Path
    notes: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether any recipe could be run."""
        return any(entry.failure is None for entry in self.entries)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "folder": str(self.folder),
            "page": str(self.page),
            "notes": list(self.notes),
            "recipes": [entry.as_dict() for entry in self.entries],
        }


def compare(
    data: str,
    *,
    recipes: str,
    out: Path,
    seeds: int = 3,
    folds: str | None = None,
    set: list[str] | None = None,
    group_regex: str | None = None,
    exclude: Path | None = None,
    device: str = "auto",
    engine: str | None = None,
    if_exists: Literal["resume", "restart"] = "resume",
    reporter: Reporter = SILENT,
) -> Comparison:
    """Train several recipes on the same clips, and say which is best, by how much, and at what cost.

    Each recipe is run with the seeds 0, 1, ...; a run is that of `marey train`, in OUT/RECIPE/seed-N. Runs that are
    there already are taken as they are, so that a comparison that is started again goes on, and more recipes or seeds
    can be added to it. A recipe that cannot be run is named with the reason, and the others go on.

    Args:
        data: a folder of class folders, a manifest (CSV or Parquet), or the name of a data set.
        recipes: names of recipes that come with marey, or YAML files, with commas.
        out: the folder of the comparison: compare.html, compare.json, compare.csv, and the runs.
        seeds: how many runs of each recipe; each seed draws its own split, alike for all recipes.
        folds: "group" tests on each group once, a number makes so many folds by group; by default one split.
        set: key=value, changes a key of all recipes, as in training.epochs=100; may be repeated.
        group_regex: takes the group of a clip from the first capture in its path, or names a known pattern.
        exclude: a quarantine list, as `marey data scan` writes it: these clips are left out, and counted.
        device: where to run: auto, cpu or cuda.
        engine: what runs the encoder: auto (the fastest here), pytorch, openvino, onnxruntime or cuda; by default what
            MAREY_ENGINE says, else auto.
        if_exists: what to do with runs in `out`: "resume" takes them as they are, "restart" makes them anew.
    """
    call = dict(locals())

    import torch

    from marey.data import data_hash
    from marey.encoders import PIXELS
    from marey.reports import Entry, write_comparison
    from marey.training import load_recipe, plan
    from marey.verbs.origin import command_line
    from marey.verbs.prepare import load_labelled, pick_device
    from marey.verbs.results import versions
    from marey.verbs.run_folder import claim_folder, run_state
    from marey.verbs.train import train

    out, reporter = Path(out), Once(reporter)
    if seeds < 1:
        raise UsageError(f"seeds={seeds}: at least one run of each recipe is needed")
    if if_exists not in ("resume", "restart"):
        raise UsageError(f"if_exists='{if_exists}' is neither 'resume' nor 'restart'")
    command = command_line("compare", compare, call)
    where = pick_device(device)
    asked = {
        name: [load_recipe(file, changes=[*(set or ()), f"seed={seed}"]) for seed in range(seeds)]
        for name, file in _named(recipes).items()
    }
    manifest, _ = load_labelled(data, group_regex=group_regex, exclude=exclude, reporter=reporter)
    hashed = data_hash(manifest)
    if not _holds_runs_alone(out):  # of an earlier version, or put together by hand
        claim_folder(out, marks=("comparison.json", "compare.json"), what="a comparison")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "comparison.json", json.dumps({"command": command}, indent=1) + "\n", alone=True)
    protocols: dict[str, list[Protocol]] = {}
    for name, chosen in asked.items():
        protocols[name] = [plan(manifest, folds=folds, test=each.test, seed=each.seed) for each in chosen]
    finished = {
        (name, seed): run_state(
            _place(out, name, seed), recipe=chosen[seed], data_hash=hashed, protocol=protocols[name][seed]
        )
        == "finished"
        for name, chosen in asked.items()
        for seed in range(seeds)
        if if_exists == "resume"
    }

    if any(recipe.encoder.name in PIXELS for chosen in asked.values() for recipe in chosen):
        import_module("lightning.pytorch")  # takes seconds, which are not the first recipe's
    failures: dict[str, str] = {}
    for seed in range(seeds):
        for name, file in _named(recipes).items():
            if name in failures or finished.get((name, seed)):
                continue
            reporter.say(f"{name}, seed {seed} ({seed + 1} of {seeds})")
            try:
                train(
                    data,
                    recipe=file,
                    out=_place(out, name, seed),
                    folds=folds,
                    set=[*(set or ()), f"seed={seed}"],
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

    ran: dict[str, tuple[Entry, Answers]] = {}
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
        title=f"{len(asked)} {'recipe' if len(asked) == 1 else 'recipes'} on {Path(data).name}",
        protocol=_protocol(next(iter(protocols.values()))),
        notes=notes,
        facts={
            "command": command,
            "data": manifest.source,
            "groups": manifest.grouping,
            "data hash": hashed,
            "seeds": ", ".join(map(str, range(seeds))),
            **({"changes": ", ".join(set)} if set else {}),
            "device": where,
            **versions(),
        },
    )
    return Comparison(tuple(entries), out, page, tuple(notes))


def _named(recipes: str) -> dict[str, str]:
    """The name of each recipe's folder, and the recipe as `load_recipe` takes it."""
    named: dict[str, str] = {}
    for file in (part.strip() for part in recipes.split(",")):
        if not file:
            continue
        name = Path(file).stem if file.endswith((".yaml", ".yml")) else file
        if name in named:
            raise UsageError(f"two recipes are called '{name}', and their runs would share a folder: rename one file")
        named[name] = file
    if not named:
        raise UsageError("no recipe is named; write --recipes default,order-blind")
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
) -> tuple[Entry, Answers]:
    """What the runs of a recipe have left, and what it costs."""
    from marey.evaluation import Answers, pool, read_predictions
    from marey.reports import Entry, TrainingTime
    from marey.verbs.cost import kept_cost
    from marey.verbs.run_folder import read_times

    labels: tuple[str, ...] = ()
    runs, scores, leak, failed_clips = {}, {}, None, 0
    for seed in range(len(chosen)):
        folder = _place(out, name, seed)
        labels, runs[seed] = read_predictions(folder / "predictions.csv")
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        scores[seed] = (metrics["accuracy"], metrics["macro_f1"])
        leak = leak or metrics["leaks"]["note"]
        failed_clips += metrics["failed"]
    answers = Answers(labels, runs)
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
            pictures=sum(time.pictures for time in known),
            training=statistics.median(time.training for time in known),
            whole=all(time.starts == 1 for time in known),
        )
        if len(known) == len(times)
        else None,
        leak=leak,
        failed_clips=failed_clips,
    )
    return entry, answers


def _ranked(ran: dict[str, tuple[Entry, Answers]]) -> list[Entry]:
    """The best recipe first, and how far each other one is behind it."""
    from marey.evaluation import difference, holm

    def worth(name: str) -> tuple[float, float, str]:
        pooled = ran[name][0].pooled
        assert pooled is not None  # noqa: S101 - it ran
        return -pooled.accuracy, -pooled.macro_f1, name

    order = sorted(ran, key=worth)
    if not order:
        return []
    best, *others = order
    behind = {name: difference(ran[best][1], ran[name][1], seed=0) for name in others}
    tested = [name for name in others if behind[name].p is not None]
    corrected = dict(zip(tested, holm([behind[name].p or 0.0 for name in tested]), strict=True))
    return [
        ran[best][0],
        *(replace(ran[name][0], behind=behind[name], p=corrected.get(name)) for name in others),
    ]


def _protocol(protocols: Sequence[Protocol]) -> str:
    """How the clips were split, in words, for all seeds."""
    first, *others = protocols
    again = any(other.splits != first.splits for other in others)
    return f"{first.name}; for each further seed another split" if again else first.name


def _notes(entries: Sequence[Entry], seeds: int, protocols: dict[str, list[Protocol]]) -> list[str]:
    """What the numbers do not say by themselves, a sentence each."""
    from marey.reports import SURE
    from marey.reports.sentences import sentence

    ran = [entry for entry in entries if entry.pooled is not None]
    notes = []
    first = ran[0].pooled if ran else None
    if first is not None:
        if first.interval.note:
            notes.append(sentence(first.interval.note))
        compared = len(ran) - 1
        units = min((entry.behind.units for entry in ran if entry.behind is not None), default=0)
        least = compared * 2.0 ** (1 - units) if units else 0.0
        if least > SURE:
            notes.append(
                f"{units} {first.interval.unit} are too few to call any difference sure: with {compared} to compare, "
                f"the smallest p there can be is {min(1.0, least):.2g}."
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
        notes.append("One seed: how much chance in training changes the numbers is not in the intervals.")
    for name, found in protocols.items():
        first_found = next(iter(protocols.values()))
        if [each.splits for each in found] != [each.splits for each in first_found]:
            notes.append(f"{name} was split in another way than the others: {found[0].name}.")
    failed = sorted({entry.failed_clips for entry in ran if entry.failed_clips})
    if failed:
        notes.append(f"Up to {failed[-1]} answers are clips that could not be used; each counts as wrong.")
    return notes
