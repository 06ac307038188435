"""Training of the folds of a run: choose the epoch and the temperature, then train the final model."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import Tensor

from marey.data import Clip, Split, content_hash
from marey.encoders import PRECOMPUTED, Contract, Features, typical_duration
from marey.errors import DatasetError, VideoError
from marey.evaluation import StreamSelection, fit_temperature
from marey.models import ActionModel, Classifier, ModelConfig, new_classifier
from marey.training.batches import ClipSet, FeatureSet, FrameSet
from marey.training.checkpoint import CHECKPOINT, History
from marey.training.fold import FoldResult, fold_seed, read_fold, write_fold
from marey.training.linear import LinearTraining
from marey.training.loop import FitResult, Task, fit
from marey.training.protocol import Protocol, inner_splits
from marey.training.recipe import Recipe
from marey.training.schedule import equal_epochs

_NORMALIZERS_KEPT: Final = 64  # each of a megabyte or less


@dataclass(frozen=True, slots=True)
class ValidationOutputs:
    """Outputs of a classifier for clips that it was not trained on.

    Attributes:
        logits: (N, classes).
        labels: (N,), the targets.
    """

    logits: Tensor
    labels: Tensor


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
    ) -> None:
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
        self._normalizers: dict[tuple[tuple[int, ...], str, tuple[str, ...]], dict[str, Tensor]] = {}
        self._selections: dict[tuple[Split, ...], StreamSelection] = {}
        self._pooled: dict[str, FeatureSet] = {}
        number = {label: row for row, label in enumerate(self._labels)}
        read = [[_features(view[index]) for index in usable] for view in views]
        self._clip_set = self._make_set(read, [number[clips[i].label or ""] for i in usable])

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
            final = self._fit(trained_on, seed=seed, log_dir=out / "fit")
            trained = self._finish(final, (final.history,), 1.0, trained_on, notes)
        else:
            chosen = list(self._fit_each(splits, seed=seed, out=out / "choose"))
            temperature = _fit_temperature(
                [self._outputs(each.classifier, split.val) for each, split in zip(chosen, splits, strict=True)]
            )
            if self._recipe.training.retrain == "all":
                rates = [each.history["learning_rate"][: each.epochs] for each in chosen]
                epochs = round(statistics.median(equal_epochs(rate, self._recipe.training) for rate in rates))
                final = self._fit(trained_on, seed=seed, log_dir=out / "fit", epochs=epochs)
            else:
                final, trained_on = chosen[0], splits[0].train
            trained = self._finish(final, tuple(each.history for each in chosen), temperature, trained_on, notes)
        write_fold(trained, out)
        return trained

    def train_on_all(self, folds: Sequence[FoldResult], *, seed: int, out: Path) -> FoldResult:
        """Train the final model of a cross-validation on all clips.

        Epochs and temperature are the medians over the folds, so nothing is left to choose. Linear heads are trained
        as in a fold, with inner folds of all clips.
        """
        if self._recipe.training.solver == "logistic":
            return self.train(tuple(self._row), seed=seed, out=out)  # the choice is cheap, and made on all clips
        if (finished := read_fold(out)) is not None:
            return finished
        epochs = round(statistics.median(fold.epochs for fold in folds))
        temperature = statistics.median(fold.model.config.temperature for fold in folds)
        everything = tuple(self._row)
        final = self._fit(everything, seed=seed, log_dir=out / "fit", epochs=epochs)
        trained = self._finish(final, (final.history,), temperature, everything)
        write_fold(trained, out)
        return trained

    def cross_validate(self, splits: Sequence[Split], *, seed: int, out: Path) -> Iterator[ValidationOutputs]:
        """Train on each split, and yield the outputs of the best epoch for its validation clips; keep only the logs.

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
            (out / f"{number:02d}" / CHECKPOINT).unlink(missing_ok=True)
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
        return self._finish(final, (), selection.temperature, trained_on, notes, contract=contract, selection=selection)

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
        clips = self._clip_set
        assert isinstance(clips, FeatureSet)  # noqa: S101 - a recipe for frames has another solver
        pooled = self._pool(clips, self._new_classifier(self._contract))
        return LinearTraining(pooled, self._recipe, lambda rows: self._prepared(rows, self._contract))

    def _prepared(self, rows: Sequence[int], contract: Contract) -> Classifier:
        """Return an untrained classifier, its fixed parts fitted to the clips of some rows."""
        classifier = self._new_classifier(contract)
        assert isinstance(self._clip_set, FeatureSet)  # noqa: S101 - as above
        self._fit_normalizer(classifier, self._pool(self._clip_set, classifier), rows)
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

    def _make_set(self, read: Sequence[Sequence[Features]], labels: Sequence[int]) -> ClipSet:
        if not self._contract.gives_images:
            return FeatureSet.stack(read, labels, len(self._labels))
        return FrameSet(
            tuple(tuple(view) for view in read),
            torch.tensor(labels, dtype=torch.int64),
            len(self._labels),
            self._contract.sampling.count,
            self._recipe.training.batch_size,
        )

    def _rows(self, indices: Sequence[int]) -> list[int]:
        return [self._row[index] for index in indices]

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
        recipe = self._recipe
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            classifier = self._new_classifier(self._contract)
        clips = evaluated = self._clip_set
        if isinstance(clips, FeatureSet):
            evaluated = self._pool(clips, classifier)
            self._fit_normalizer(classifier, evaluated, self._rows(train))
            clips = clips if recipe.training.changes_frames else evaluated
        if recipe.head.weights != "random":
            classifier.load_pretrained(recipe.head.weights)
        chosen = evaluated.take(self._rows(validation)) if validation else None
        task = Task(classifier, clips.take(self._rows(train)), seed, validation=chosen, epochs=epochs, log_dir=log_dir)
        return fit(task, recipe.training, augmentation=recipe.augment, device=self._device)

    def _pool(self, clips: FeatureSet, classifier: Classifier) -> FeatureSet:
        """Return all clips pooled as by this head: training does not change it, and it takes half of a fold's time."""
        key = self._head_key()
        if key not in self._pooled:
            self._pooled.clear()  # two of them need not fit into memory
            self._pooled[key] = clips.pooled(classifier)
        return self._pooled[key]

    def _fit_normalizer(self, classifier: Classifier, pooled: FeatureSet, rows: Sequence[int]) -> None:
        """Fit the normalization to the training clips, once for all recipes of that head and these streams."""
        key = tuple(rows), self._head_key(), classifier.streams
        if key in self._normalizers:
            for name, buffer in classifier.named_buffers():
                buffer.copy_(self._normalizers[key][name])
            return
        classifier.fit_normalizer(pooled.take(rows).all_views())
        if len(self._normalizers) == _NORMALIZERS_KEPT:
            del self._normalizers[next(iter(self._normalizers))]
        self._normalizers[key] = {name: buffer.clone() for name, buffer in classifier.named_buffers()}

    def _head_key(self) -> str:
        """Return a key of all that decides a head before it is trained."""
        head = self._recipe.head.model_dump(mode="json")
        head["options"].pop("dropout", None)  # it has no state
        return json.dumps(head, sort_keys=True)

    @torch.inference_mode()
    def _outputs(self, classifier: Classifier, indices: Sequence[int]) -> ValidationOutputs:
        clips = self._clip_set.take(self._rows(indices))
        logits = torch.cat([classifier(batch.features, batch.mask) for batch in clips.in_order()])
        return ValidationOutputs(logits, clips.labels)

    def _finish(
        self,
        final: FitResult,
        histories: tuple[History, ...],
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
            labels=self._labels,
            temperature=temperature,
            clip_seconds=self._clip_seconds,
            made_with={**self._made_with, "trained_on": contents, "groups": groups},
        )
        return FoldResult(ActionModel(config, final.classifier), histories, final.epochs, notes, selection)


def run_protocol(
    experiment: Experiment, protocol: Protocol, *, seed: int, out: Path, on_fold: Callable[[int, int], None]
) -> tuple[list[FoldResult], FoldResult]:
    """Train every split of a protocol.

    Args:
        experiment: clips, features and recipe.
        protocol: the splits.
        seed: for the run; the seeds of the folds are drawn from it.
        out: the run's folder; results of folds that are already there are read from it.
        on_fold: called with the number of folds done, and of all, before each and at the end.

    Returns:
        The model of each split, and the final model: that of the only split, or one trained on all clips.
    """
    folds = []
    steps = len(protocol.splits) + protocol.pooled
    for number, split in enumerate(protocol.splits):
        on_fold(number, steps)
        folder = out / "folds" / f"{number + 1:02d}"
        folds.append(experiment.train(split.train, validation=split.val, seed=fold_seed(seed, number), out=folder))
    final = folds[0]
    if protocol.pooled:
        on_fold(len(folds), steps)
        final = experiment.train_on_all(folds, seed=seed, out=out / "folds" / "all")
    on_fold(steps, steps)
    return folds, final


def _features(result: Features | VideoError) -> Features:
    if isinstance(result, VideoError):
        raise result
    return result


def _fit_temperature(outputs: Sequence[ValidationOutputs]) -> float:
    """Fit one temperature to all validation clips, each classified by a model that was not trained on it."""
    logits, labels = torch.cat([each.logits for each in outputs]), torch.cat([each.labels for each in outputs])
    return fit_temperature(logits.numpy(), labels.numpy())
