"""Hyperparameter search: trials on validation clips, kept in a database."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import torch
from filelock import FileLock, Timeout

from marey.data import Clip, Split, group_or_path, k_folds, leave_one_group_out
from marey.errors import MareyError, UsageError, first_line
from marey.evaluation import macro_f1_of
from marey.models import head_options
from marey.training.batches import count_predictions
from marey.training.experiment import Experiment
from marey.training.recipe import Domain, Recipe
from marey.training.search import applicable, changed, grid_of, is_whole
from marey.training.tune_storage import (
    REASON,
    Places,
    SharedStorage,
    close_storage,
    open_storage,
    quiet_optuna,
    require_optuna,
    signs_of_life,
)

if TYPE_CHECKING:
    import optuna

Sampler = Literal["tpe", "random", "grid"]
State = Literal["complete", "pruned", "failed", "running"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)

FOLDS: Final = 5
_NAME: Final = "marey"
_STARTUP: Final = 5  # trials before any is pruned
_IDENTITY: Final = "identity"
_TESTED: Final = "tested"


@dataclass(frozen=True, slots=True)
class Trial:
    """Values that were tried.

    Attributes:
        number: in the order of the trials.
        state: "complete"; "pruned" when it was stopped early; "failed" when it raised an error or was killed.
        parameters: dotted key to value.
        score: macro-F1 on the validation clips; on those of the folds so far, when it was pruned.
        reason: the error of a failed trial.
    """

    number: int
    state: State
    parameters: dict[str, Any]
    score: float | None
    reason: str | None


def validation_folds(
    clips: Sequence[Clip], *, validation: Sequence[int], folds: str | None, seed: int
) -> tuple[Split, ...]:
    """Return the splits that trials are trained and scored on.

    Args:
        clips: the training part, and the validation part where the data has one; no clip that is tested on.
        validation: indices of the latter.
        folds: "group" for each group once, a number for so many parts of whole groups; by default the data's own
            validation part, and five where there is none.
        seed: for the random choice.

    Raises:
        UsageError: `folds` is neither.
        DatasetError: the clips cannot be split so.
    """
    if folds is None and validation:
        held_out = set(validation)
        return (Split(tuple(i for i in range(len(clips)) if i not in held_out), tuple(validation), ()),)
    if folds == "group":
        found = leave_one_group_out(clips)
    elif folds is None:
        found = k_folds(clips, max(2, min(FOLDS, len({group_or_path(clip) for clip in clips}))), seed=seed)
    else:
        try:
            number = int(folds)
        except ValueError:
            raise UsageError(f"folds='{folds}' is neither 'group' nor a number; write --folds 5") from None
        found = k_folds(clips, number, seed=seed)
    return tuple(Split(fold.train, fold.test, ()) for fold in found)


def scores(experiment: Experiment, splits: Sequence[Split], *, seed: int, out: Path) -> Iterator[float]:
    """Train on each split in turn, and yield after each the macro-F1 on all validation clips so far.

    Args:
        experiment: clips with their features, and the recipe that is tried on them.
        splits: training and validation clips.
        seed: for each training; the same for all recipes, so that randomness favours none.
        out: folder for the logs.
    """
    counts = np.zeros(())
    for outputs in experiment.cross_validate(splits, seed=seed, out=out):
        counts = counts + count_predictions(outputs.logits, outputs.labels)
        yield float(macro_f1_of(*counts))


class Study:
    """Trials of a search, in a database that outlives the process.

    The next trial depends only on the finished trials and on the seed: a search that was killed goes on as if it had
    not been. Where several processes share the database, it also depends on who is faster.

    Args:
        storage: an SQLite file, which this process uses alone; or a database that processes share, see `SharedStorage`.
        recipe: the recipe with its search space.
        identity: facts that must be the same to continue a search; name to value.
        sampler: "tpe" (Bergstra et al. 2011), "random", or "grid".
        seed: for the sampler.

    Raises:
        UsageError: Optuna is not installed, there is nothing to search, or the database holds another search.
    """

    def __init__(
        self,
        storage: Path | SharedStorage,
        recipe: Recipe,
        *,
        identity: Mapping[str, str],
        sampler: Sampler,
        seed: int,
    ) -> None:
        optuna = require_optuna()
        from sqlalchemy.exc import SQLAlchemyError

        if sampler not in SAMPLERS:
            raise UsageError(f"sampler='{sampler}' is none of {', '.join(SAMPLERS)}")
        self._recipe = recipe
        self._space = applicable(recipe)
        if not self._space:
            raise UsageError(
                f"the recipe '{recipe.name}' does not say what to search; give it a key 'search', as in\n"
                "search:\n  training.learning_rate: {low: 0.0001, high: 0.01, log: true}"
            )
        self._whole = {key for key, domain in self._space.items() if domain.choices is None and is_whole(recipe, key)}
        self._sampler: Sampler = sampler
        self._seed = seed
        self._grid = self._grid_points() if sampler == "grid" else []
        shared = isinstance(storage, SharedStorage)
        try:
            with quiet_optuna():
                self._storage = open_storage(storage)
                self._study = optuna.create_study(
                    storage=self._storage,
                    study_name=_NAME,
                    direction="maximize",
                    pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=1),
                    load_if_exists=True,
                )
        except (SQLAlchemyError, ValueError, KeyError, OSError) as error:
            raise UsageError(
                f"{storage} is no study ({first_line(getattr(error, 'orig', None) or error)}); remove it, or choose "
                "another --out" + (" or --storage" if shared else "")
            ) from error
        before = self._study.user_attrs.get(_IDENTITY)
        different = [name for name, value in identity.items() if before is not None and before.get(name) != value]
        if different:
            self.close()
            raise UsageError(
                f"{storage} holds a search that differs in its {' and '.join(different)}; choose another --out"
                + (" or --storage" if shared else "")
            )
        self._study.set_user_attr(_IDENTITY, dict(identity))
        self._places = Places(self._study)
        if not shared:
            for trial in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
                self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def close(self) -> None:
        """Close the database."""
        close_storage(self._storage)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Return all trials, failed ones included."""
        return tuple(self._read(trial) for trial in self._study.get_trials(deepcopy=False))

    @property
    def done(self) -> int:
        """Return the number of finished trials; one that was killed is not finished, and is tried again."""
        return sum(trial.state in ("complete", "pruned") or trial.reason is not None for trial in self.trials)

    @property
    def size(self) -> int | None:
        """Return the number of trials of a grid; None for other samplers."""
        return len(self._grid) if self._sampler == "grid" else None

    @property
    def best(self) -> Trial | None:
        """Return the complete trial of the highest score, the earliest of equals."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return max(complete, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)

    @property
    def tested(self) -> tuple[int, ...]:
        """Return the trials whose values were tested on the test part, in the order of the tests."""
        return tuple(self._study.user_attrs.get(_TESTED, ()))

    def note_test(self, trial: Trial) -> None:
        """Record that the values of a trial were tested on the test part."""
        if trial.number not in self.tested:
            self._study.set_user_attr(_TESTED, [*self.tested, trial.number])

    def run(self, score: Callable[[Recipe, int], Iterator[float]]) -> Trial:
        """Try the next values.

        Args:
            score: function of a recipe and the number of the trial that yields the score after each fold.
        """
        with quiet_optuna():
            return self._try(score, self._study.ask(), place=self.done)

    def run_shared(self, score: Callable[[Recipe, int], Iterator[float]], *, wanted: int) -> Trial | None:
        """Try the next values of a search that several processes share.

        Args:
            score: as that of `run`.
            wanted: number of trials in all.

        Returns:
            The trial; None where other processes are at work on all that are left.
        """
        with quiet_optuna():
            begun = self._places.take(wanted)
            if begun is None:
                return None
            trial, place = begun
            with signs_of_life(trial):
                return self._try(score, trial, place=place)

    def _try(self, score: Callable[[Recipe, int], Iterator[float]], trial: optuna.Trial, *, place: int) -> Trial:
        states = require_optuna().trial.TrialState
        # One that is late, and was taken for dead, is finished already.
        tell = partial(self._study.tell, trial, skip_if_finished=True)
        self._study.sampler = self._sampler_at(place)
        value = float("nan")
        try:
            recipe = self.recipe_of({key: self._suggest(trial, key) for key in self._space})
            for step, value in enumerate(score(recipe, trial.number)):
                trial.report(value, step)
                if trial.should_prune():
                    tell(state=states.PRUNED)
                    break
            else:
                tell(value)
        except (MareyError, ValueError, torch.OutOfMemoryError) as error:
            trial.set_user_attr(REASON, " ".join(str(error).split()))
            tell(state=states.FAIL)
        except KeyboardInterrupt:
            tell(state=states.FAIL)
            raise
        done: int = trial.number
        return self.trials[done]

    def recipe_of(self, parameters: Mapping[str, Any]) -> Recipe:
        """Return the recipe with the values of a trial."""
        return Recipe.model_validate(changed(self._recipe.model_dump(mode="json"), parameters))

    def importances(self) -> dict[str, float]:
        """Return the share of the score's variance that each key explains, the largest first; empty when unknown.

        Functional ANOVA on a random forest (Hutter, Hoos and Leyton-Brown 2014), over the complete trials.
        """
        optuna = require_optuna()
        scores = {trial.score for trial in self.trials if trial.state == "complete"}
        found: dict[str, float] = {}
        if len(scores) < 2:
            return found
        with quiet_optuna(), suppress(RuntimeError):  # a forest of few trials may see equal scores alone: no variance
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._seed)
            found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def _suggest(self, trial: optuna.Trial, key: str) -> Any:
        domain = self._space[key]
        if domain.choices is not None:
            return domain.named[trial.suggest_categorical(key, tuple(domain.named))]
        low, high = domain.span
        if key in self._whole:
            return trial.suggest_int(key, int(low), int(high), step=int(domain.step or 1), log=domain.log)
        return trial.suggest_float(key, low, high, step=domain.step, log=domain.log)

    def _sampler_at(self, index: int) -> optuna.samplers.BaseSampler:
        """Return a sampler for one trial alone, so that no state is lost with the process."""
        samplers = require_optuna().samplers
        drawn = int(np.random.SeedSequence([self._seed, index]).generate_state(1)[0])
        fixed: dict[str, Any] | None = None
        if self._sampler == "grid":
            fixed = self._grid[index]
        elif index == 0:
            fixed = self._own()
        chosen: optuna.samplers.BaseSampler
        chosen = samplers.TPESampler(seed=drawn) if self._sampler == "tpe" else samplers.RandomSampler(seed=drawn)
        if fixed is not None:
            chosen = samplers.PartialFixedSampler(fixed, samplers.RandomSampler(seed=drawn))
        return chosen

    def _own(self) -> dict[str, Any] | None:
        """Return the values of the recipe itself, which are tried first; None when one is outside the space."""
        values = self._recipe.model_dump(mode="json")
        head = values["head"]
        head["options"] = {**head_options(head["name"]), **head["options"]}
        found = {}
        for key, domain in self._space.items():
            here: Any = values
            for part in key.split("."):
                here = here.get(part) if isinstance(here, dict) else None
            name = _name_of(here, domain)
            if name is None:
                return None
            found[key] = name[0]
        return found

    def _grid_points(self) -> list[dict[str, Any]]:
        """Return the points of the grid in a random order, so that the first ones cover all of it."""
        values = [grid_of(domain, whole=key in self._whole) for key, domain in self._space.items()]
        points = [dict(zip(self._space, point, strict=True)) for point in itertools.product(*values)]
        order = np.random.default_rng(self._seed).permutation(len(points))
        return [points[place] for place in order]

    def _read(self, trial: optuna.trial.FrozenTrial) -> Trial:
        states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        score = trial.value
        if score is None and trial.intermediate_values:
            score = trial.intermediate_values[max(trial.intermediate_values)]
        parameters = {
            key: self._space[key].named[value] if self._space[key].choices is not None else value
            for key, value in trial.params.items()
        }
        state: State = states.get(trial.state.name, "running")
        return Trial(trial.number, state, parameters, score, trial.user_attrs.get(REASON))


@contextmanager
def sole_use(path: Path) -> Iterator[None]:
    """Hold a lock that the system releases when this process ends, however it ends.

    Args:
        path: the lock file, made where there is none.

    Raises:
        UsageError: another process holds it.
    """
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except (Timeout, OSError) as error:
        reason = "its lock is held" if isinstance(error, Timeout) else error
        raise UsageError(f"another search is at work in {path.parent} ({reason}); wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def _name_of(value: Any, domain: Domain) -> tuple[Any] | None:
    """Return the name of a value in its domain as a tuple of one; None when it is outside."""
    if domain.choices is not None:
        plain = tuple(value) if isinstance(value, list) else value
        names = [name for name, choice in domain.named.items() if choice == plain]
        return (names[0],) if names else None
    low, high = domain.span
    if not isinstance(value, int | float) or not low <= value <= high:
        return None
    steps = (value - low) / domain.step if domain.step is not None else 0.0
    return (value,) if abs(steps - round(steps)) < 1e-9 else None
