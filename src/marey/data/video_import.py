"""From pictures in other forms to a data set of video clips."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from marey.atomic import PART, write_whole
from marey.data.clip import Clip, Manifest, Part, counted, listing
from marey.data.groups import assign_groups
from marey.data.lossless import write_lossless
from marey.data.manifest import write_manifest
from marey.data.pixels import Picture
from marey.data.scan import ScanRow, write_quarantine
from marey.errors import DatasetError, UsageError, VideoError

Unusable = Literal["stop", "leave-out"]
"""What to do about clips that cannot be used: end with their names, or go on without them and list them."""

_UNFINISHED: Final = ".import.json"
LEFT_OUT: Final = "left_out.csv"


@dataclass(frozen=True, slots=True)
class NewClip:
    """A clip that is not a video yet.

    Attributes:
        name: its place below the new data set, without a suffix, with forward slashes.
        label: the action that it shows.
        group: what must not be on both sides of a split.
        split: the side that it is on.
        pictures: gives its frames; raises `VideoError` where it cannot be used.
        source: where it comes from, for messages.
        changed: when that was changed, in seconds since 1970.
    """

    name: str
    label: str | None
    group: str | None
    split: Part | None
    pictures: Callable[[], Iterator[Picture]]
    source: Path
    changed: float


def write_clips(
    clips: Sequence[NewClip],
    out: str | Path,
    *,
    made_from: Mapping[str, str],
    frame_rate: float,
    unusable: Unusable = "stop",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Write clips as video without loss, and the manifest.csv that lists them.

    Stopped and started again, it goes on with the clips that are not there yet. The manifest comes last: a folder
    without it is no data set.

    Args:
        clips: what to write.
        out: the folder; it has to be empty, new, or left by the same call.
        made_from: the source and the choices that were made, which tell one call from another.
        frame_rate: frames a second of all clips.
        unusable: see `Unusable`; the list is left_out.csv.
        on_progress: called with the number of clips done, and of all.

    Returns:
        The manifest, whose notes say what was left out.

    Raises:
        UsageError: there is something else in `out`, or the frame rate cannot be.
        DatasetError: clips cannot be used.
    """
    out = Path(out)
    if not 0 < frame_rate <= 1000:
        raise UsageError(f"frame_rate has to be more than 0 and at most 1000 frames a second, not {frame_rate}")
    _claim_folder(out, {**made_from, "frame_rate": f"{frame_rate:.12g}"})
    written: list[Clip] = []
    faults: list[VideoError] = []
    for number, clip in enumerate(clips, start=1):
        path = out / f"{clip.name}.mp4"
        try:
            if not (path.is_file() and path.stat().st_mtime >= clip.changed):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_lossless(path, clip.pictures(), frame_rate=frame_rate)
            written.append(Clip(path, clip.label, clip.group, split=clip.split))
        except VideoError as error:
            faults.append(error)
        on_progress(number, len(clips))
    check_faults(faults, len(clips), unusable)
    source = f"{counted(len(written), 'clip')} from {made_from['source']}"
    manifest = assign_groups(Manifest(tuple(written), out, source, ""))
    notes: tuple[str, ...] = ()
    if faults:
        rows = [ScanRow(fault.path, False, fault.reason, fault.detail, None) for fault in faults]
        write_quarantine(rows, out / LEFT_OUT)
        notes = (f"{counted(len(faults), 'clip')} left out that cannot be used: {out / LEFT_OUT} says why",)
    write_manifest(manifest, out / "manifest.csv")
    (out / _UNFINISHED).unlink()
    return replace(manifest, notes=notes)


def check_faults(faults: Sequence[VideoError], clips: int, unusable: Unusable) -> None:
    """Raise `DatasetError` where clips cannot be used and shall not be left out, or none is left."""
    if faults and (unusable == "stop" or len(faults) == clips):
        shown = listing([str(fault) for fault in faults])
        way_out = "" if len(faults) == clips else ", or go on without them (--unusable leave-out)"
        raise DatasetError(f"{counted(len(faults), 'clip')} of {clips} cannot be used: {shown}; mend them{way_out}")


def _claim_folder(out: Path, made_from: Mapping[str, str]) -> None:
    """Make a folder, or take up the one that an interrupted call of the same kind has left.

    Raises:
        UsageError: the folder holds something else.
    """
    mark = out / _UNFINISHED
    text = json.dumps(dict(made_from), sort_keys=True, indent=1) + "\n"
    if out.is_dir() and any(out.iterdir()):
        try:
            same = mark.read_text(encoding="utf-8") == text
        except OSError as error:
            raise UsageError(f"{out} is not empty, and is left as it is; choose another --out") from error
        if not same:
            raise UsageError(
                f"{out} holds an unfinished import of something else, or with other options; remove it, or choose "
                "another --out"
            )
        for left in out.rglob(f".*{PART}"):
            left.unlink(missing_ok=True)
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose a folder for --out")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(mark, text)
