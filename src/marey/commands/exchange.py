"""`marey data import`: data sets of frames or features that other programs wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from marey.commands.data import DataSet, show_clips
from marey.commands.extract import write_table
from marey.commands.options import OLD_ON_ERROR, OnError, StrPath
from marey.commands.registry import command
from marey.errors import UsageError
from marey.progress import AUTO, Reporter, Stage

if TYPE_CHECKING:
    from marey.data import ClipSet, Manifest

_UNKNOWN_GROUPS = (
    "groups are unknown: clips of one recording may be on both sides of a split, and the accuracy may be too high; "
    "fill in the column 'group' of the manifest where you know it"
)


@command(
    "data import",
    examples=("data import frames.pkl --out clips/ --parts train,test", "data import features.npz --out features/"),
    show=show_clips,
    renamed={"unusable": "on_error"},
    values=OLD_ON_ERROR,
)
def import_data(
    source: StrPath,
    *,
    out: StrPath,
    parts: str | None = None,
    classes: str | None = None,
    channels: Literal["rgb", "bgr"] = "rgb",
    frame_rate: float = 25.0,
    on_error: OnError = "fail",
    reporter: Reporter = AUTO,
) -> DataSet:
    """Import frames or features that other programs wrote, as a data set.

    Reads a pickle (nothing in it is executed) or an .npz file of frames and labels, for training, validation and
    testing or for all in one; a folder with a folder of images per clip; a folder of .npy features with a CSV file; an
    .npz file of features. Frames become lossless video, features a folder of features. The same command continues an
    interrupted import.

    Args:
        source: the file or the folder; it is only read.
        out: the folder of the new data set.
        parts: the parts of arrays without names, in their order: train,test,val.
        classes: names of the classes, separated by commas, in the order of their numbers, for numeric labels.
        channels: the order of the colour channels in arrays: rgb, or bgr as in OpenCV.
        frame_rate: frames per second; arrays and images do not say it.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.data import ClipSet, ImportOptions, read_source

    @contextmanager
    def watch(title: str, total: int) -> Iterator[Callable[[int], None]]:
        with reporter.stage(title, total) as stage:
            yield stage.advance

    source, out = Path(source), Path(out)
    found = read_source(source, ImportOptions(_words(parts), _words(classes), channels, watch))
    if isinstance(found, ClipSet):
        timed = f"{frame_rate:g} frames a second are assumed (--frame-rate)"
        return _write_video(found, out, frame_rate, on_error, (*found.notes, timed), reporter)
    if out.suffix.lower() == ".npz":
        raise UsageError(f"features are imported into a folder, not into {out}")
    files = write_table(found, out, on_error, reporter)
    return DataSet(files.manifest, out / "features.csv", _notes(files.manifest, (*found.notes, *files.notes)))


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _write_video(
    found: ClipSet,
    out: Path,
    frame_rate: float,
    on_error: str,
    notes: tuple[str, ...],
    reporter: Reporter,
) -> DataSet:
    from marey.data import write_clips

    with reporter.stage("writing clips", len(found.clips)) as stage:
        manifest = write_clips(
            found.clips,
            out,
            made_from=found.made_from,
            frame_rate=frame_rate,
            unusable="stop" if on_error == "fail" else "leave-out",
            on_progress=_counted(stage),
        )
    return DataSet(manifest, out / "manifest.csv", _notes(manifest, (*notes, *manifest.notes)))


def _counted(stage: Stage) -> Any:
    return lambda done, total: stage.advance(done)


def _notes(manifest: Manifest, notes: tuple[str, ...]) -> tuple[str, ...]:
    """Return notes on the reading, the groups, and leaks of the split."""
    from marey.data import find_leaks

    sides = [[i for i, clip in enumerate(manifest.clips) if (clip.split == "test") == test] for test in (False, True)]
    same = [leak for leak in find_leaks(manifest.clips, *sides) if leak.kind == "content"]
    leaks = [
        f"leak: {leak.left[0]} and {leak.right[0]} hold the same, and one of them is tested on" for leak in same[:3]
    ]
    if len(same) > len(leaks):
        leaks.append(f"leak: so do {len(same) - len(leaks)} other pairs")
    known = any(clip.group is not None for clip in manifest.clips)
    return (*notes, manifest.grouping, *(() if known else (_UNKNOWN_GROUPS,)), *leaks)
