"""The answers of `marey extract`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marey.data import FeatureFiles


@dataclass(frozen=True)
class Extraction:
    """The answer of `extract` to the cache.

    Attributes:
        clips: number of clips, of the shard if there is one.
        failed: path -> reason and detail of the clips that cannot be used.
        dim: length of a feature vector.
        images: number of images that were encoded now.
        cache: the folder of the features.
        shard: "K/N"; None for the whole data set.
        done_before: number of clips that an earlier call has done, and that were not read now.
    """

    clips: int
    failed: dict[str, str]
    dim: int
    images: int
    cache: Path
    shard: str | None = None
    done_before: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "cache": str(self.cache)}


@dataclass(frozen=True)
class ExtractionStatus:
    """The answer of `extract` to the question what is done.

    Attributes:
        clips: number of clips, of the shard if there is one.
        done: number of those whose features are made.
        failed: path -> reason and detail of those that could not be used; the next call tries them again.
        left: number of those that no call has read yet, or whose files have changed since.
        cache: the folder of the features.
        shard: "K/N"; None for the whole data set.
    """

    clips: int
    done: int
    failed: dict[str, str]
    left: int
    cache: Path
    shard: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "cache": str(self.cache)}


@dataclass(frozen=True)
class Exported:
    """The answer of `extract` to a file or folder.

    Attributes:
        files: the files written.
        notes: omissions and remarks, a sentence each.
    """

    files: FeatureFiles
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "path": str(self.files.path),
            "clips": len(self.files.manifest.clips),
            "streams": {name: [*self.files.lengths, dim] for name, dim in self.files.dims.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Partitioned:
    """The answer of `extract` to a folder of partitions.

    Attributes:
        path: the folder, here or in an object store.
        clips: number of clips.
        failed: path -> reason and detail of the clips that cannot be used; their rows say so.
        images: number of images that were encoded now.
        done_before: number of clips that an earlier call has done, and that were not read now.
        partitions: number of partitions.
        written: number of those that were written now.
    """

    path: str
    clips: int
    failed: dict[str, str]
    images: int
    done_before: int
    partitions: int
    written: int

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)
