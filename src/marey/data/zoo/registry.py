"""The registry of named data sets.

A published data set is registered by the decorator `register_dataset` on the function that reads its files
(`readers.py`), a preset by an entry in `presets.py`. The two drawn data sets are only listed here; the package
`marey.synthetic` above this one draws them.

Sizes and hashes are given only if they are certain. No publisher states any; those of UCF101 are the ones that
TensorFlow Datasets (the lists) and torchvision (both files) check, and the size that its server states. For all other
files the first download is trusted, checked against the server's Content-Length and the checksums in the archive, and
recorded in `downloads.json`: every later download has to be the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import platformdirs

from marey.data.clip import Clip
from marey.data.text import join_first
from marey.data.zoo.download import RemoteFile
from marey.errors import DatasetError
from marey.remote_path import as_path, is_remote

_MAX_LIST_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class NamedData:
    """A data set that has a name.

    Attributes:
        name: the name, and its folder in `data_home`.
        summary: its content, in one sentence.
        way_to_get: the command that installs it.
        protocol: its evaluation protocol in the literature.
        of: for a variant of a data set, the data set whose files it shares.
    """

    name: str
    summary: str
    way_to_get: str
    protocol: str = ""
    of: str | None = None

    @property
    def folder(self) -> Path:
        """The folder of its files, even if they are not installed."""
        return data_home() / (self.of or self.name)

    @property
    def manifest(self) -> Path:
        """The manifest, which exists if the data set is installed."""
        variant = "" if self.of is None else self.name.removeprefix(self.of)
        return self.folder / f"manifest{variant}.csv"

    @property
    def is_here(self) -> bool:
        """True if the data set is installed."""
        return self.manifest.is_file()


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive, or a plain file, of a data set.

    Attributes:
        file: its source.
        holds: a regular expression for the name of a file in it; a matching file shows that the archive is unpacked.
        spared: variants of the data set that do without it, where a folder of files is given.
    """

    file: RemoteFile
    holds: str
    spared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """The clips of one variant of a data set, and remarks about them, one sentence each."""

    clips: tuple[Clip, ...]
    notes: tuple[str, ...] = ()


class Files:
    """All files below some folders, found by their names.

    Args:
        roots: the folders; links are followed, each real folder once, and hidden files are skipped.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._paths = [path for root in roots for path in _below(root)]

    def matching(self, expression: str) -> dict[re.Match[str], Path]:
        """Return the files whose names match, by path; of several with one name the first."""
        found: dict[str, tuple[re.Match[str], Path]] = {}
        pattern = re.compile(expression, re.IGNORECASE)
        for path in self._paths:
            match = pattern.fullmatch(path.name)
            if match:
                found.setdefault(path.name, (match, path))
        return dict(found.values())

    def has(self, expression: str) -> bool:
        """Return True if the name of a file matches."""
        pattern = re.compile(expression, re.IGNORECASE)
        return any(pattern.fullmatch(path.name) for path in self._paths)

    def named(self, name: str) -> Path | None:
        """Return the first file of this name, or None."""
        return next((path for path in self._paths if path.name == name), None)

    def lines(self, name: str) -> list[str]:
        """Return the non-empty lines of the text file of this name, without white space around them.

        Raises:
            DatasetError: there is no such file, or it is not text.
        """
        path = self.named(name)
        if path is None:
            raise DatasetError(f"there is no {name} in {join_first([str(root) for root in self.roots])}: add it")
        try:
            if path.stat().st_size > _MAX_LIST_BYTES:
                raise DatasetError(f"{path} is too long for a list of clips")
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DatasetError(f"{path} is not text in UTF-8: {error}") from error
        return [line.strip() for line in text.splitlines() if line.strip()]


def _below(root: Path) -> Iterator[Path]:
    entered: set[str] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()  # a circle of links
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))


Reader = Callable[[Files], Mapping[str, Table]]
"""A function from the files of a data set to its variants; the name of the first variant is ''."""


@dataclass(frozen=True, slots=True)
class Published:
    """A published data set.

    Attributes:
        name: the name.
        summary: its content.
        protocol: its evaluation protocol in the literature.
        page: the URL of its description.
        archives: the files to download.
        read: a function from the unpacked files to the clips of each variant.
        variants: for each variant (another official split, or other clips of the same files), the suffix of its name
            after a hyphen, and its summary.
    """

    name: str
    summary: str
    protocol: str
    page: str
    archives: tuple[Archive, ...]
    read: Reader
    variants: Mapping[str, str] = field(default_factory=dict)


PUBLISHED: Final[dict[str, Published]] = {}
"""The published data sets by name."""

CATALOG: Final[dict[str, NamedData]] = {
    data.name: data
    for data in (
        NamedData(
            "embedded",
            "drawn figures in the six KTH actions: 25 actors in four scenarios, 600 clips",
            "marey data make",
            "KTH's: train on 16 actors, test on the other nine",
        ),
        NamedData(
            "embedded-untrimmed",
            "the same figures in long video: 50 videos of six to eight actions each, with their times",
            "marey data make --untrimmed",
            "KTH's actors: the nine actors of the test part are new to a model of `embedded`",
        ),
    )
}
"""All data sets that have a name.

A second or third official split has a name of its own (`ucf101-2`) and is no option of `get`: so models of all three
can be trained side by side, and the name of the data in a run identifies the split.
"""


def register_dataset(
    name: str,
    *,
    summary: str,
    protocol: str,
    page: str,
    archives: Sequence[Archive],
    variants: Mapping[str, str] | None = None,
) -> Callable[[Reader], Reader]:
    """Return a decorator that registers the reader of a published data set; see `Published` for the arguments."""

    def register(read: Reader) -> Reader:
        data = PUBLISHED[name] = Published(name, summary, protocol, page, tuple(archives), read, variants or {})
        CATALOG[name] = NamedData(name, summary, f"marey data get {name}", protocol)
        for suffix, text in data.variants.items():
            variant = f"{name}-{suffix}"
            CATALOG[variant] = NamedData(variant, text, f"marey data get {variant}", protocol, of=name)
        return read

    return register


def data_home() -> Path:
    """Return the folder of the named data sets: MAREY_DATA if it is set, else the user's data folder."""
    home = os.environ.get("MAREY_DATA")
    return expand_home(home) if home else platformdirs.user_data_path("marey")


def expand_home(path: str | Path) -> Path:
    """Return the path with ~ replaced by the home folder; unchanged if there is no such user, or for a URL."""
    return as_path(path) if is_remote(path) else Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises if there is no such user)
