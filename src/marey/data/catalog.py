"""Data sets by name, and the one way to load any."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from marey.data.clip import Manifest
from marey.data.folder import VIDEO_SUFFIXES, find_manifest, read_folder
from marey.data.groups import assign_groups
from marey.data.manifest import MANIFEST_SUFFIXES, Missing, read_manifest
from marey.errors import DatasetError, did_you_mean


@dataclass(frozen=True, slots=True)
class NamedData:
    """A data set that has a name.

    Attributes:
        name: the name, and its folder in `data_home`.
        summary: what it holds, in a sentence.
        way_to_get: the command that brings it.
    """

    name: str
    summary: str
    way_to_get: str

    @property
    def folder(self) -> Path:
        """Where it lies, or will lie."""
        return data_home() / self.name

    @property
    def is_here(self) -> bool:
        """Whether it can be loaded."""
        return find_manifest(self.folder) is not None


CATALOG: dict[str, NamedData] = {
    data.name: data
    for data in (
        NamedData(
            "embedded",
            "drawn figures in the six KTH actions: 25 actors in four scenarios, 600 clips",
            "marey data make",
        ),
    )
}
"""The data sets that have a name."""


def data_home() -> Path:
    """The folder of named data sets: where MAREY_DATA says, else the user's data folder."""
    home = os.environ.get("MAREY_DATA")
    return Path(home).expanduser() if home else platformdirs.user_data_path("marey")


def load_data(data: str | Path, *, group_regex: str | None = None, missing: Missing = "error") -> Manifest:
    """Load a data set: a folder of class folders, a manifest, or a name.

    A folder that holds a manifest.csv is read by it. A path that exists wins over a name.

    Args:
        data: the folder, the manifest (.csv or .parquet), or the name.
        group_regex: see `assign_groups`.
        missing: whether a clip whose file is not there is an error or is kept, for `scan` to name it.

    Raises:
        DatasetError: there is no such data, or it cannot be used; the message says what to change.
        UsageError: the group expression is not a regular expression.
    """
    path = Path(data).expanduser()
    if os.path.isdir(path):  # noqa: PTH112  (Path.is_dir raises where a name is too long)
        manifest = _load_folder(path, missing)
    elif os.path.isfile(path):  # noqa: PTH113
        manifest = _load_file(path, missing)
    elif str(data) in CATALOG:
        named = CATALOG[str(data)]
        if not named.is_here:
            raise DatasetError(f"the data set '{data}' is not here yet ({named.folder}): run '{named.way_to_get}'")
        manifest = replace(_load_folder(named.folder, missing), source=f"the data set '{data}' in {named.folder}")
    else:
        hint = did_you_mean(str(data), CATALOG)
        raise DatasetError(f"'{data}' is no folder, no manifest and no name of a data set; for a name, {hint}")
    return manifest if group_regex is None else assign_groups(manifest, group_regex=group_regex)


def _load_folder(folder: Path, missing: Missing) -> Manifest:
    listed = find_manifest(folder)
    return read_folder(folder, missing=missing) if listed is None else read_manifest(listed, missing=missing)


def _load_file(path: Path, missing: Missing) -> Manifest:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise DatasetError(f"{path} is one video, not a data set: give a folder of class folders or a manifest")
    if path.suffix.lower() not in MANIFEST_SUFFIXES:
        raise DatasetError(
            f"{path} is not a data set: give a folder of class folders, or a manifest "
            f"({' or '.join(MANIFEST_SUFFIXES)})"
        )
    return read_manifest(path, missing=missing)
