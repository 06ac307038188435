"""Find the files that lists and annotations of other programs name, often by the paths of another machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from marey.data.folder import VIDEO_SUFFIXES
from marey.errors import DatasetError


@dataclass(frozen=True)
class FileIndex:
    """Files below a folder by their stem."""

    files: Mapping[str, list[Path]]

    def find(self, wanted: str) -> Path | None:
        """Return the file with the stem of a path; of several the one that shares most of its last folders.

        Raises:
            DatasetError: two share as many.
        """
        *folders, stem = _parts(wanted) or ("",)
        ranked = sorted(
            ((_shared(path.parent.parts, folders), path) for path in self.files.get(stem, [])), reverse=True
        )
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            raise DatasetError(f"{wanted} may be {ranked[0][1]} or {ranked[1][1]}: name folders in the list, or rename")
        return ranked[0][1] if ranked else None


def index_files(root: Path, wanted: Callable[[str], bool]) -> FileIndex:
    """Return the files below a folder whose suffix, in small letters, is wanted; hidden ones are left out."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*")):
        if wanted(path.suffix.lower()) and path.is_file() and not path.name.startswith("."):
            files[path.stem].append(path)
    return FileIndex(files)


def index_videos(root: Path) -> FileIndex:
    """Return the videos below a folder."""
    return index_files(root, lambda suffix: suffix in VIDEO_SUFFIXES)


def file_at(text: str, root: Path) -> Path | None:
    """Return the file at a path as it is written, from a folder or from the root of the machine; None without one."""
    with suppress(OSError, ValueError):  # a name that is too long, or holds a zero byte
        for written in dict.fromkeys((text, text.replace("\\", "/"))):
            for path in (root / written, Path(written)):
                if path.is_file():
                    return path
    return None


def stem_of(text: str) -> str:
    """Return the name of a video without folders and without the suffix of a video, from a path of any system."""
    return (_parts(text) or ("",))[-1]


def _parts(text: str) -> tuple[str, ...]:
    path = PurePosixPath(text.replace("\\", "/"))
    return (path.with_suffix("") if path.suffix.lower() in (*VIDEO_SUFFIXES, ".npy") else path).parts


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the number of last folders that two paths share."""
    count = 0
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if mine != theirs:
            break
        count += 1
    return count
