"""The answer of `marey predict --out`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marey.remote_path import as_path

if TYPE_CHECKING:
    from marey.commands.steps.written import Unwritten


@dataclass(frozen=True)
class LabelledRows:
    """The answer of `predict` to a Parquet file.

    Attributes:
        path: the file, here or in an object store.
        clips: number of clips or videos.
        failed: source -> reason and detail of those that cannot be used; their rows say so.
        done_before: number of those that an earlier call has labelled, and that were not read now.
    """

    path: str
    clips: int
    failed: dict[str, str]
    done_before: int

    @property
    def written(self) -> tuple[Path, ...]:
        """The file."""
        return (as_path(self.path),)

    @property
    def unwritten(self) -> tuple[Unwritten, ...]:
        """Nothing: a file that cannot be written is an error."""
        return ()

    @property
    def usable(self) -> bool:
        """True if any could be used."""
        return len(self.failed) < self.clips

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"path": self.path, "clips": self.clips, "failed": self.failed, "done_before": self.done_before}
