"""Questions about the data of a training, answered from cached features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.data import Clip, Leak, Split, content_hash, group_or_path, k_folds
from marey.encoders import FeatureCache, Features, cached_fingerprint
from marey.errors import VideoError
from marey.evaluation import (
    ClassClips,
    NearDuplicate,
    Trial,
    curve_sizes,
    find_near_duplicates,
    typical_and_odd,
)
from marey.training.experiment import Experiment

FOLDS: Final = 5
_DRAWS: Final = 2  # orders in which groups are added, for the learning curve

Views = Sequence[Sequence[Features | VideoError]]
Compared = Callable[[int], npt.NDArray[np.bool_]]


def near_duplicates(
    clips: Sequence[Clip],
    views: Views,
    compared: Compared | None = None,
    *,
    mirrored: bool,
    cache: FeatureCache | None,
) -> tuple[NearDuplicate, ...]:
    """Return the pairs of clips of different groups that show the same scene.

    Args:
        clips: all of them.
        views: one list a reading, the plain one first, the mirrored one second where there is one.
        compared: number of a clip -> bool (N,), those whose copies matter; None for all.
        mirrored: whether the second reading is the mirror image.
        cache: of the frames that confirm a pair; None where there are features and no video.
    """
    usable = [i for i in range(len(clips)) if not any(isinstance(view[i], VideoError) for view in views[:2])]
    if len(usable) < 2:
        return ()
    groups = np.unique([group_or_path(clips[i]) for i in usable], return_inverse=True)[1]

    def others(row: int) -> npt.NDArray[np.bool_]:
        apart: npt.NDArray[np.bool_] = groups != groups[row]
        return apart if compared is None else apart & compared(usable[row])[usable]

    found = find_near_duplicates(
        _stacked(views[0], usable),
        _stacked(views[1], usable) if mirrored and len(views) > 1 else None,
        others,
        None if cache is None else lambda row: cached_fingerprint(clips[usable[row]], cache),
    )
    return tuple(NearDuplicate(usable[p.first], usable[p.second], p.likeness, p.by) for p in found)


def across_splits(count: int, splits: Sequence[Split]) -> Compared:
    """Return a function from a clip to those on the other side of any split, bool (N,)."""
    learnt, tested = (np.zeros((len(splits), count), dtype=bool) for _ in range(2))
    for number, split in enumerate(splits):
        learnt[number, [*split.train, *split.val]] = True
        tested[number, list(split.test)] = True

    def compared(clip: int) -> npt.NDArray[np.bool_]:
        both = np.concatenate([learnt[tested[:, clip]], tested[learnt[:, clip]]])
        found: npt.NDArray[np.bool_] = np.logical_or.reduce(both)
        return found

    return compared


def leaks_of(pairs: Sequence[NearDuplicate], clips: Sequence[Clip], split: Split) -> tuple[Leak, ...]:
    """Return the certain near-duplicates across a split; files of the same bytes are left to `find_leaks`."""
    learnt, tested = {*split.train, *split.val}, set(split.test)
    found = []
    for pair in (pair for pair in pairs if pair.certain):
        for left, right in ((pair.first, pair.second), (pair.second, pair.first)):
            if left in learnt and right in tested and not _same_bytes(clips[left], clips[right]):
                value = f"likeness {pair.likeness:.3f}"
                found.append(Leak("near_duplicate", value, (clips[left].id,), (clips[right].id,)))
    return tuple(found)


def usable_clips(views: Views) -> frozenset[int]:
    """Return the numbers of the clips that could be read in every way."""
    return frozenset(i for i in range(len(views[0])) if not any(isinstance(view[i], VideoError) for view in views))


def class_examples(
    clips: Sequence[Clip], views: Views, labels: Sequence[str], *, shown: int = 2
) -> tuple[ClassClips, ...]:
    """Return typical and odd clips of each class, by the mean of their features over time."""
    plain = views[0]
    usable = [i for i in range(len(clips)) if not isinstance(plain[i], VideoError)]
    if not usable:
        return ()
    target = np.array([labels.index(clips[i].label or "") for i in usable])
    found = typical_and_odd(_stacked(plain, usable).mean(1).numpy(), target, shown=shown)
    return tuple(
        ClassClips(each.label, tuple(usable[i] for i in each.typical), tuple(usable[i] for i in each.odd), each.oddness)
        for each in found
    )


def out_of_fold(
    experiment: Experiment, clips: Sequence[Clip], usable: Set[int], classes: int, *, seed: int, out: Path
) -> npt.NDArray[np.float64]:
    """Return the probabilities of each clip by heads that were not trained on its group, (N, K); NaN without.

    Args:
        experiment: on these clips, with linear heads.
        clips: of two groups or more.
        usable: numbers of those that have features.
        classes: K.
        seed: of the folds.
        out: folder for logs.
    """
    probabilities = np.full((len(clips), classes), np.nan)
    folds = k_folds(clips, min(FOLDS, len({group_or_path(clip) for clip in clips})), seed=seed)
    splits = [Split(fold.train, tuple(i for i in fold.test if i in usable), ()) for fold in folds]
    splits = [split for split in splits if split.val]
    for split, found in zip(splits, experiment.cross_validate(splits, seed=seed, out=out), strict=True):
        probabilities[list(split.val)] = torch.softmax(found.logits.double(), 1).numpy()
    return probabilities


def curve_trials(
    experiment: Experiment,
    clips: Sequence[Clip],
    usable: Set[int],
    *,
    seed: int,
    out: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Trial, ...]:
    """Train on more and more groups, and test on the groups that are left out of all of them.

    A fifth of the groups is left out at a time; the others are added in two random orders, as many as let each
    training hold two classes or more.

    Args:
        experiment: on these clips, with linear heads.
        clips: of at least four groups.
        usable: numbers of those that have features.
        seed: of folds and orders.
        out: folder for logs.
        on_progress: called with the number of trainings done, and of all.
    """
    names = [group_or_path(clip) for clip in clips]
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name, []).append(index)
    folds = k_folds(clips, min(FOLDS, len(groups)), seed=seed)
    jobs: list[tuple[int, Split]] = []
    for number, fold in enumerate(folds):
        learnt = sorted({names[i] for i in fold.train})
        tested = tuple(i for i in fold.test if i in usable)
        for draw in range(_DRAWS):
            order = np.random.default_rng([seed, number, draw]).permutation(learnt).tolist()
            for size in curve_sizes(len(learnt)):
                train = tuple(i for name in order[:size] for i in groups[name] if i in usable)
                if tested and len({clips[i].label for i in train}) > 1:
                    jobs.append((size, Split(train, tested, ())))
    numbers = {name: number for number, name in enumerate(sorted(groups))}
    trials: list[Trial] = []
    for done, (size, split) in enumerate(jobs):
        on_progress(done, len(jobs))
        (found,) = experiment.cross_validate([split], seed=seed, out=out)
        right = (found.logits.argmax(1) == found.labels).numpy()
        by_group: dict[str, list[bool]] = {}
        for index, hit in zip(split.val, right.tolist(), strict=True):
            by_group.setdefault(names[index], []).append(hit)
        trials += [Trial(size, numbers[name], sum(hits), len(hits)) for name, hits in by_group.items()]
    on_progress(len(jobs), len(jobs))
    return tuple(trials)


def _stacked(view: Sequence[Features | VideoError], usable: Sequence[int]) -> Tensor:
    """Return the features of all streams beside each other, (N, T, D)."""
    return torch.stack([_joined(found) for i in usable if not isinstance(found := view[i], VideoError)])


def _joined(features: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([values.float() for values in features.values()], dim=-1)


def _same_bytes(one: Clip, other: Clip) -> bool:
    with suppress(VideoError):
        return content_hash(one.path) == content_hash(other.path)
    return False
