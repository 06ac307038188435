"""Subsets of a data set: some of its classes, and a number of clips per class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from marey.data.clip import Clip, Manifest
from marey.errors import UnknownNameError, UsageError


def take_subset(manifest: Manifest, *, classes: Sequence[str] = (), most: int | None = None) -> Manifest:
    """Return a manifest with some of the classes, and with a maximum number of clips per class.

    If a class has more clips, they are taken in turn from its groups (see `in_turn`), so that the selection is
    deterministic and covers as many people or sources as possible.

    Args:
        manifest: the data set.
        classes: labels to keep; by default all.
        most: maximum number of clips of each class; by default all.

    Raises:
        UnknownNameError: the data set has no such class.
        UsageError: no clip is left of a class.
    """
    if most is not None and most < 1:
        raise UsageError(f"--most {most}: at least one clip of each class has to be left")
    for label in classes:
        if label not in manifest.labels:
            raise UnknownNameError("class", label, manifest.labels)
    by_label: dict[str | None, list[Clip]] = defaultdict(list)
    for clip in manifest.clips:
        by_label[clip.label].append(clip)
    kept = {
        clip
        for label, clips in by_label.items()
        if not classes or label in classes
        for clip in (clips if most is None else in_turn(clips)[:most])
    }
    if len(kept) == len(manifest.clips):
        return manifest
    note = f"{len(kept)} of {len(manifest.clips)} clips are taken, of {len({clip.label for clip in kept})} classes"
    return replace(manifest.with_clips(clip for clip in manifest.clips if clip in kept), notes=(*manifest.notes, note))


def in_turn(clips: Sequence[Clip]) -> list[Clip]:
    """Return clips in turn from their groups: the first clip of every group, then the second one, and so on."""
    groups: dict[str | None, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.path.name):
        groups[clip.group].append(clip)
    turns = [(turn, number, clip) for number, of in enumerate(groups.values()) for turn, clip in enumerate(of)]
    return [clip for _, _, clip in sorted(turns, key=lambda entry: entry[:2])]
