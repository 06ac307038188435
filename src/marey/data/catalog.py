"""Data sets by name, and the one way to load any."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import platformdirs

from marey.data.clip import Manifest
from marey.data.features import DESCRIPTION, feature_manifest
from marey.data.folder import VIDEO_SUFFIXES, find_manifest, read_folder
from marey.data.groups import assign_groups
from marey.data.manifest import MANIFEST_SUFFIXES, Missing, read_manifest
from marey.data.presets import PRESETS
from marey.data.published import PUBLISHED
from marey.errors import DatasetError, did_you_mean


@dataclass(frozen=True, slots=True)
class NamedData:
    """A data set that has a name.

    Attributes:
        name: the name, and its folder in `data_home`.
        summary: what it holds, in a sentence.
        way_to_get: the command that brings it.
        protocol: how it is tested in the literature.
        of: the data set whose files it shares, where it is a variant of one.
    """

    name: str
    summary: str
    way_to_get: str
    protocol: str = ""
    of: str | None = None

    @property
    def folder(self) -> Path:
        """Where it lies, or will lie."""
        return data_home() / (self.of or self.name)

    @property
    def manifest(self) -> Path:
        """The table of its clips, which is there when the data set is."""
        variant = "" if self.of is None else self.name.removeprefix(self.of)
        return self.folder / f"manifest{variant}.csv"

    @property
    def is_here(self) -> bool:
        """Whether it can be loaded."""
        return self.manifest.is_file()


def _named() -> Iterator[NamedData]:
    yield NamedData(
        "embedded",
        "drawn figures in the six KTH actions: 25 actors in four scenarios, 600 clips",
        "marey data make",
        "KTH's: train on 16 actors, test on the other nine",
    )
    yield NamedData(
        "embedded-untrimmed",
        "the same figures in long video: 50 films of six to eight actions each, with what is true when",
        "marey data make --untrimmed",
        "KTH's actors: a model of `embedded` has seen none of the nine of the test part",
    )
    for data in PUBLISHED.values():
        yield NamedData(data.name, data.summary, f"marey data get {data.name}", data.protocol)
        for variant, summary in data.variants.items():
            name = f"{data.name}-{variant}"
            yield NamedData(name, summary, f"marey data get {name}", data.protocol, of=data.name)
    for preset in PRESETS.values():
        yield NamedData(preset.name, preset.summary, f"marey data get {preset.name}", "the first official split")


CATALOG: dict[str, NamedData] = {data.name: data for data in _named()}
"""The data sets that have a name.

A second or third official split is a name of its own (`ucf101-2`) and not an option of `get`: so the three can be
trained on side by side, and what a run was trained on stands in its name.
"""


def data_home() -> Path:
    """The folder of named data sets: where MAREY_DATA says, else the user's data folder."""
    home = os.environ.get("MAREY_DATA")
    return expand_home(home) if home else platformdirs.user_data_path("marey")


def expand_home(path: str | Path) -> Path:
    """Return a path with the home folder that its ~ stands for; where there is no such user, as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises where there is no such user)


def load_data(
    data: str | Path,
    *,
    group_regex: str | None = None,
    missing: Missing = "error",
    features: Literal["refuse", "take"] = "refuse",
) -> Manifest:
    """Load a data set: a folder of class folders, a manifest, or a name.

    A folder that holds a manifest.csv is read by it. A path that exists wins over a name.

    Args:
        data: the folder, the manifest (.csv or .parquet), or the name.
        group_regex: see `assign_groups`.
        missing: whether a clip whose file is not there is an error or is kept, for `scan` to name it.
        features: what to do with a folder of features: where clips are read there is no video in it.

    Raises:
        DatasetError: there is no such data, or it cannot be used; the message says what to change.
        UsageError: the group expression is not a regular expression.
    """
    path = expand_home(data)
    if os.path.isdir(path):  # noqa: PTH112  (Path.is_dir raises where a name is too long)
        manifest = _load_features(path, features) if is_features(path) else _load_folder(path, missing)
    elif os.path.isfile(path):  # noqa: PTH113
        manifest = _load_file(path, missing)
    elif str(data) in CATALOG:
        named = CATALOG[str(data)]
        if not named.is_here:
            raise DatasetError(f"the data set '{data}' is not here yet ({named.folder}): run '{named.way_to_get}'")
        manifest = replace(
            read_manifest(named.manifest, missing=missing), source=f"the data set '{data}' in {named.folder}"
        )
    else:
        hint = did_you_mean(str(data), CATALOG)
        raise DatasetError(f"'{data}' is no folder, no manifest and no name of a data set; for a name, {hint}")
    return manifest if group_regex is None else assign_groups(manifest, group_regex=group_regex)


def is_features(data: str | Path) -> bool:
    """Whether a data set is a folder of features, as `marey data export` and `import` write it."""
    return os.path.isfile(expand_home(data) / DESCRIPTION)  # noqa: PTH113  (Path.is_file raises on long names)


def _load_features(folder: Path, features: Literal["refuse", "take"]) -> Manifest:
    if features == "refuse":
        raise DatasetError(f"{folder} holds features and no video: `marey train` learns from it, and reads no clips")
    return feature_manifest(folder)


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
