"""Groups, which a split must never divide, read from the names of the files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from marey.data.clip import Clip, Manifest
from marey.data.text import join_first, pluralize, relative_name
from marey.errors import DatasetError, UsageError

# Some actions and some titles before them contain underscores, so the actions are listed.
_HMDB51_ACTIONS = (
    "brush_hair|cartwheel|catch|chew|clap|climb|climb_stairs|dive|draw_sword|dribble|drink|eat|fall_floor|fencing|"
    "flic_flac|golf|handstand|hit|hug|jump|kick|kick_ball|kiss|laugh|pick|pour|pullup|punch|push|pushup|"
    "ride_bike|ride_horse|run|shake_hands|shoot_ball|shoot_bow|shoot_gun|sit|situp|smile|smoke|somersault|stand|"
    "swing_baseball|sword|sword_exercise|talk|throw|turn|walk|wave"
)

PATTERNS: dict[str, str] = {
    # person01_walking_d1_uncomp: the person
    "kth": r"(person\d+)_[a-z]+_d\d+(?:_uncomp)?",
    # v_ApplyEyeMakeup_g01_c01: the source video, numbered within each class
    "ucf101": r"v_([^_]+_g\d+)_c\d+",
    # April_09_brush_hair_u_nm_np1_ba_goo_0: the source video; one name has no underscore before its action
    "hmdb51": rf"(.+?)_*(?:{_HMDB51_ACTIONS})_[a-z]+_[cn]m_np\d+_[a-z]{{2}}_[a-z]{{3}}_\d+",
    # set1_17_3_0: set 1, clip 17, sequence 3, class 0: the sequence
    "ut-interaction": r"(set\d+)_\d+_(\d+)_\d+",
}
"""Patterns of the file names (without suffix) of known data sets; the captures are the group."""


def assign_groups(manifest: Manifest, *, group_regex: str | None = None) -> Manifest:
    """Assign a group to every clip, and describe its origin in `grouping`.

    A given regular expression has priority; then a group column; then the first known pattern that matches the name
    of every file.

    Args:
        manifest: the clips.
        group_regex: its first capture in the clip's path (relative to the root, with forward slashes) is the
            group; or the name of one of `PATTERNS`.

    Raises:
        UsageError: the expression does not compile, or has no capture.
        DatasetError: it does not match every clip.
    """
    if group_regex is not None:
        if group_regex in PATTERNS:
            groups = [named_group(group_regex, clip.path) for clip in manifest.clips]
            taken = f"the pattern {group_regex!r}"
        else:
            groups = _captures(group_regex, [relative_name(clip.path, manifest.root) for clip in manifest.clips])
            taken = f"the expression '{group_regex}'"
        unmatched = [
            relative_name(clip.path, manifest.root)
            for clip, group in zip(manifest.clips, groups, strict=True)
            if group is None
        ]
        if unmatched:
            raise DatasetError(
                f"{taken} finds no group in {len(unmatched)} of {len(groups)} clips: {join_first(unmatched)}; "
                "every clip needs one: widen it, or leave these clips out"
            )
        return _grouped(manifest, groups, f"groups by {taken}")
    if any(clip.group is not None for clip in manifest.clips):
        return replace(manifest, grouping=_column(manifest.clips))
    for name in PATTERNS:
        groups = [named_group(name, clip.path) for clip in manifest.clips]
        if groups and None not in groups:
            return _grouped(manifest, groups, f"groups by the pattern {name!r}")
    return replace(manifest, grouping="no groups known: every file is its own group")


_PROPOSED = (
    # person03, subject_2, P07, S001: the subject
    r"(?i)(?:^|[/_\-. ])((?:person|subject|subj|sub|actor|user|participant|patient|worker|p|s)[_-]?\d+)(?=[_\-. /])",
    # g07, video_12, scene3, session-2: the source
    r"(?i)(?:^|[/_\-. ])((?:video|vid|film|source|scene|session|sequence|seq|group|g|v)[_-]?\d+)(?=[_\-. /])",
    # anna_01: a name and a number
    r"([^/_]+)_\d+\.[^./]+$",
    r"([^/-]+)-\d+\.[^./]+$",
)
"""Common forms of file names that contain a group; the first one that fits all clips is proposed."""


def propose_group_regex(manifest: Manifest) -> tuple[str, tuple[str, ...]] | None:
    """Return an expression that finds a group in every clip's path, and the groups; None if there is none.

    The expression has to match every clip, find at least two groups with two clips each on average, and differ from
    the label.

    Args:
        manifest: clips without groups.
    """
    names = [relative_name(clip.path, manifest.root) for clip in manifest.clips]
    for expression in _PROPOSED:
        found = _captures(expression, names)
        groups = {group for group in found if group is not None}
        if None in found or not 2 <= len(groups) <= len(names) / 2:
            continue
        labels = {(group, clip.label) for group, clip in zip(found, manifest.clips, strict=True)}
        if len(labels) > len(groups):  # groups with one label each may be the labels themselves
            return expression, tuple(sorted(groups))
    return None


def _grouped(manifest: Manifest, groups: Sequence[str | None], how: str) -> Manifest:
    clips = [replace(clip, group=group) for clip, group in zip(manifest.clips, groups, strict=True)]
    return replace(manifest, clips=tuple(clips), grouping=f"{how}: {pluralize(len(set(groups)), 'group')}")


def _column(clips: Sequence[Clip]) -> str:
    named = {clip.group for clip in clips if clip.group is not None}
    alone = {clip.path for clip in clips if clip.group is None}
    words = f"groups from the column 'group': {pluralize(len(named), 'group')}"
    return f"{words}; {pluralize(len(alone), 'file')} without one, each its own group" if alone else words


def named_group(name: str, path: Path) -> str | None:
    """Return the group in the name of a file by one of `PATTERNS`; None if the name does not match."""
    match = re.fullmatch(PATTERNS[name], PurePosixPath(path.name).stem)
    return "_".join(match.groups()) if match else None


def _captures(expression: str, names: Sequence[str]) -> list[str | None]:
    try:
        compiled = re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        known = ", ".join(PATTERNS)
        raise UsageError(
            f"the group expression {expression!r} is not a regular expression ({error}); "
            f"correct it, or name a known pattern: {known}"
        ) from error
    if compiled.groups == 0:
        raise UsageError(
            f"the group expression {expression!r} captures nothing: put the part that names the group in "
            f"parentheses, as in '(person\\d+)_', or name a known pattern: {', '.join(PATTERNS)}"
        )
    return [(match.group(1) or None) if (match := compiled.search(name)) else None for name in names]
