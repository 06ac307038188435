"""Splits of a run into training, validation and test clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from marey.data import Clip, Manifest, Split, group_or_path, holdout, k_folds, leave_one_group_out, official_split
from marey.errors import DatasetError, UsageError


@dataclass(frozen=True)
class Protocol:
    """The splits of a run.

    Attributes:
        name: description for the reports.
        splits: one for a hold-out, several for cross-validation.
        pooled: true when every clip is tested once, over the folds.
    """

    name: str
    splits: tuple[Split, ...]
    pooled: bool


def make_splits(manifest: Manifest, *, folds: str | int | None, test: float, seed: int) -> Protocol:
    """Choose the splits of a run.

    Args:
        manifest: labelled clips.
        folds: "group" tests on each group once; a number makes so many folds, with groups intact; None takes the
            data's own split where it has one, and else sets a share aside.
        test: that share.
        seed: for the random choice.

    Raises:
        UsageError: `folds` is neither.
        DatasetError: the data cannot be split so.
    """
    clips = manifest.clips
    grouped = any(clip.group is not None for clip in clips)
    intact = "groups intact" if grouped else "no groups known: files intact"
    if folds is None:
        split = official_split(clips)
        if split is not None:
            return Protocol("the split that the data names", (split,), pooled=False)
        split = holdout(clips, test=test, seed=seed)
        share = len(split.test) / len(clips)
        return Protocol(f"{share:.0%} of the clips held out, {intact}, seed {seed}", (split,), pooled=False)
    if folds == "group":
        splits = leave_one_group_out(clips)
        return Protocol(f"leave one group out, {len(splits)} folds", tuple(splits), pooled=True)
    try:
        number = int(folds)
    except ValueError:
        raise UsageError(f"folds='{folds}' is neither 'group' nor a number; write --folds group or --folds 5") from None
    splits = k_folds(clips, number, seed=seed)
    return Protocol(f"{number} folds, {intact}, seed {seed}", tuple(splits), pooled=True)


def inner_splits(
    clips: Sequence[Clip], train: Sequence[int], *, share: float, folds: int, seed: int
) -> tuple[tuple[Split, ...], tuple[str, ...]]:
    """Set a share of the training clips aside for validation, by group; another share in each inner fold.

    Returns:
        Splits as indices into `clips`, and notes; no split where nothing can be set aside, with a note that says why.
    """
    if share == 0:
        return (), ()
    inside = [clips[index] for index in train]
    groups = len({group_or_path(clip) for clip in inside})
    if groups < 2:
        return (), ("one group to train on: nothing is left to choose the epoch by, and all epochs are run",)
    try:
        if folds == 1:
            chosen = [holdout(inside, test=0.0, val=share, seed=seed)]
        else:
            parts = k_folds(inside, min(round(1 / share), groups), seed=seed)[:folds]
            chosen = [Split(part.train, part.test, ()) for part in parts]
    except DatasetError as error:
        return (), (f"no clips could be set aside to choose the epoch by ({error}): all epochs are run",)
    splits = [
        Split(tuple(train[index] for index in split.train), tuple(train[index] for index in split.val), ())
        for split in chosen
    ]
    return tuple(splits), tuple(note for split in chosen for note in split.notes)
