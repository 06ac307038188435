"""`marey data sheet`: a data set on one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marey.atomic import check_writable
from marey.commands.options import Data, StrPath
from marey.commands.registry import Line, command
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.errors import VideoError
    from marey.reports.data_sheet import SheetTile


@dataclass(frozen=True)
class DataSheet:
    """The answer of `data sheet`.

    Attributes:
        path: the image.
        shown: what is shown of each class.
        absent: classes of which no clip can be read.
        faults: clips that were passed over, with the reason.
    """

    path: Path
    shown: tuple[SheetTile, ...]
    absent: tuple[str, ...]
    faults: tuple[VideoError, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "path": str(self.path),
            "shown": [{"label": tile.label, "clips": tile.clips, "clip": tile.clip.id} for tile in self.shown],
            "absent": list(self.absent),
            "faults": [str(fault) for fault in self.faults],
        }


def _show(answer: DataSheet) -> Iterator[Any]:
    for fault in answer.faults:
        yield Line(f"passed over: {fault}", "warning")
    if answer.absent:
        yield Line(f"not on the sheet, no clip can be read: {', '.join(answer.absent)}", "fault")
    yield f"sheet   {answer.path}"


@command("data sheet", examples=("data sheet clips/ --out sheet.png",), show=_show)
def sheet(data: Data, *, out: StrPath, reporter: Reporter = AUTO) -> DataSheet:
    """Write one image of a data set: a frame and a chronophotograph of each class.

    A chronophotograph shows all phases of a movement at once: of a clip, or of four seconds in the middle of a longer
    one. Of each class the first clip that can be read is taken.

    Args:
        out: the image, .png or .jpg.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.

    Raises:
        DatasetError: no clip can be read.
        UsageError: another suffix.
    """
    from marey.data import load_data
    from marey.reports.data_sheet import write_data_sheet
    from marey.reports.hit_sheet import check_sheet

    out = Path(out)
    check_sheet(out)
    check_writable(out)
    manifest = load_data(data, missing="keep")
    with reporter.stage("looking at classes", len(manifest.labels) or len(manifest.clips)) as stage:
        shown, faults = write_data_sheet(manifest, out, on_progress=lambda done, _: stage.advance(done))
    found = {tile.label for tile in shown}
    return DataSheet(out, shown, tuple(label for label in manifest.labels if label not in found), faults)
