"""How much a few clips teach: heads from 1, 2 and 5 clips a class, and a class added to a trained model.

Leave one sequence out, as for whole trainings: the few clips are drawn from the other sequences. It is run by name:
`python benchmarks/bench.py --only few-shot`, `--only new-class`. Features are taken from the cache where they are.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np

from marey.data import Clip, load_data
from marey.encoders import Contract, FeatureCache, Features, View, iterate_views, load_encoder
from marey.errors import VideoError
from marey.evaluation import expected_calibration_error
from marey.models import ActionModel, imprint
from marey.training import Experiment, Recipe, load_recipe, recipe_names
from measure import Line, Setting

SHOTS: Final = (1, 2, 5)
DRAWS: Final = 20
RECIPES: Final = ("chronophotograph", "default-0.1")
_FLOOR: Final = {("chronophotograph", 5): 0.80}


@dataclass(frozen=True)
class Known:
    """Clips with the features of all readings that a recipe trains on.

    Attributes:
        recipe: that reads them.
        contract: its contract.
        clips: with labels and groups.
        found: for each clip the features of each view.
    """

    recipe: Recipe
    contract: Contract
    clips: tuple[Clip, ...]
    found: tuple[dict[View, Features], ...]

    @classmethod
    def read(cls, data: Path, recipe: str) -> Known:
        """Read all clips of a data set by a recipe."""
        chosen = load_recipe(recipe)
        encoder = load_encoder(chosen.encoder, frames=chosen.sampling.count)
        contract = Contract.from_recipe(chosen, encoder)
        clips, found = [], []
        every = load_data(data).clips
        readings = [(clip, chosen.views.readings) for clip in every]
        for clip, result in zip(every, iterate_views(readings, encoder, contract, cache=FeatureCache()), strict=True):
            if not isinstance(result, VideoError):
                clips.append(clip)
                found.append(result)
        return cls(chosen, contract, tuple(clips), tuple(found))

    @property
    def groups(self) -> tuple[str, ...]:
        """The sequences."""
        return tuple(sorted({str(clip.group) for clip in self.clips}))

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes."""
        return tuple(sorted({str(clip.label) for clip in self.clips}))

    def plain(self, index: int) -> Features:
        """Return the features of a clip as tests read it."""
        return self.found[index][self.recipe.views.readings[0]]

    def experiment(self, chosen: Sequence[int], labels: Sequence[str]) -> Experiment:
        """Return an experiment on some clips."""
        views = [[self.found[index][view] for index in chosen] for view in self.recipe.views.readings]
        return Experiment(
            [self.clips[index] for index in chosen],
            views,
            labels=labels,
            contract=self.contract,
            recipe=self.recipe,
            made_with={},
        )

    def of(self, label: str, *, without: str) -> list[int]:
        """Return the clips of a class outside of a sequence."""
        return [i for i, clip in enumerate(self.clips) if clip.label == label and clip.group != without]

    def in_group(self, group: str) -> list[int]:
        """Return the clips of a sequence."""
        return [i for i, clip in enumerate(self.clips) if clip.group == group]


def measure_shots(setting: Setting) -> list[Line]:
    """Train on 1, 2 and 5 clips a class, drawn 20 times, and test on all clips of the sequence left out."""
    lines = []
    for recipe in RECIPES:
        if recipe not in recipe_names():
            setting.left_out[f"few-shot, {recipe}"] = "there is no recipe of that name"
            continue
        known = Known.read(setting.data, recipe)
        lines += [few_shot(known, shots) for shots in SHOTS]
    return lines


def few_shot(known: Known, shots: int) -> Line:
    """Return the mean accuracy over the draws, and its spread."""
    everything = known.experiment(range(len(known.clips)), known.labels)
    runs: list[float] = []
    calibration: list[float] = []
    for draw in range(DRAWS):
        rng = np.random.default_rng([draw, shots])
        probabilities, targets = [], []
        for group in known.groups:
            chosen = [index for label in known.labels for index in _draw(rng, known.of(label, without=group), shots)]
            model = _train(everything, chosen, seed=draw)
            tested = known.in_group(group)
            probabilities.append(model.batch_probabilities([known.plain(index) for index in tested]).numpy())
            targets += [known.labels.index(str(known.clips[index].label)) for index in tested]
        rows = np.concatenate(probabilities)
        runs.append(float(np.mean(rows.argmax(1) == np.array(targets))))
        calibration.append(expected_calibration_error(rows.max(1), rows.argmax(1) == np.array(targets)))
    low, high = np.quantile(runs, (0.025, 0.975))
    plural = "clip" if shots == 1 else "clips"
    return Line(
        f"few-shot, {known.recipe.name}, {shots} {plural} a class: mean accuracy of {DRAWS} draws",
        (statistics.mean(runs),),
        "",
        at_least=_FLOOR.get((known.recipe.name, shots)),
        note=f"95 % of the draws in [{low:.3f}, {high:.3f}], mean ECE {statistics.mean(calibration):.3f}",
    )


def measure_new_class(setting: Setting) -> list[Line]:
    """Add each class in turn to a model of the others, by both methods of `marey learn`."""
    known = Known.read(setting.data, "chronophotograph")
    outcomes: dict[str, list[Outcome]] = {}
    for group in known.groups:
        add_classes(known, group, outcomes)
    return summarise(outcomes)


class Outcome(NamedTuple):
    """A tested clip: whether it is of the new class, whether the model is right, and its confidence."""

    new: bool
    right: bool
    confidence: float


def add_classes(known: Known, group: str, outcomes: dict[str, list[Outcome]]) -> None:
    """Add each class in turn to a model of the others that has not seen a sequence, and test on the sequence."""
    views = known.recipe.views.readings
    for number, new in enumerate(known.labels):
        old = tuple(label for label in known.labels if label != new)
        before = [index for label in old for index in known.of(label, without=group)]
        base = _train(known.experiment(before, old), range(len(before)), seed=0)
        models = {"the old classes alone": base}
        for shots in SHOTS:
            rng = np.random.default_rng([known.groups.index(group), number, shots])
            few = _draw(rng, known.of(new, without=group), shots)
            both = known.experiment([*before, *few], (*old, new))
            models[f"{shots}, retrain"] = _train(both, range(len(before) + shots), seed=0)
            features = [known.found[index][view] for index in few for view in views]
            models[f"{shots}, imprint"] = imprint(base, new, features)
        for name, model in models.items():
            for index in known.in_group(group):
                label = str(known.clips[index].label)
                if label in model.labels:
                    found = model.probabilities(known.plain(index)).numpy()
                    right = model.labels[int(found.argmax())] == label
                    outcomes.setdefault(name, []).append(Outcome(label == new, right, float(found.max())))


def summarise(outcomes: Mapping[str, Sequence[Outcome]]) -> list[Line]:
    """Return the accuracy of each way: on all clips, and in the note on those of the new and of the old classes."""
    lines = []
    for name, rows in outcomes.items():
        sides = {"new": [row.right for row in rows if row.new], "old": [row.right for row in rows if not row.new]}
        parts = ", ".join(f"{side} {np.mean(right):.3f}" for side, right in sides.items() if right)
        gap = expected_calibration_error([row.confidence for row in rows], [row.right for row in rows])
        note = f"{parts}; ECE {gap:.3f}, {len(rows)} predictions"
        lines.append(
            Line(f"a new class, {name}: accuracy", (float(np.mean([row.right for row in rows])),), "", note=note)
        )
    return lines


def _draw(rng: Any, pool: Sequence[int], count: int) -> list[int]:
    return [int(index) for index in rng.choice(pool, count, replace=False)]


def _train(experiment: Experiment, chosen: Sequence[int], *, seed: int) -> ActionModel:
    with TemporaryDirectory() as folder:
        return experiment.train(chosen, seed=seed, out=Path(folder)).model
