"""`marey data export`: a data set for other programs, as frames, features or a list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from marey.atomic import check_writable
from marey.commands.extract import extract, show_features
from marey.commands.options import OLD_ON_ERROR, Changes, Data, GroupRegex, OnError, RecipeName, StrPath, changes_of
from marey.commands.registry import Line, Table, command
from marey.commands.steps.extractions import Exported, Partitioned
from marey.errors import UsageError
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.training.frame_arrays import FrameArrays


@dataclass(frozen=True)
class ExportedFrames:
    """The answer of `data export --as frames`.

    Attributes:
        arrays: what was written.
        notes: remarks, a sentence each.
    """

    arrays: FrameArrays
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "path": str(self.arrays.path),
            "arrays": {name: list(shape) for name, shape in self.arrays.shapes.items()},
            "classes": list(self.arrays.classes),
            "left_out": [str(fault) for fault in self.arrays.left_out],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class ExportedList:
    """The answer of `data export --as list`.

    Attributes:
        path: the CSV file.
        clips: number of its rows.
    """

    path: Path
    clips: int

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"path": str(self.path), "clips": self.clips}


def _show(answer: Exported | Partitioned | ExportedFrames | ExportedList) -> Iterator[Any]:
    if isinstance(answer, Exported | Partitioned):
        yield from show_features(answer)
        return
    if isinstance(answer, ExportedList):
        yield f"list   {answer.path}, {answer.clips} videos"
        return
    table = Table(("array", "clips", "frames", "height", "width", "channels"))
    for name, shape in answer.arrays.shapes.items():
        table.add(name, *map(str, shape))
    yield table
    for fault in answer.arrays.left_out:
        yield Line(f"left out: {fault}", "warning")
    for note in answer.notes:
        yield Line(note, "note")
    yield f"classes   {', '.join(answer.arrays.classes)}"
    yield f"frames    {answer.arrays.path}"


@command(
    "data export",
    examples=(
        "data export clips/ --as frames --recipe cnn-lstm --out clips.npz",
        "data export clips/ --as frames --recipe lrcn-small --set sampling.count=20 --out arrays/",
        "data export clips/ --as list --out metadata.csv",
    ),
    show=_show,
    renamed={"unusable": "on_error"},
    values=OLD_ON_ERROR,
)
def export_data(
    data: Data,
    *,
    out: StrPath,
    as_: Literal["features", "frames", "list"] = "features",
    recipe: RecipeName = "auto",
    set: Changes = None,
    group_regex: GroupRegex = None,
    on_error: OnError = "fail",
    workers: int = 0,
    reporter: Reporter = AUTO,
) -> Exported | Partitioned | ExportedFrames | ExportedList:
    """Write a data set for other programs: its frames as arrays, its features, or a list of its videos.

    Frames are uint8, clips x frames x height x width x channels, as X_train, y_train, X_val, ... by the split of the
    data, or X and y without one, with the names of the classes; the recipe says how many and of which size. An .npz
    file holds them all; a folder holds .npy files, which numpy.load maps into memory with mmap_mode="r". Features are
    those of `marey extract --out`. A list is a CSV file with video_path, label and split. `marey data import` reads
    each of them.

    Args:
        out: the .npz file or the new folder to write; for a list, the CSV file.
        as_: what to write.
        workers: processes that decode frames beside this one.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.

    Raises:
        UsageError: the place is in use, or there is no room on the disk.
        DatasetError: clips have no labels, or cannot be used.
    """
    from marey.data import load_data
    from marey.data.metadata import write_metadata
    from marey.training.datasets import ClipDataset
    from marey.training.frame_arrays import write_frame_arrays

    if as_ == "features":
        return extract(
            data, out=out, recipe=recipe, set=set, group_regex=group_regex, on_error=on_error, reporter=reporter
        )
    out = Path(out)
    manifest = load_data(data, group_regex=group_regex)
    if as_ == "list":
        if out.suffix.lower() != ".csv":
            raise UsageError(f"a list is a CSV file, and {out} does not end in .csv")
        if out.exists():
            raise UsageError(f"{out} exists, and is left as it is; choose another --out")
        check_writable(out)
        write_metadata(manifest.clips, out)
        return ExportedList(out, len(manifest.clips))
    dataset = ClipDataset(manifest, recipe=recipe, changes=changes_of(set))
    with reporter.stage("decoding clips", len(dataset)) as stage:
        arrays = write_frame_arrays(
            dataset,
            out,
            unusable="stop" if on_error == "fail" else "leave-out",
            workers=workers,
            on_progress=lambda done, _: stage.advance(done),
        )
    return ExportedFrames(arrays, (manifest.grouping, *manifest.notes))
