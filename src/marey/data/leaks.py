"""The leak check: find groups and contents that are in both the training and the test part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from marey.data.clip import Clip, group_or_path
from marey.data.hashing import content_hash
from marey.errors import VideoError
from marey.video.remote_file import size_of


@dataclass(frozen=True, slots=True)
class Leak:
    """A group or a content on both sides of a split.

    Attributes:
        kind: "group": clips of one group; "content": identical bytes of video; "near_duplicate": a copy that was
            encoded again, cropped, shifted or mirrored, see `marey.evaluation.find_near_duplicates`; "group_name":
            groups of two data sets with the same name, which may be the same.
        value: the group, the content hash, or the likeness of a copy.
        left: the ids of the clips on the left.
        right: the ids of the clips on the right.
    """

    kind: Literal["group", "content", "near_duplicate", "group_name"]
    value: str
    left: tuple[str, ...]
    right: tuple[str, ...]


def find_leaks(clips: Sequence[Clip], left: Sequence[int], right: Sequence[int]) -> tuple[Leak, ...]:
    """Find groups and contents that are on both sides.

    Two clips share content if their files are identical and their spans overlap; spans of one file that do not overlap
    are distinguished by their groups. Only files of equal size are read. An unreadable file shares no content; `scan`
    reports it.

    Args:
        clips: all clips.
        left: indices of one side, such as the training clips.
        right: indices of the other side.
    """
    sides = [clips[index] for index in left], [clips[index] for index in right]
    leaks = []
    groups_left, groups_right = (_by_group(side) for side in sides)
    for group in sorted(groups_left.keys() & groups_right.keys()):
        leaks.append(Leak("group", group, _ids(groups_left[group]), _ids(groups_right[group])))
    contents_left, contents_right = _by_content(*sides)
    for content in sorted(contents_left.keys() & contents_right.keys()):
        a, b = contents_left[content], contents_right[content]
        overlap = _overlap(a, b)
        if overlap.any():
            shared_left = [clip for clip, hit in zip(a, np.any(overlap, axis=1), strict=True) if hit]
            shared_right = [clip for clip, hit in zip(b, np.any(overlap, axis=0), strict=True) if hit]
            leaks.append(Leak("content", content, _ids(shared_left), _ids(shared_right)))
    return tuple(leaks)


def _by_group(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    groups = defaultdict(list)
    for clip in clips:
        groups[group_or_path(clip)].append(clip)
    return groups


def _by_content(
    left: Sequence[Clip], right: Sequence[Clip]
) -> tuple[Mapping[str, list[Clip]], Mapping[str, list[Clip]]]:
    sizes = {path: _size(path) for path in {clip.path for clip in (*left, *right)}}
    shared = ({sizes[clip.path] for clip in left} & {sizes[clip.path] for clip in right}) - {None}
    contents: tuple[dict[str, list[Clip]], dict[str, list[Clip]]] = defaultdict(list), defaultdict(list)
    for side, clips in zip(contents, (left, right), strict=True):
        for clip in clips:
            if sizes[clip.path] in shared:
                try:
                    side[content_hash(clip.path)].append(clip)
                except VideoError:
                    continue
    return contents


def _size(path: Path) -> int | None:
    try:
        return size_of(path)
    except (OSError, VideoError):
        return None


def _overlap(left: Sequence[Clip], right: Sequence[Clip]) -> npt.NDArray[np.bool_]:
    """Return a matrix that is True where a span on the left (row) overlaps one on the right (column)."""
    (start, end), (other_start, other_end) = (
        np.array([(clip.start or 0.0, np.inf if clip.end is None else clip.end) for clip in side]).T
        for side in (left, right)
    )
    shared: npt.NDArray[np.bool_] = (start[:, None] < other_end) & (other_start < end[:, None])
    return shared


def _ids(clips: Iterable[Clip]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(clip.id for clip in clips))
