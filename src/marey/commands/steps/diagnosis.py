"""The steps of `diagnose`: the features of a run's clips, and heads that are trained on them again."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from marey.commands.steps.data_findings import plain_and_mirrored
from marey.commands.steps.given_features import given_features
from marey.commands.steps.prepare import read_views
from marey.data import Manifest, Split, group_or_path
from marey.encoders import Contract, FeatureCache, Features, load_encoder
from marey.errors import DatasetError, VideoError
from marey.evaluation import FEWEST_SIZES, DataFindings, LearningCurve, find_label_errors, learning_curve
from marey.models import ActionModel
from marey.progress import Reporter
from marey.training import (
    DEFAULT_RECIPE,
    Experiment,
    Protocol,
    Recipe,
    class_examples,
    curve_trials,
    load_recipe,
    near_duplicates,
    out_of_fold,
    usable_clips,
)
from marey.training.logistic import DEFAULT_STRENGTH

_FEWEST_GROUPS: Final = 4  # a fifth of them held out, the curve has one, two and three to train on


@dataclass(frozen=True)
class Reading:
    """The features of a run's clips, and a recipe whose heads can be trained on them in seconds.

    Attributes:
        recipe: with linear heads.
        contract: of the features.
        views: one list a reading.
        strength: C of the learning curve's heads.
        notes: how the recipe differs from the run's.
    """

    recipe: Recipe
    contract: Contract
    views: Sequence[Sequence[Features | VideoError]]
    strength: float
    notes: tuple[str, ...]


def read_again(
    model: ActionModel,
    run: Path,
    manifest: Manifest,
    source: Path,
    *,
    given: bool,
    device: str,
    engine: str | None,
    reporter: Reporter,
) -> Reading:
    """Read the features of a run's clips, which are cached, and choose the recipe that answers.

    Args:
        model: the model of the run.
        run: its folder.
        manifest: its clips.
        source: the folder of features, if `given`.
        given: whether the data are features.
        device: for what is not cached.
        engine: likewise.
        reporter: hears what is done.
    """
    auto = load_recipe(DEFAULT_RECIPE)
    own = Recipe.model_validate(model.config.made_with["recipe"])
    frames = model.config.contract.gives_images
    linear = own.training.solver == "logistic" and not frames
    notes: tuple[str, ...] = ()
    if frames:
        recipe = auto
        notes = ("A network on frames is too dear to train again: all answers are those of the recipe `auto`.",)
    elif linear:
        recipe = own
    else:
        recipe = own.model_copy(update={"head": auto.head, "training": auto.training, "augment": auto.augment})
        notes = ("The heads of this run take long to train: linear heads on its features answer in their place.",)
    if given:
        recipe, contract, views = given_features(source, manifest, recipe)
        return Reading(recipe, contract, views, _strength(run), notes)
    if frames:
        encoder = load_encoder(recipe.encoder, frames=recipe.sampling.count, device=device, engine=engine)
        contract = Contract.from_recipe(recipe.with_streams(recipe.selection.first), encoder)
    else:
        encoder = model.load_encoder(device=device, engine=engine)
        contract = model.config.contract
    recipe = recipe.with_streams(tuple(contract.streams))
    everything = Split(tuple(range(len(manifest.clips))), (), ())
    protocol = Protocol("all clips", (everything,), pooled=False)
    found = read_views(manifest, encoder, contract, recipe=recipe, protocol=protocol, reporter=reporter)
    return Reading(recipe, contract, found, _strength(run), notes)


def thorough_findings(
    read: Reading, manifest: Manifest, *, given: bool, device: str, reporter: Reporter
) -> DataFindings:
    """Return the answers about all clips of a run.

    Args:
        read: their features, and the recipe.
        manifest: the clips.
        given: whether there are features and no video.
        device: for the training.
        reporter: hears what is done.

    Raises:
        DatasetError: no clip can be used.
    """
    clips, labels = manifest.clips, manifest.labels
    usable = usable_clips(read.views)
    experiment = Experiment(
        clips, read.views, labels=labels, contract=read.contract, recipe=read.recipe, made_with={}, device=device
    )
    notes = list(read.notes)
    groups = len({group_or_path(clips[index]) for index in usable})
    with TemporaryDirectory(prefix="marey-diagnose-") as work:
        probabilities = np.full((len(clips), len(labels)), np.nan)
        try:
            reporter.say("training on four fifths of the groups, five times, to check the labels of the others")
            probabilities = out_of_fold(experiment, clips, usable, len(labels), seed=read.recipe.seed, out=Path(work))
        except DatasetError as error:
            notes.append(f"Labels are not checked: {error}.")
        curve, why = _curve(experiment, read, manifest, usable, groups, Path(work), reporter)
    target = np.array([labels.index(clip.label or "") for clip in clips])
    views, mirrored = plain_and_mirrored(read.views, read.recipe)
    reporter.say("looking for copies")
    return DataFindings(
        clips,
        labels,
        find_label_errors(target, probabilities),
        checked=int((~np.isnan(probabilities[:, 0])).sum()),
        duplicates=near_duplicates(clips, views, mirrored=mirrored, cache=None if given else FeatureCache()),
        typical=class_examples(clips, read.views, labels),
        curve=curve,
        notes=(*notes, *why),
    )


def _curve(
    experiment: Experiment,
    read: Reading,
    manifest: Manifest,
    usable: frozenset[int],
    groups: int,
    work: Path,
    reporter: Reporter,
) -> tuple[LearningCurve | None, tuple[str, ...]]:
    if groups < _FEWEST_GROUPS:
        return None, (f"There is no learning curve: it takes {_FEWEST_GROUPS} groups, and there are {groups}.",)
    training = read.recipe.training.model_copy(update={"C": read.strength})
    head = read.recipe.head
    if head.fusion == "stacked":  # streams weigh alike: their weights would be fitted to the clips that are tested
        head = head.model_copy(update={"fusion": "late"})
    fixed = experiment.with_recipe(read.recipe.model_copy(update={"training": training, "head": head}))
    try:
        with reporter.stage("learning curve", 100) as stage:

            def advance(done: int, total: int) -> None:
                stage.advance(100 * done // max(1, total), f"{done} of {total} trainings")

            trials = curve_trials(fixed, manifest.clips, usable, seed=read.recipe.seed, out=work, on_progress=advance)
    except DatasetError as error:
        return None, (f"There is no learning curve: {error}.",)
    if len({trial.groups for trial in trials}) < FEWEST_SIZES:
        return None, ("There is no learning curve: too few numbers of groups hold two classes.",)
    return learning_curve(trials, groups=groups, seed=read.recipe.seed), ()


def _strength(run: Path) -> float:
    """Return the median C that the trainings of a run chose; the usual one where they did not."""
    found: list[float] = []
    for file in sorted((run / "folds").glob("*/training.json")):
        streams = json.loads(file.read_text(encoding="utf-8")).get("selection", {}).get("streams", {})
        found += [score["strength"] for score in streams.values() if score["weight"] > 0]
    return statistics.median_low(found) if found else DEFAULT_STRENGTH
