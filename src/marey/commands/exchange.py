"""`marey data import`: data sets of frames or features that other programs wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from marey.atomic import check_writable
from marey.commands.data import DataSet, show_clips
from marey.commands.extract import write_table
from marey.commands.options import OLD_ON_ERROR, OnError, StrPath
from marey.commands.registry import command
from marey.errors import DatasetError, UsageError
from marey.progress import AUTO, Reporter, Stage

if TYPE_CHECKING:
    from marey.data import ClipSet, Manifest, VideoList

_UNKNOWN_GROUPS = (
    "groups are unknown: clips of one recording may be on both sides of a split, and the accuracy may be too high; "
    "fill in the column 'group' of the manifest where you know it"
)

_ASSUMED_FRAME_RATE: Final = 25.0
_MAX_FRAME_RATE: Final = 1000


@command(
    "data import",
    examples=(
        "data import frames.pkl --out clips/ --parts train,test",
        "data import features.npz --out features/",
        "data import notebook/ --out clips/",
        "data import project.json --videos recordings/ --out spans.csv",
    ),
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
    frame_rate: float | None = None,
    videos: StrPath | None = None,
    take: Literal["auto", "features", "videos"] = "auto",
    on_error: OnError = "fail",
    reporter: Reporter = AUTO,
) -> DataSet:
    """Import frames, features, lists or annotations of videos that other programs wrote, as a data set.

    Reads a pickle (nothing in it is executed) or an .npz file of frames and labels, for training, validation and
    testing or for all in one; a folder with a folder of images per clip; raw streams (.h264, .hevc, .mjpeg) in class
    folders; a folder of .npy features with a CSV file; an .npz file of features; a metadata.csv (video_path,label),
    with train.csv, val.csv and test.csv and features named by the videos if there are any; lists of a path and a label
    a line (mmaction2, SlowFast, VideoMAE, UCF101), CSV files of Kinetics, and annotations of Label Studio, VIA 3, CVAT
    and in the form of ActivityNet. Frames become lossless video, features a folder of features, and lists and
    annotations a manifest of the videos, which stay where they are. The same command continues an interrupted import.

    Args:
        source: the file or the folder; it is only read.
        out: the folder of the new data set.
        parts: the parts of arrays without names, in their order: train,test,val.
        classes: names of the classes, separated by commas, in the order of their numbers, for numeric labels.
        channels: the order of the colour channels in arrays: rgb, or bgr as in OpenCV.
        frame_rate: frames per second: of arrays, images and raw streams, which do not say it (25 are assumed), and of
            the program in which frames of videos were counted (by default each file's own timestamps decide).
        videos: the folder of the videos of lists and annotations; by default the one in which these lie.
        take: what is imported of listed videos: their features or the videos themselves; by default features if any.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.data import ClipSet, ImportOptions, VideoList, read_source

    @contextmanager
    def watch(title: str, total: int) -> Iterator[Callable[[int], None]]:
        with reporter.stage(title, total) as stage:
            yield stage.advance

    source, out = Path(source), Path(out)
    if frame_rate is not None and not 0 < frame_rate <= _MAX_FRAME_RATE:
        raise UsageError(
            f"--frame-rate is {frame_rate:g}: it has to be more than 0 and at most {_MAX_FRAME_RATE} frames a second"
        )
    options = ImportOptions(
        parts=_words(parts),
        classes=_words(classes),
        channels=channels,
        take=take,
        frame_rate=frame_rate,
        videos=None if videos is None else Path(videos),
        watch=watch,
    )
    found = read_source(source, options)
    if isinstance(found, ClipSet):
        rate = _ASSUMED_FRAME_RATE if frame_rate is None else frame_rate
        timed = f"{rate:g} frames a second are {'assumed' if frame_rate is None else 'stated'} (--frame-rate)"
        return _write_video(found, out, rate, on_error, (*found.notes, timed), reporter)
    if isinstance(found, VideoList):
        return _write_list(found, out, on_error)
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


def _write_list(found: VideoList, out: Path, on_error: str) -> DataSet:
    """Write the manifest of listed videos."""
    from marey.data import read_manifest, write_manifest
    from marey.data.text import join_first

    path = out if out.suffix.lower() in (".csv", ".parquet") else out / "manifest.csv"
    if path.exists():
        raise UsageError(f"{path} exists, and is left as it is; choose another --out")
    check_writable(path)
    notes = found.notes
    if found.missing:
        absent = f"{len(found.missing)} listed videos are not there: {join_first(list(found.missing))}"
        if on_error == "fail":
            raise DatasetError(f"{absent}; {'; '.join(notes)}; put them there, or add --on-error skip")
        notes = (*notes, f"left out: {absent}")
    write_manifest(found.manifest, path)
    manifest = read_manifest(path)
    return DataSet(manifest, path, _notes(manifest, notes))


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
