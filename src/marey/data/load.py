"""Load a data set: a folder, a manifest or a name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

from marey.data.clip import Manifest
from marey.data.folder import VIDEO_SUFFIXES, find_manifest, read_folder, read_remote_folder
from marey.data.groups import assign_groups
from marey.data.importers.feature_partitions import feature_folder, is_partitions
from marey.data.importers.features import DESCRIPTION, feature_manifest
from marey.data.manifest import MANIFEST_SUFFIXES, Missing, read_manifest
from marey.data.zoo import CATALOG
from marey.data.zoo.registry import expand_home
from marey.errors import DatasetError, did_you_mean
from marey.remote_path import RemotePath
from marey.video.remote_list import list_remote


def load_data(
    data: str | Path,
    *,
    group_regex: str | None = None,
    missing: Missing = "error",
    features: Literal["refuse", "take"] = "refuse",
) -> Manifest:
    """Load a data set: a folder of class folders, a manifest, or a name.

    A folder with a manifest.csv is read by that manifest. An existing path takes precedence over a name. Folders and
    manifests may lie on another machine, s3://bucket/clips; whether each file is there shows when it is read.

    Args:
        data: the folder, the manifest (.csv or .parquet), or the name.
        group_regex: see `assign_groups`.
        missing: whether a clip without a file is an error or is kept, so that `scan` reports it.
        features: whether to refuse or take a folder of features, which contains no video.

    Raises:
        DatasetError: there is no such data set, or it cannot be used; the message names the remedy.
        UsageError: the group expression is not a regular expression.
    """
    path = expand_home(data)
    if isinstance(path, RemotePath):
        manifest = _load_features(path, features) if is_features(path) else _load_remote(path, missing)
    elif os.path.isdir(path):  # noqa: PTH112  (Path.is_dir raises where a name is too long)
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
    """Return True if a data set is a folder of features, as `marey extract` and `import` write it."""
    folder = expand_home(data)
    return is_partitions(folder) or os.path.isfile(folder / DESCRIPTION)  # noqa: PTH113  (Path.is_file raises)


def _load_features(folder: Path, features: Literal["refuse", "take"]) -> Manifest:
    if features == "refuse":
        raise DatasetError(f"{folder} holds features and no video: only `marey train` reads it")
    return feature_manifest(feature_folder(folder))


def _load_folder(folder: Path, missing: Missing) -> Manifest:
    listed = find_manifest(folder)
    return read_folder(folder, missing=missing) if listed is None else read_manifest(listed, missing=missing)


def _load_remote(path: RemotePath, missing: Missing) -> Manifest:
    if path.suffix.lower() in (*MANIFEST_SUFFIXES, *VIDEO_SUFFIXES):
        return _load_file(path, missing)
    files = list_remote(path)
    listed = next(
        (path / f"manifest{suffix}" for suffix in MANIFEST_SUFFIXES if path / f"manifest{suffix}" in files), None
    )
    if listed is not None:
        return read_manifest(listed, missing=missing)
    if path / DESCRIPTION in files:
        raise DatasetError(f"{path} holds features, which are read from a local folder: copy it here")
    return read_remote_folder(path, files)


def _load_file(path: Path, missing: Missing) -> Manifest:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise DatasetError(f"{path} is one video, not a data set: give a folder of class folders or a manifest")
    if path.suffix.lower() not in MANIFEST_SUFFIXES:
        raise DatasetError(
            f"{path} is not a data set: give a folder of class folders, or a manifest "
            f"({' or '.join(MANIFEST_SUFFIXES)})"
        )
    return read_manifest(path, missing=missing)
