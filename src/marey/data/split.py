"""Splits into clips for training, validation and testing, with every group in one part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from marey.data.clip import Clip, Part, group_or_path
from marey.data.text import join_first, natural_key
from marey.errors import DatasetError, UsageError

SplitBy = Literal["group", "clip"]
"""The unit that a split does not divide."""

_SHARE_TOLERANCE = 0.05
_SWEEPS = 10  # the search below converges in two or three


@dataclass(frozen=True)
class Split:
    """The parts of a data set, as indices into its clips.

    Attributes:
        train: the clips for training.
        val: the clips for validation.
        test: the clips for testing.
        notes: deviations from the request, one sentence each.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    notes: tuple[str, ...] = ()


def holdout(clips: Sequence[Clip], *, test: float, val: float = 0.0, seed: int, by: SplitBy = "group") -> Split:
    """Split groups into training, test and validation parts, with every class in each part if its groups allow it.

    A split by clip reproduces the numbers of earlier work: clips of one group end up in several parts, which
    `find_leaks` reports.

    Args:
        clips: labelled clips.
        test: share of the clips for testing; it may be 0 if `val` is not.
        val: share of the clips for validation.
        seed: seed of the random generator.
        by: whether to keep groups whole, or to draw single clips.

    Raises:
        UsageError: the shares leave nothing for training, or nothing for testing and validation.
        DatasetError: there is one class, one clip per class, too few groups, or no class with two groups.
    """
    if not (0 <= test < 1 and 0 <= val < 1 and 0 < test + val < 1):
        raise UsageError(
            f"the shares are {test:g} for test and {val:g} for validation: each has to be at least 0, and "
            "their sum between 0 and 1"
        )
    shares: dict[Part, float] = {"train": 1 - test - val, "test": test, "val": val}
    shares = {part: share for part, share in shares.items() if share > 0}
    groups = _Groups(clips if by == "group" else [replace(clip, group=clip.id) for clip in clips])
    groups.require(len(shares), f"{len(shares)} parts ({', '.join(shares)})")
    single = groups.holders < 2  # a class with one group can be trained on, but not tested
    parts = _assign(
        groups.counts,
        np.array(list(shares.values())),
        np.random.default_rng(seed),
        first=np.any(groups.counts[:, single] > 0, axis=1),
    )
    members = {part: groups.members(parts == number) for number, part in enumerate(shares)}
    for part in shares:
        if not members[part]:
            raise DatasetError(f"no groups are left for {part}: {_too_few_groups(groups)}")
    notes = [
        f"{part} has {given:.0%} of the clips and not {share:.0%}: groups stay whole"
        for part, share in shares.items()
        if abs((given := len(members[part]) / len(clips)) - share) > _SHARE_TOLERANCE
    ]
    notes += [
        f"{part} has no clip of {join_first(absent)}: too few groups"
        for part in shares
        if (absent := groups.labels_outside(members[part]))
    ]
    return Split(members["train"], members.get("val", ()), members.get("test", ()), tuple(notes))


def k_folds(clips: Sequence[Clip], k: int, *, seed: int) -> list[Split]:
    """Cut the clips into `k` folds of whole groups, similar in size and classes; each is the test part once.

    Raises:
        UsageError: fewer than two folds.
        DatasetError: there is one class, one clip per class, fewer groups than folds, or no class with two groups.
    """
    if k < 2:
        raise UsageError(f"{k} folds: at least 2 are needed, one to test on and one to train on")
    groups = _Groups(clips)
    groups.require(k, f"{k} folds")
    parts = _assign(groups.counts, np.full(k, 1 / k), np.random.default_rng(seed))
    return [groups.fold(parts == fold) for fold in range(k)]


def leave_one_group_out(clips: Sequence[Clip]) -> list[Split]:
    """Test on each group once, and train on all others; the folds are in the natural order of the groups.

    Raises:
        DatasetError: no groups are known, or there is only one group or class.
    """
    if all(clip.group is None for clip in clips):
        raise DatasetError(
            f"no groups are known, so that leaving one out would train once for each of {len(clips)} clips: "
            "name the groups (a column 'group' in a manifest, or --group-regex), or use k folds"
        )
    groups = _Groups(clips)
    groups.require(2, "leaving one out")
    return [groups.fold(np.arange(len(groups.names)) == number) for number in range(len(groups.names))]


def official_split(clips: Sequence[Clip]) -> Split | None:
    """Return the split of the manifest; None if it has none.

    Raises:
        DatasetError: some clips have a part and others do not.
    """
    unassigned = [clip.id for clip in clips if clip.split is None]
    if len(unassigned) == len(clips):
        return None
    if unassigned:
        raise DatasetError(
            f"{len(unassigned)} of {len(clips)} clips have no split ({join_first(unassigned)}): "
            "give each one train, val or test, or take them out"
        )
    train, val, test = (
        tuple(index for index, clip in enumerate(clips) if clip.split == part) for part in ("train", "val", "test")
    )
    return Split(train, val, test)


class _Groups:
    """The clips by group: `counts` (groups, classes) is the number of clips of each class in each group."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        unlabelled = [clip.id for clip in clips if clip.label is None]
        if unlabelled:
            raise DatasetError(
                f"{len(unlabelled)} of {len(clips)} clips have no label ({join_first(unlabelled)}): "
                "a split by class needs one for each"
            )
        labels = [clip.label or "" for clip in clips]
        self.labels = sorted(set(labels))
        groups = [group_or_path(clip) for clip in clips]
        self.names = sorted(set(groups), key=natural_key)
        row = {name: number for number, name in enumerate(self.names)}
        column = {label: number for number, label in enumerate(self.labels)}
        self._group_of_clip = np.array([row[name] for name in groups], int)
        self._label_of_clip = np.array([column[label] for label in labels], int)
        self.counts = np.zeros((len(self.names), len(self.labels)), int)
        np.add.at(self.counts, (self._group_of_clip, self._label_of_clip), 1)
        self.holders = (self.counts > 0).sum(axis=0)

    def require(self, count: int, purpose: str) -> None:
        """Raise a DatasetError if the clips cannot be split into `count` parts for training and testing."""
        if not self.labels:
            raise DatasetError("there are no clips to split")
        if len(self.labels) == 1:
            raise DatasetError(f"all clips are of one class, {self.labels[0]!r}: at least two are needed to tell apart")
        if (self.counts.sum(axis=0) == 1).all():
            raise DatasetError(
                f"each of the {len(self.labels)} classes has one clip: at least two are needed, one to train "
                "on and one to test on"
            )
        if len(self.names) == 1:
            raise DatasetError(
                f"all clips are of one group, {self.names[0]!r}, which must not be on both sides: "
                "add another, or correct where the groups come from"
            )
        if len(self.names) < count:
            raise DatasetError(
                f"{len(self.names)} groups ({join_first(self.names)}) are too few for {purpose}: "
                "ask for fewer, or add groups"
            )
        if (self.holders < 2).all():
            raise DatasetError(f"no class can be trained on and tested: {_too_few_groups(self)}")

    def members(self, chosen: npt.NDArray[np.bool_]) -> tuple[int, ...]:
        """Return the indices of the clips of the chosen groups."""
        return tuple(np.flatnonzero(chosen[self._group_of_clip]).tolist())

    def labels_outside(self, members: Sequence[int]) -> list[str]:
        """Return the labels that none of these clips has."""
        present = set(self._label_of_clip[list(members)].tolist())
        return [label for number, label in enumerate(self.labels) if number not in present]

    def fold(self, tested: npt.NDArray[np.bool_]) -> Split:
        """Test on the chosen groups, and train on all others."""
        train, test = self.members(~tested), self.members(tested)
        absent = self.labels_outside(train)
        note = f"{join_first(absent)} cannot be learnt in this fold: all of its groups are in the test part"
        return Split(train, (), test, (note,) if absent else ())


def _too_few_groups(groups: _Groups) -> str:
    single = [label for label, count in zip(groups.labels, groups.holders, strict=True) if count < 2]
    return (
        f"clips of {join_first(single)} are in one group only, and a group stays whole; "
        "add clips of other groups, or correct where the groups come from"
    )


def _assign(
    counts: npt.NDArray[np.int_],
    shares: npt.NDArray[np.float64],
    rng: np.random.Generator,
    *,
    first: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int_]:
    """Assign each group to a part, so that every class has its share in every part.

    First every class is put into every part, the rarest class first; then each group goes to the part that lacks its
    classes most, the largest group first; then single groups move if that improves the shares. The number of clips
    counts like one more class.

    Args:
        counts: (groups, classes), the number of clips of each class in each group.
        shares: (parts,), which sum to 1.
        rng: breaks ties between groups.
        first: (groups,), the groups that have to be in the first part.

    Returns:
        (groups,), the number of the part.
    """
    amounts = np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1).astype(float)
    totals = amounts.sum(axis=0)
    targets = shares[:, None] * totals
    filled = np.zeros_like(targets)
    parts = np.full(len(counts), -1)
    movable = np.ones(len(counts), bool) if first is None else ~first
    shuffled = rng.permutation(len(counts))
    by_size = shuffled[np.argsort(-amounts[shuffled, -1], kind="stable")]

    def costs(group: int) -> npt.NDArray[np.float64]:
        """Return the increase of the squared distance from the targets, relative to the totals, in each part."""
        added = amounts[group]
        grown: npt.NDArray[np.float64] = (added * (2 * (filled - targets) + added) / totals).sum(axis=1)
        return grown

    def put(group: int, part: int) -> None:
        parts[group] = part
        filled[part] += amounts[group]

    for group in np.flatnonzero(~movable):
        put(int(group), 0)

    def spare(part: int) -> bool:
        """Return True if this part can have one more group and leave one for each empty part."""
        empty = filled[:, -1] == 0
        return bool((parts < 0).sum() > empty.sum() - empty[part])

    holders = (counts > 0).sum(axis=0)
    for part in range(len(shares)):
        for label in np.argsort(holders, kind="stable"):
            if holders[label] > 1 and not filled[part, label] and spare(part):
                free = shuffled[(parts[shuffled] < 0) & (counts[shuffled, label] > 0)]
                if len(free):
                    put(free[int(np.argmin([costs(group)[part] for group in free]))], part)

    for group in by_size[parts[by_size] < 0]:
        put(group, int(costs(group).argmin()))

    for _ in range(_SWEEPS):
        moved = False
        for group in by_size[movable[by_size]]:
            here = parts[group]
            filled[here] -= amounts[group]
            cost = costs(group)
            last = ((amounts[group] > 0) & (filled[here] <= 0)).any()  # the only group of a class in this part
            best = here if last or cost.min() > cost[here] - 1e-9 else cost.argmin()
            put(group, int(best))
            moved |= bool(best != here)
        if not moved:
            break
    return parts
