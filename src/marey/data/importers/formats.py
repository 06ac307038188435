"""The registry of importers: functions that read data sets that are not video files.

An importer is a function with the decorator `register_importer`. It returns clips to write as video, or features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from marey.errors import DatasetError
from marey.remote_path import as_path, is_remote

if TYPE_CHECKING:
    from marey.data.clip import Manifest
    from marey.data.importers.features import FeatureTable
    from marey.data.importers.write import ClipSource

Channels = Literal["rgb", "bgr"]
Take = Literal["auto", "features", "videos"]


@contextmanager
def _unwatched(title: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda done: None


@dataclass(frozen=True)
class ImportOptions:
    """The options of an import.

    Attributes:
        parts: parts of the split of arrays without names, in their order.
        classes: names of the classes, in the order of their numbers.
        channels: order of the colours in arrays.
        take: what is imported where there are videos and features of them.
        frame_rate: frames per second at which frames were counted; None for the rate of each file, and for 25 where
            there are no files yet.
        videos: the folder of the videos that annotations are about; None for the folder of the annotations.
        watch: opens a step of the work with its title and number of clips, and returns a function to call with the
            number of finished clips.
    """

    parts: Sequence[str] = ()
    classes: Sequence[str] = ()
    channels: Channels = "rgb"
    take: Take = "auto"
    frame_rate: float | None = None
    videos: Path | None = None
    watch: Callable[[str, int], AbstractContextManager[Callable[[int], None]]] = _unwatched


@dataclass(frozen=True)
class ClipSet:
    """Clips that are not video files yet.

    Attributes:
        clips: the clips.
        notes: assumptions made in reading them, one sentence each.
        made_from: the source and the options, which distinguish one import from another.
    """

    clips: tuple[ClipSource, ...]
    notes: tuple[str, ...]
    made_from: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VideoList:
    """Videos that other programs listed, and that stay where they are.

    Attributes:
        manifest: those that are there.
        missing: paths of the others, as they are written.
        notes: what was matched, one sentence each.
    """

    manifest: Manifest
    missing: tuple[str, ...]
    notes: tuple[str, ...]


Read = Callable[[Path, ImportOptions], "ClipSet | FeatureTable | VideoList"]


@dataclass(frozen=True, slots=True)
class Importer:
    """A registered importer.

    Attributes:
        name: the name of the format.
        summary: a description for messages.
        detect: returns True if a file or a folder has the format.
        read: reads it.
    """

    name: str
    summary: str
    detect: Callable[[Path], bool]
    read: Read


IMPORTERS: Final[dict[str, Importer]] = {}
"""The importers by name, in the order in which they are tried."""


def register_importer(
    name: str, *, summary: str, detect: Callable[[Path], bool], before: str = ""
) -> Callable[[Read], Read]:
    """Return a decorator that registers an importer; see `Importer` for the arguments.

    Args:
        name: of the format.
        summary: a description for messages.
        detect: returns True if a file or a folder has the format.
        before: the name of an importer that it is tried before; by default it is the last.
    """

    def register(read: Read) -> Read:
        later = list(IMPORTERS)[list(IMPORTERS).index(before) :] if before else []
        moved = {each: IMPORTERS.pop(each) for each in later}
        IMPORTERS[name] = Importer(name, summary, detect, read)
        IMPORTERS.update(moved)
        return read

    return register


def detect_format(source: str | Path) -> str:
    """Return the name of the first importer that detects the format of a file or a folder.

    Raises:
        DatasetError: the source does not exist, or no importer reads it.
    """
    source = as_path(source)
    known = "; ".join(importer.summary for importer in IMPORTERS.values())
    if is_remote(source):
        if IMPORTERS["feature partitions"].detect(source):
            return "feature partitions"
        raise DatasetError(f"{source} holds no partitions of features: copy it here, and import the copy")
    if not source.exists():
        raise DatasetError(f"{source} is not there: give {known}")
    for importer in IMPORTERS.values():
        if importer.detect(source):
            return importer.name
    if source.is_dir():
        raise DatasetError(f"{source} holds neither images nor .npy files: give {known}")
    raise DatasetError(f"{source} is no form of a data set that is imported: give {known}")


def read_source(source: str | Path, options: ImportOptions = ImportOptions()) -> ClipSet | FeatureTable | VideoList:
    """Read a data set that is not made of video files, with the importer of its format.

    Raises:
        DatasetError: the source does not exist, no importer reads it, or it cannot be used.
        UnknownNameError: an option has an unknown value.
    """
    source = as_path(source)
    return IMPORTERS[detect_format(source)].read(source, options)
