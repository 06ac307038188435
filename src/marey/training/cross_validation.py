"""Training of all folds of a run, and of the model that is handed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from marey.training.experiment import Experiment
from marey.training.fold import FoldResult, fold_seed
from marey.training.protocol import Protocol


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
        tests = [split.test for split in protocol.splits]
        final = experiment.train_on_all(folds, tests, seed=seed, out=out / "folds" / "all")
    on_fold(steps, steps)
    return folds, final
