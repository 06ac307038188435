"""Training of the folds of a run: choose the epoch and the temperature, then train the final model."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch

from marey.data import Clip, Split, content_hash, group_or_path
from marey.encoders import PRECOMPUTED, Contract, Features, typical_duration
from marey.errors import DatasetError, VideoError
from marey.evaluation import HeldOut, StreamSelection
from marey.models import ActionModel, Classifier, ModelConfig, average, new_classifier
from marey.training.batches import ClipSet, FeatureSet, clip_set
from marey.training.checkpoint import History, remove_checkpoints
from marey.training.familiarity import held_out_scores, with_familiarity
from marey.training.fixed_parts import FixedParts
from marey.training.fold import FoldResult, fold_seed, member_seed, read_fold, write_fold
from marey.training.held_out import with_held_out
from marey.training.linear import LinearTraining
from marey.training.loop import FitResult, Task, fit
from marey.training.process_group import ProcessGroup
from marey.training.protocol import Protocol, inner_splits
from marey.training.recipe import Recipe
from marey.training.schedule import equal_epochs
from marey.training.stacking import Floats
from marey.training.validation import ValidationOutputs, temperature_of


class Experiment:
    """Clips with their features, and a recipe to train classifiers on them.

    Args:
        clips: all of them, labelled.
        views: one list a reading of the clips, the plain one first: their features, or the error instead.
        labels: names of the classes, in the order of the outputs.
        contract: preprocessing of the features.
        recipe: settings of the training.
        made_with: facts that are written into the models.
        device: "cpu" or "cuda".
        group: processes that train along; each has this experiment, and all but rank 0 call `follow`.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        views: Sequence[Sequence[Features | VideoError]],
        *,
        labels: Sequence[str],
        contract: Contract,
        recipe: Recipe,
        made_with: Mapping[str, Any],
        device: str = "cpu",
        group: ProcessGroup | None = None,
    ) -> None:
        self._group = group
        self._clips = clips
        self._labels = tuple(labels)
        self._contract = contract
        self._recipe = recipe
        self._made_with = dict(made_with)
        self._device = device
        usable = [i for i in range(len(clips)) if not any(isinstance(view[i], VideoError) for view in views)]
        if not usable:
            raise DatasetError(f"none of the {len(clips)} clips can be used; `marey data scan` says why")
        self._clip_seconds = (
            None if contract.encoder.name == PRECOMPUTED else typical_duration([clips[i] for i in usable])
        )
        self._row = {index: row for row, index in enumerate(usable)}
        self._selections: dict[tuple[Split, ...], StreamSelection] = {}
        number = {label: row for row, label in enumerate(self._labels)}
        read = [[_features(view[index]) for index in usable] for view in views]
        self._clip_set = clip_set(
            read, [number[clips[i].label or ""] for i in usable], len(self._labels), contract, recipe.training
        )
        self._fixed = FixedParts(self._clip_set) if isinstance(self._clip_set, FeatureSet) else None

    def with_recipe(self, recipe: Recipe) -> Self:
        """Return an experiment on the same clips and features with another recipe that reads them in the same way."""
        other = copy(self)
        other._recipe, other._selections = recipe, {}
        return other

    def train(self, indices: Sequence[int], *, validation: Sequence[int] = (), seed: int, out: Path) -> FoldResult:
        """Choose the epoch and the temperature on validation clips, then train on all clips.

        A result that is already in `out` is read from there.

        Args:
            indices: the training clips.
            validation: the validation clips; without them, shares of `indices` by group.
            seed: for this training.
            out: folder for its logs and its result.
        """
        if (finished := read_fold(out)) is not None:
            return finished
        splits, notes = self._inner_splits(indices, validation, seed=seed)
        trained_on = self._usable((*indices, *validation))
        if self._recipe.training.solver == "logistic":
            trained = self._train_linear(splits, trained_on, notes)
            write_fold(trained, out)
            return trained
        if not splits:
            fits = self._fit_members(trained_on, seed=seed, out=out)
            trained = self._finish(fits, [each.history for each in fits], fits[0].epochs, 1.0, trained_on, notes)
            trained = self._knowing(trained, trained_on, None)
        else:
            chosen = [
                list(self._fit_each(splits, seed=own, out=place / "choose")) for own, place in self._members(seed, out)
            ]
            by_split = [average([each.classifier for each in fits])[0] for fits in zip(*chosen, strict=True)]
            outputs = [self._outputs(each, split.val) for each, split in zip(by_split, splits, strict=True)]
            temperature = temperature_of(outputs)
            every = [each for fits in chosen for each in fits]
            if self._recipe.training.retrain == "all":
                rates = [each.history["learning_rate"][: each.epochs] for each in every]
                epochs = round(statistics.median(equal_epochs(rate, self._recipe.training) for rate in rates))
                finals = self._fit_members(trained_on, seed=seed, out=out, epochs=epochs)
            else:
                finals, trained_on = [fits[0] for fits in chosen], splits[0].train
                epochs = round(statistics.median(each.epochs for each in finals))
            histories = [each.history for each in every]
            trained = self._finish(finals, histories, epochs, temperature, trained_on, notes)
            held_out = HeldOut.of_logits(
                [row for split in splits for row in self._rows(split.val)],
                [each.logits for each in outputs],
                temperature,
            )
            folds = [(each, *pair) for each, pair in zip(by_split, self._in_rows(splits), strict=True)]
            trained = self._knowing(trained, trained_on, self._scores(folds, held_out), held_out)
        write_fold(trained, out)
        return trained

    def train_on_all(
        self, folds: Sequence[FoldResult], tests: Sequence[Sequence[int]], *, seed: int, out: Path
    ) -> FoldResult:
        """Train the final model of a cross-validation on all clips.

        Epochs and temperature are the medians over the folds, so nothing is left to choose; the answers of the folds
        for their test clips bound its errors. Linear heads are trained as in a fold, with inner folds of all clips.
        """
        if self._recipe.training.solver == "logistic":
            return self.train(tuple(self._row), seed=seed, out=out)  # the choice is cheap, and made on all clips
        if (finished := read_fold(out)) is not None:
            return finished
        epochs = round(statistics.median(fold.epochs for fold in folds))
        temperature = statistics.median(fold.model.config.temperature for fold in folds)
        everything = tuple(self._row)
        finals = self._fit_members(everything, seed=seed, out=out, epochs=epochs)
        known = [fold.model.familiarity.config.threshold for fold in folds if fold.model.familiarity is not None]
        trained = self._finish(finals, [each.history for each in finals], epochs, temperature, everything)
        pairs = [(fold.model, test) for fold, each in zip(folds, tests, strict=True) if (test := self._usable(each))]
        logits = [self._outputs(model.classifier, test).logits / model.config.temperature for model, test in pairs]
        held_out = HeldOut.of_logits([row for _, test in pairs for row in self._rows(test)], logits, 1.0)
        trained = self._knowing(trained, everything, None, held_out, statistics.median(known) if known else None)
        write_fold(trained, out)
        return trained

    def follow(self) -> None:
        """Take part in the trainings of rank 0, until it has no more."""
        assert self._group is not None  # noqa: S101 - nobody to follow
        while (asked := self._group.receive()) is not None:
            self._fit_together(*asked, log_dir=None)

    def cross_validate(self, splits: Sequence[Split], *, seed: int, out: Path) -> Iterator[ValidationOutputs]:
        """Train on each split, and yield the outputs of the best epoch for its validation clips; keep only the logs.

        One seed is trained, also where the model is the average of several.

        Args:
            splits: training and validation clips.
            seed: for each training.
            out: folder for the logs.

        Raises:
            DatasetError: too few clips of a split can be used.
        """
        if self._recipe.training.solver == "logistic":
            yield from self._cross_validate_linear([self._usable_part(split) for split in splits])
            return
        fits = self._fit_each((self._usable_part(split) for split in splits), seed=seed, out=out)
        for number, (split, result) in enumerate(zip(splits, fits, strict=True), start=1):
            remove_checkpoints(out / f"{number:02d}")
            yield self._outputs(result.classifier, self._usable(split.val))

    def needs_more_streams(self, protocol: Protocol, *, seed: int) -> bool:
        """Return whether a fold's inner folds ask for streams beyond those of this experiment's contract.

        Each fold asks by its own training clips; whether it takes what was read for another is again its own choice.
        """
        if set(self._recipe.streams) <= set(self._contract.streams):
            return False
        for number, split in enumerate(protocol.splits):
            splits, _ = self._inner_splits(split.train, split.val, seed=fold_seed(seed, number))
            if not splits or (self._select(splits).accuracy or 0.0) < self._recipe.selection.enough:
                return True
        return False

    def _train_linear(self, splits: Sequence[Split], trained_on: Sequence[int], notes: tuple[str, ...]) -> FoldResult:
        """Choose strengths, streams and temperature on the inner folds, and fit the heads to all training clips."""
        linear = self._linear()
        selection = self._select(splits) if splits else linear.select_untested()
        contract = self._contract
        if selection.taken != tuple(contract.streams) and self._recipe.head.fusion == "stacked":
            streams = {name: contract.streams[name] for name in selection.taken}
            contract = contract.model_copy(update={"streams": streams})
        rows = self._rows(trained_on)
        classifier = linear.finish(self._prepared(rows, contract), rows, selection)
        final = FitResult(classifier, {}, 0)
        trained = self._finish(
            [final], (), 0, selection.temperature, trained_on, notes, contract=contract, selection=selection
        )
        folds = ((self._prepared(train, contract), train, val) for train, val in self._in_rows(splits))
        return self._knowing(trained, trained_on, self._scores(folds, selection.held_out), selection.held_out)

    def _cross_validate_linear(self, splits: Sequence[Split]) -> Iterator[ValidationOutputs]:
        linear = self._linear()
        outputs = linear.outputs(self._in_rows(splits))
        fused, first = linear.fused(outputs, linear.select(outputs)), 0
        for split in splits:
            last = first + len(split.val)
            yield ValidationOutputs(
                torch.from_numpy(fused[first:last]).float(), torch.from_numpy(outputs.labels[first:last])
            )
            first = last

    def _select(self, splits: Sequence[Split]) -> StreamSelection:
        """Choose strengths and streams on inner folds, once: it is asked before the training and by it."""
        key = tuple(splits)
        if key not in self._selections:
            linear = self._linear()
            self._selections[key] = linear.select(linear.outputs(self._in_rows(splits)))
        return self._selections[key]

    def _linear(self) -> LinearTraining:
        assert self._fixed is not None  # noqa: S101 - a recipe for frames has another solver
        pooled = self._fixed.pool(self._new_classifier(self._contract), self._recipe.head)
        return LinearTraining(pooled, self._recipe, lambda rows: self._prepared(rows, self._contract))

    def _prepared(self, rows: Sequence[int], contract: Contract) -> Classifier:
        """Return an untrained classifier, its fixed parts fitted to the clips of some rows."""
        classifier = self._new_classifier(contract)
        assert self._fixed is not None  # noqa: S101 - as above
        self._fixed.fit_normalizer(classifier, self._recipe.head, rows)
        return classifier

    def _new_classifier(self, contract: Contract) -> Classifier:
        return new_classifier(contract, self._recipe.head, len(self._labels))

    def _in_rows(self, splits: Sequence[Split]) -> list[tuple[list[int], list[int]]]:
        return [(self._rows(split.train), self._rows(split.val)) for split in splits]

    def _inner_splits(
        self, indices: Sequence[int], validation: Sequence[int], *, seed: int
    ) -> tuple[list[Split], tuple[str, ...]]:
        """Return the usable training and validation clips of the trainings that choose, and notes."""
        self._require_classes(self._usable(indices))
        training = self._recipe.training
        splits: tuple[Split, ...] = (Split(tuple(indices), tuple(validation), ()),)
        notes: tuple[str, ...] = ()
        if not validation:
            splits, notes = inner_splits(
                self._clips, indices, share=training.validation, folds=training.inner_folds, seed=seed
            )
        usable = [Split(self._usable(split.train), self._usable(split.val), ()) for split in splits]
        return [split for split in usable if split.train and split.val], notes

    def _usable(self, indices: Sequence[int]) -> tuple[int, ...]:
        return tuple(index for index in indices if index in self._row)

    def _usable_part(self, split: Split) -> Split:
        train, validation = self._usable(split.train), self._usable(split.val)
        self._require_classes(train)
        if not validation:
            raise DatasetError(f"none of {len(split.val)} validation clips can be used; `marey data scan` says why")
        return Split(train, validation, ())

    def _require_classes(self, indices: Sequence[int]) -> None:
        if len({self._clips[index].label for index in indices}) < 2:
            raise DatasetError("fewer than two classes are left to train on, once unusable clips are taken out")

    def _rows(self, indices: Sequence[int]) -> list[int]:
        return [self._row[index] for index in indices]

    def _members(self, seed: int, out: Path) -> list[tuple[int, Path]]:
        """Return the seed and the folder of each training whose average is the model; the first has those given."""
        count = self._recipe.seed_count if self._fixed is not None else 1
        folders = [out, *(out / f"seed-{number + 1}" for number in range(1, count))]
        return [(member_seed(seed, number), folder) for number, folder in enumerate(folders)]

    def _fit_members(self, train: Sequence[int], *, seed: int, out: Path, epochs: int | None = None) -> list[FitResult]:
        """Train once with each seed, without validation."""
        each = self._members(seed, out)
        return [self._fit(train, seed=own, log_dir=folder / "fit", epochs=epochs) for own, folder in each]

    def _fit_each(self, splits: Iterable[Split], *, seed: int, out: Path) -> Iterator[FitResult]:
        """Train on each split, with a folder each for the logs."""
        for number, split in enumerate(splits, start=1):
            yield self._fit(split.train, split.val, seed=seed, log_dir=out / f"{number:02d}")

    def _fit(
        self,
        train: Sequence[int],
        validation: Sequence[int] = (),
        *,
        seed: int,
        log_dir: Path,
        epochs: int | None = None,
    ) -> FitResult:
        if self._group is not None:
            self._group.send((train, validation, seed, epochs))
        return self._fit_together(train, validation, seed, epochs, log_dir=log_dir)

    def _fit_together(
        self, train: Sequence[int], validation: Sequence[int], seed: int, epochs: int | None, *, log_dir: Path | None
    ) -> FitResult:
        recipe = self._recipe
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            classifier = self._new_classifier(self._contract)
        clips = evaluated = self._clip_set
        if self._fixed is not None:
            evaluated = self._fixed.pool(classifier, recipe.head)
            self._fixed.fit_normalizer(classifier, recipe.head, self._rows(train))
            clips = clips if recipe.training.changes_frames else evaluated
        if recipe.head.weights != "random":
            classifier.load_pretrained(recipe.head.weights)
        chosen = evaluated.take(self._rows(validation)) if validation else None
        task = Task(classifier, clips.take(self._rows(train)), seed, validation=chosen, epochs=epochs, log_dir=log_dir)
        return fit(task, recipe.training, augmentation=recipe.augment, device=self._device, group=self._group)

    @torch.inference_mode()
    def _outputs(self, classifier: Classifier, indices: Sequence[int]) -> ValidationOutputs:
        clips = self._clip_set.take(self._rows(indices))
        logits = torch.cat([classifier(batch.features, batch.mask) for batch in clips.in_order()])
        return ValidationOutputs(logits, clips.labels)

    def _finish(
        self,
        finals: Sequence[FitResult],
        histories: Sequence[History],
        epochs: int,
        temperature: float,
        trained_on: Sequence[int],
        notes: tuple[str, ...] = (),
        *,
        contract: Contract | None = None,
        selection: StreamSelection | None = None,
    ) -> FoldResult:
        contents = sorted({content_hash(self._clips[index].path) for index in trained_on})
        groups = sorted({group for index in trained_on if (group := self._clips[index].group) is not None})
        config = ModelConfig(
            contract=contract or self._contract,
            head=self._recipe.head,
            seeds=len(finals),
            labels=self._labels,
            temperature=temperature,
            clip_seconds=self._clip_seconds,
            made_with={**self._made_with, "trained_on": contents, "groups": groups},
        )
        classifier, linear = average([each.classifier for each in finals])
        return FoldResult(ActionModel(config, classifier, members=linear), tuple(histories), epochs, notes, selection)

    def _scores(
        self, folds: Iterable[tuple[Classifier, list[int], list[int]]], held_out: HeldOut | None
    ) -> Floats | None:
        """Return the scores of the clips that the inner folds held out; None without inner folds."""
        return None if held_out is None else held_out_scores(folds, self._described_set(), held_out)

    def _knowing(
        self,
        trained: FoldResult,
        trained_on: Sequence[int],
        scores: Floats | None,
        held_out: HeldOut | None = None,
        threshold: float | None = None,
    ) -> FoldResult:
        """Keep descriptions of the training clips with the model, and the answers for those that were held out."""
        groups = [group_or_path(self._clips[index]) for index in trained_on]
        rows, clips = self._rows(trained_on), self._described_set()
        model = with_familiarity(trained.model, clips, rows, groups, scores=scores, threshold=threshold)
        own = list(self._row)
        used = [self._clips[own[row]] for row in held_out.clips] if held_out is not None else []
        return replace(trained, model=with_held_out(model, held_out, self._clip_set.labels, used))

    def _described_set(self) -> ClipSet:
        if self._fixed is None:
            return self._clip_set
        return self._fixed.pool(self._new_classifier(self._contract), self._recipe.head)


def _features(result: Features | VideoError) -> Features:
    if isinstance(result, VideoError):
        raise result
    return result
