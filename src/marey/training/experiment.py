"""The folds of a run: choose an epoch, train, test; then the model that is handed over."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from torch import Tensor

from marey.atomic import write_whole
from marey.data import Clip, Split, content_hash
from marey.encoders import GIVEN, Contract, Features, typical_duration
from marey.errors import DatasetError, VideoError
from marey.evaluation import fit_temperature
from marey.models import ActionModel, Classifier, ModelConfig, load_model, new_classifier, save_model
from marey.training.batches import ClipSet, FeatureSet, PictureSet
from marey.training.checkpoint import CHECKPOINT
from marey.training.fit import Fit, Task, fit_many
from marey.training.logs import History
from marey.training.protocol import Protocol, validations_of
from marey.training.recipe import Recipe
from marey.training.schedule import equal_epochs

_PREPARED: Final = 64  # heads, each of a megabyte or less, of which the fixed part is remembered


@dataclass(frozen=True)
class Trained:
    """A model, and how it came to be.

    Attributes:
        model: ready to predict.
        histories: of the trainings that chose the epoch, one a round, or of the only one.
        epochs: for how many it was trained.
        notes: what had to differ from the recipe, a sentence each.
    """

    model: ActionModel
    histories: tuple[History, ...]
    epochs: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a classifier says of clips that it was not trained on.

    Attributes:
        logits: (N, classes).
        labels: (N,), the right ones.
    """

    logits: Tensor
    labels: Tensor


class Experiment:
    """Clips with their features, and a recipe to train heads on them.

    Args:
        clips: all of them, labelled.
        views: one list a reading of the clips, the plain one first: their features, or why there are none.
        labels: names of the classes, in the order of the outputs.
        contract: how the features were made.
        recipe: how heads are trained.
        made_with: what the models shall say of their making.
        device: where heads are trained.
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
        usable = [
            index for index in range(len(clips)) if not any(isinstance(view[index], VideoError) for view in views)
        ]
        if not usable:
            raise DatasetError(f"none of the {len(clips)} clips can be used; `marey data scan` says why")
        self._clip_seconds = None if contract.encoder.name == GIVEN else typical_duration([clips[i] for i in usable])
        self._place = {index: place for place, index in enumerate(usable)}
        self._prepared: dict[tuple[tuple[int, ...], str], dict[str, Tensor]] = {}
        self._condensed: dict[str, FeatureSet] = {}
        number = {label: place for place, label in enumerate(self._labels)}
        read = [[_features(view[index]) for index in usable] for view in views]
        self._read = self._clip_set(read, [number[clips[index].label or ""] for index in usable])

    def with_recipe(self, recipe: Recipe) -> Self:
        """The same clips and features, and another recipe that reads them in the same way."""
        other = copy(self)
        other._recipe = recipe
        return other

    def train(self, indices: Sequence[int], *, validation: Sequence[int] = (), seed: int, out: Path) -> Trained:
        """Choose the epoch and the temperature on validation clips, then train on all that is given.

        A result that is already in `out` is taken from there.

        Args:
            indices: the clips to train on.
            validation: the clips to choose by; shares of `indices`, by group, where there are none.
            seed: of this training.
            out: folder for its logs and its result.
        """
        if (out / "model").is_dir() and (out / "training.json").is_file():
            return _read(out)
        rounds, notes = self._rounds(indices, validation, seed=seed)
        learnt_from = self._usable((*indices, *validation))
        if not rounds:
            final = self._fit(learnt_from, seed=seed, log_dir=out / "fit")
            trained = self._finish(final, (final.history,), 1.0, learnt_from, notes)
        else:
            chosen = list(self._fit_each(rounds, seed=seed, out=out / "choose"))
            temperature = _temperature(
                [self._held_out(fit.classifier, split.val) for fit, split in zip(chosen, rounds, strict=True)]
            )
            if self._recipe.training.refit == "all":
                rates = [fit.history["learning_rate"][: fit.epochs] for fit in chosen]
                epochs = round(statistics.median(equal_epochs(rate, self._recipe.training) for rate in rates))
                final = self._fit(learnt_from, seed=seed, log_dir=out / "fit", epochs=epochs)
            else:
                final, learnt_from = chosen[0], rounds[0].train
            trained = self._finish(final, tuple(fit.history for fit in chosen), temperature, learnt_from, notes)
        _write(trained, out)
        return trained

    def train_on_all(self, folds: Sequence[Trained], *, seed: int, out: Path) -> Trained:
        """The model that is handed over after cross-validation: trained on every clip.

        Epochs and temperature are the medians over the folds, so that nothing is left to choose.
        """
        if (out / "model").is_dir() and (out / "training.json").is_file():
            return _read(out)
        epochs = round(statistics.median(fold.epochs for fold in folds))
        temperature = statistics.median(fold.model.config.temperature for fold in folds)
        everything = tuple(self._place)
        final = self._fit(everything, seed=seed, log_dir=out / "fit", epochs=epochs)
        trained = self._finish(final, (final.history,), temperature, everything)
        _write(trained, out)
        return trained

    def cross_validate(self, splits: Sequence[Split], *, seed: int, out: Path) -> Iterator[HeldOut]:
        """Train on each split, and hand on what the best epoch says of its validation clips; nothing is kept.

        Those that are trained together are through together.

        Args:
            splits: what is trained on, and validated on.
            seed: of each training.
            out: folder for the logs.

        Raises:
            DatasetError: too few clips of a split can be used.
        """
        fits = self._fit_each((self._usable_part(split) for split in splits), seed=seed, out=out)
        for number, (split, found) in enumerate(zip(splits, fits, strict=True), start=1):
            (out / f"{number:02d}" / CHECKPOINT).unlink(missing_ok=True)
            yield self._held_out(found.classifier, self._usable(split.val))

    def _rounds(
        self, indices: Sequence[int], validation: Sequence[int], *, seed: int
    ) -> tuple[list[Split], tuple[str, ...]]:
        """What is trained on, and validated on, to choose: usable clips only."""
        self._require_classes(self._usable(indices))
        training = self._recipe.training
        found: tuple[Split, ...] = (Split(tuple(indices), tuple(validation), ()),)
        notes: tuple[str, ...] = ()
        if not validation:
            found, notes = validations_of(
                self._clips, indices, share=training.validation, rounds=training.rounds, seed=seed
            )
        usable = [Split(self._usable(split.train), self._usable(split.val), ()) for split in found]
        return [split for split in usable if split.train and split.val], notes

    def _usable(self, indices: Sequence[int]) -> tuple[int, ...]:
        return tuple(index for index in indices if index in self._place)

    def _usable_part(self, split: Split) -> Split:
        train, validation = self._usable(split.train), self._usable(split.val)
        self._require_classes(train)
        if not validation:
            raise DatasetError(f"none of {len(split.val)} validation clips can be used; `marey data scan` says why")
        return Split(train, validation, ())

    def _require_classes(self, indices: Sequence[int]) -> None:
        if len({self._clips[index].label for index in indices}) < 2:
            raise DatasetError("fewer than two classes are left to train on, once unusable clips are taken out")

    def _clip_set(self, read: Sequence[Sequence[Features]], labels: Sequence[int]) -> ClipSet:
        if not self._contract.gives_pictures:
            return FeatureSet.stack(read, labels, len(self._labels))
        return PictureSet(
            tuple(tuple(view) for view in read),
            torch.tensor(labels, dtype=torch.int64),
            len(self._labels),
            self._contract.sampling.count,
            self._recipe.training.batch_size,
        )

    def _set(self, indices: Sequence[int]) -> ClipSet:
        return self._read.take(self._places(indices))

    def _places(self, indices: Sequence[int]) -> list[int]:
        return [self._place[index] for index in indices]

    def _fit_each(self, splits: Iterable[Split], *, seed: int, out: Path) -> Iterator[Fit]:
        """Train on each split, several at once where that can be; a folder each for the logs."""
        return self._fits(
            self._task(split.train, split.val, seed=seed, log_dir=out / f"{number:02d}")
            for number, split in enumerate(splits, start=1)
        )

    def _fit(self, train: Sequence[int], *, seed: int, log_dir: Path, epochs: int | None = None) -> Fit:
        (found,) = self._fits([self._task(train, (), seed=seed, log_dir=log_dir, epochs=epochs)])
        return found

    def _fits(self, tasks: Iterable[Task]) -> Iterator[Fit]:
        recipe = self._recipe
        return fit_many(tasks, recipe.training, augmentation=recipe.augment, device=self._device)

    def _task(
        self,
        train: Sequence[int],
        validation: Sequence[int],
        *,
        seed: int,
        log_dir: Path,
        epochs: int | None = None,
    ) -> Task:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            classifier = new_classifier(self._contract, self._recipe.head, len(self._labels))
        clips = self._set(train)
        held_out = self._set(validation) if validation else None
        if isinstance(self._read, FeatureSet):
            condensed = self._condense(self._read, classifier)
            known = condensed.take(self._places(train))
            self._prepare(classifier, known, train)
            clips = clips if self._recipe.training.changes_frames else known
            held_out = condensed.take(self._places(validation)) if validation else None
        if self._recipe.head.weights != "random":
            classifier.load_pretrained(self._recipe.head.weights)
        return Task(classifier, clips, seed, validation=held_out, epochs=epochs, log_dir=log_dir)

    def _condense(self, clips: FeatureSet, classifier: Classifier) -> FeatureSet:
        """All clips as heads like these condense them, which no training changes: anew it is half of a fold's time."""
        key = self._head_key()
        if key not in self._condensed:
            self._condensed.clear()  # two of them need not fit into memory
            self._condensed[key] = clips.condensed(classifier)
        return self._condensed[key]

    def _prepare(self, classifier: Classifier, clips: FeatureSet, train: Sequence[int]) -> None:
        """Learn what is fixed from the training clips, once for all recipes of that head."""
        key = tuple(train), self._head_key()
        if key in self._prepared:
            for name, buffer in classifier.named_buffers():
                buffer.copy_(self._prepared[key][name])
            return
        classifier.prepare_condensed(clips.all_views())
        if len(self._prepared) == _PREPARED:
            del self._prepared[next(iter(self._prepared))]
        self._prepared[key] = {name: buffer.clone() for name, buffer in classifier.named_buffers()}

    def _head_key(self) -> str:
        """What heads have in common before they are trained."""
        head = self._recipe.head.model_dump(mode="json")
        head["options"].pop("dropout", None)  # it leaves nothing behind
        return json.dumps(head, sort_keys=True)

    @torch.inference_mode()
    def _held_out(self, classifier: Classifier, indices: Sequence[int]) -> HeldOut:
        clips = self._set(indices)
        return HeldOut(torch.cat([classifier(batch.features, batch.mask) for batch in clips.plain()]), clips.labels)

    def _finish(
        self,
        final: Fit,
        histories: tuple[History, ...],
        temperature: float,
        trained_on: Sequence[int],
        notes: tuple[str, ...] = (),
    ) -> Trained:
        contents = sorted({content_hash(self._clips[index].path) for index in trained_on})
        groups = sorted({group for index in trained_on if (group := self._clips[index].group) is not None})
        config = ModelConfig(
            contract=self._contract,
            head=self._recipe.head,
            labels=self._labels,
            temperature=temperature,
            clip_seconds=self._clip_seconds,
            made_with={**self._made_with, "trained_on": contents, "groups": groups},
        )
        return Trained(ActionModel(config, final.classifier), histories, final.epochs, notes)


def run_protocol(
    experiment: Experiment, protocol: Protocol, *, seed: int, out: Path, on_fold: Callable[[int, int], None]
) -> tuple[list[Trained], Trained]:
    """Train every split of a protocol.

    Args:
        experiment: clips, features and recipe.
        protocol: the splits.
        seed: of the run; each fold takes its own from it.
        out: the run's folder; results of folds that are already there are taken from it.
        on_fold: called with the number of folds done, and of all, before each and at the end.

    Returns:
        What each split gave, and the model that is handed over: the single split's own, or one trained on all.
    """
    folds = []
    steps = len(protocol.splits) + protocol.pooled
    for number, split in enumerate(protocol.splits):
        on_fold(number, steps)
        fold_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) % 2**31
        folder = out / "folds" / f"{number + 1:02d}"
        folds.append(experiment.train(split.train, validation=split.val, seed=fold_seed, out=folder))
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


def _temperature(rounds: Sequence[HeldOut]) -> float:
    """One temperature for the clips of all rounds, each seen by the classifier that did not train on it."""
    logits, labels = torch.cat([each.logits for each in rounds]), torch.cat([each.labels for each in rounds])
    return fit_temperature(logits.numpy(), labels.numpy())


def _write(trained: Trained, out: Path) -> None:
    save_model(trained.model, out / "model")
    values = {"epochs": trained.epochs, "notes": trained.notes, "histories": trained.histories}
    write_whole(out / "training.json", json.dumps(values, indent=1) + "\n", alone=True)
    for checkpoint in out.rglob(CHECKPOINT):
        checkpoint.unlink()  # until here an interrupted run goes on from them


def _read(out: Path) -> Trained:
    values = json.loads((out / "training.json").read_text(encoding="utf-8"))
    return Trained(load_model(out / "model"), tuple(values["histories"]), values["epochs"], tuple(values["notes"]))
