"""Who is trained on and who is tested: the splits of a run, and their name in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from marey.data import Clip, Manifest, Split, group_of, holdout, k_folds, leave_one_group_out, official_split
from marey.errors import DatasetError, UsageError


@dataclass(frozen=True)
class Protocol:
    """How a run is split.

    Attributes:
        name: in words, for the reports.
        splits: one for a single split, several for cross-validation.
        pooled: whether every clip is tested once, over the folds.
    """

    name: str
    splits: tuple[Split, ...]
    pooled: bool


def plan(manifest: Manifest, *, folds: str | int | None, test: float, seed: int) -> Protocol:
    """Choose the splits of a run.

    Args:
        manifest: labelled clips.
        folds: "group" tests on each group once; a number makes so many folds, with groups intact; None takes the
            data's own split where it has one, and else sets a share aside.
        test: that share.
        seed: of the choice.

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


def validation_of(clips: Sequence[Clip], train: Sequence[int], *, share: float, seed: int) -> Split:
    """Set a share of the training clips aside, by group; none where that cannot be done.

    Returns:
        Indices into `clips`; `val` may be empty, and the notes say why.
    """
    inside = [clips[index] for index in train]
    everything = Split(tuple(train), (), ())
    if share == 0:
        return everything
    if len({group_of(clip) for clip in inside}) < 2:
        note = "one group to train on: nothing is left to choose the epoch by, and all epochs are run"
        return Split(everything.train, (), (), (note,))
    try:
        split = holdout(inside, test=0.0, val=share, seed=seed)
    except DatasetError as error:
        note = f"no clips could be set aside to choose the epoch by ({error}): all epochs are run"
        return Split(everything.train, (), (), (note,))
    return Split(
        tuple(train[index] for index in split.train), tuple(train[index] for index in split.val), (), split.notes
    )
