"""Features as files, to exchange them with other programs.

A folder of features:

    features.json               the streams, and how they were computed, if known
    features.csv                path,label,group,start,end,split: a row per clip and stream
    <stream>/<clip>.npy         float32 (T, D)

An .npz file of features: `features.<stream>` float32 (N, T, D); `clips`, `labels`, `groups` and `splits` of the N clips
as text (empty if unknown); `contract` as JSON text.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from marey.data.clip import PARTS, Clip, Manifest, Part
from marey.data.importers.formats import ImportOptions, register_importer
from marey.data.importers.npz import MAX_ITEM_BYTES, Array, open_npy, open_npz
from marey.data.importers.unpickle import is_text
from marey.data.manifest import read_manifest
from marey.data.text import join_first, pluralize
from marey.errors import DatasetError, VideoError

if TYPE_CHECKING:
    from marey.data.importers.arrays import ArraySet

TABLE: Final = "features.csv"
DESCRIPTION: Final = "features.json"
FORMAT: Final = "marey features 1"
PREFIX: Final = "features."
STREAM: Final = "features"
"""The name of a stream without one."""

Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FeatureClip:
    """A clip with features.

    Attributes:
        name: a unique name, with forward slashes.
        label: the action.
        group: the group that a split must not divide.
        split: the part of the split.
        read: a function from the name of a stream to its features, float32 (T, D); it raises `VideoError` if they
            cannot be used.
    """

    name: str
    label: str | None
    group: str | None
    split: Part | None
    read: Callable[[str], Features]


@dataclass(frozen=True)
class FeatureTable:
    """Clips with their features.

    Attributes:
        clips: the clips.
        streams: the names of the streams of each clip.
        contract: how the features were computed, for JSON; None if unknown.
        source: a description of the data that were read.
        notes: assumptions made in reading them, one sentence each.
    """

    clips: tuple[FeatureClip, ...]
    streams: tuple[str, ...]
    contract: Mapping[str, Any] | None
    source: str
    notes: tuple[str, ...] = ()


@register_importer(
    "feature file",
    summary="an .npz file of features",
    detect=lambda source: source.suffix.lower() == ".npz" and is_feature_file(source),
)
def import_feature_file(source: Path, options: ImportOptions) -> FeatureTable:
    """Import a file of features; the options do not concern it."""
    return read_feature_file(source)


def _is_feature_folder(source: Path) -> bool:
    if (source / DESCRIPTION).is_file() or (source / TABLE).is_file():
        return True
    listed = any(source.glob("*.csv")) or not any(source.glob("*.npy"))
    return source.is_dir() and listed and next(source.rglob("*.npy"), None) is not None


@register_importer(
    "feature folder",
    summary="a folder of .npy features with a CSV file that lists them",
    detect=_is_feature_folder,
)
def import_feature_folder(source: Path, options: ImportOptions) -> FeatureTable:
    """Import a folder of features; the options do not concern it."""
    return read_feature_folder(source)


def read_feature_folder(root: str | Path) -> FeatureTable:
    """Read a folder of .npy files, (T, D) each, and the CSV file that lists them.

    The folder is one that `write_features` wrote, or any with one CSV file whose columns are path and label, and group
    and split if known. A path may have no suffix, or the suffix of the video, in place of .npy.

    Raises:
        DatasetError: there is no list or several, a file is missing, or `read_manifest` refuses the list.
    """
    root = Path(root)
    listed = _the_list(root)
    manifest = read_manifest(listed, missing="keep")
    found: dict[str, dict[str, Path]] = {}
    clips: dict[str, Clip] = {}
    streams, contract = _description(root)
    renamed = 0
    for clip in manifest.clips:
        if clip.start is not None or clip.end is not None:
            raise DatasetError(f"{listed} gives {clip.path} a start or an end, and a file of features is read whole")
        path = _npy(clip.path)
        if path is None:
            raise DatasetError(f"{listed} names {clip.path}, and there is no .npy file of that name")
        renamed += path != clip.path
        name = path.relative_to(root).with_suffix("").as_posix() if path.is_relative_to(root) else path.stem
        stream = STREAM
        if streams:
            stream, _, name = name.partition("/")
        if stream in found.setdefault(name, {}):
            raise DatasetError(f"{listed} names the features of {name!r} twice")
        found[name][stream] = path
        first = clips.setdefault(name, clip)
        if (first.label, first.group, first.split) != (clip.label, clip.group, clip.split):
            raise DatasetError(f"{listed} has different values for the streams of {name!r}")
    streams = streams or (STREAM,)
    for name, paths in found.items():
        if set(paths) != set(streams):
            raise DatasetError(
                f"{listed}: {name!r} has features of {', '.join(sorted(paths))}, not {', '.join(streams)}"
            )
    notes = list(manifest.notes)
    if renamed:
        notes.append(f"{pluralize(renamed, 'path')} without .npy: the .npy file of the same name was taken")
    return FeatureTable(
        tuple(
            FeatureClip(name, clip.label, clip.group, clip.split, partial(read_npy, found[name]))
            for name, clip in clips.items()
        ),
        streams,
        contract,
        f"the folder {root}",
        tuple(notes),
    )


def feature_manifest(root: str | Path) -> Manifest:
    """Return the clips of a feature folder, each with the file of its first stream, in the same order."""
    root = Path(root)
    streams, _ = _description(root)
    manifest = read_manifest(root / TABLE)
    clips = [clip for clip in manifest.clips if clip.path.relative_to(root).parts[0] == streams[0]]
    return replace(manifest, clips=tuple(clips), source=f"the features in {root}")


def is_feature_file(path: str | Path) -> bool:
    """Return True if an .npz file contains features, as `write_features` writes it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith(PREFIX) for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def read_feature_file(path: str | Path) -> FeatureTable:
    """Read features from an .npz file as `write_features` writes it.

    Raises:
        DatasetError: it is none, damaged, or its arrays are of different lengths.
    """
    path = Path(path)
    arrays = open_npz(path)
    streams = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
    wrong = [name for name, array in streams.items() if array.ndim != 3 or array.dtype.kind != "f"]
    if not streams or wrong:
        raise DatasetError(f"{path} is no file of features: it needs arrays (N, T, D) named {PREFIX}NAME")
    count = len(next(iter(streams.values())))
    texts = {name: _texts(arrays.get(name), name, count, path) for name in ("clips", "labels", "groups", "splits")}
    lengths = {len(array) for array in streams.values()} | {len(values) for values in texts.values()}
    if len(lengths) > 1:
        raise DatasetError(f"{path}: arrays are of different lengths: {', '.join(map(str, sorted(lengths)))}")
    names = [name or f"{number:05d}" for number, name in enumerate(texts["clips"])]
    if len(set(names)) < len(names):
        raise DatasetError(f"{path}: two clips have the same name")
    unknown = sorted({split for split in texts["splits"] if split and split not in PARTS})
    if unknown:
        raise DatasetError(f"{path}: the split {unknown[0]!r} is none of {', '.join(PARTS)}")
    contract = arrays.get("contract")
    clips = tuple(
        FeatureClip(
            name, label, group, next((part for part in PARTS if part == split), None), partial(_row, streams, row)
        )
        for row, (name, label, group, split) in enumerate(
            zip(names, texts["labels"], texts["groups"], texts["splits"], strict=True)
        )
    )
    made = None if contract is None else _json(str(contract), f"{path}: the contract")
    return FeatureTable(clips, tuple(streams), made, f"the file {path}")


def features_of(arrays: ArraySet, source: str | Path) -> FeatureTable:
    """Return the features of an `ArraySet` of features."""
    clips = [
        FeatureClip(f"{part.name}/{index:05d}", label, None, part.split, partial(_item, part.items, index))
        for part in arrays.parts
        for index, label in enumerate(part.labels)
    ]
    return FeatureTable(tuple(clips), (STREAM,), None, f"the arrays in {source}", arrays.notes)


def _item(items: Any, index: int, stream: str) -> Features:
    return np.array(items[index], np.float32)


def _row(streams: Mapping[str, Array], row: int, stream: str) -> Features:
    return np.array(streams[stream][row], np.float32)


def read_npy(paths: Mapping[str, Path], stream: str) -> Features:
    """Return the features of a stream, (T, D).

    Raises:
        VideoError: the file cannot be used.
    """
    try:
        values = open_npy(paths[stream])
    except DatasetError as error:
        raise VideoError(paths[stream], "corrupt", str(error)) from error
    if values.dtype.kind not in "iuf" or values.ndim not in (1, 2):
        held = f"it holds {values.dtype} {values.shape}; features are numbers (T, D), or (D,)"
        raise VideoError(paths[stream], "corrupt", held)
    return np.atleast_2d(values).astype(np.float32)


def _the_list(root: Path) -> Path:
    if (root / TABLE).is_file():
        return root / TABLE
    lists = sorted(path for path in root.glob("*.csv") if not path.name.startswith("."))
    if len(lists) != 1:
        found = join_first([path.name for path in lists]) if lists else "none"
        raise DatasetError(f"{root} needs one CSV file that lists its features (columns path,label), and has {found}")
    return lists[0]


def _description(root: Path) -> tuple[tuple[str, ...], Mapping[str, Any] | None]:
    path = root / DESCRIPTION
    if not path.is_file():
        return (), None
    try:
        values = _json(path.read_text(encoding="utf-8"), str(path))
        streams = values["streams"]
        named = isinstance(streams, list) and streams and all(isinstance(name, str) for name in streams)
        if values["format"] != FORMAT or not named:
            raise DatasetError(f"{path} does not describe features as this version of marey knows them ({FORMAT!r})")
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    return tuple(streams), values.get("contract")


def _json(text: str, what: str) -> Mapping[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{what} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise DatasetError(f"{what} is not a JSON object")
    return values


def _npy(path: Path) -> Path | None:
    candidates = (path, path.with_suffix(".npy"), path.with_name(f"{path.name}.npy"))
    return next((place for place in candidates if place.suffix == ".npy" and place.is_file()), None)


def _texts(array: Array | None, name: str, count: int, path: Path) -> list[str | None]:
    if array is None:
        return [None] * count
    if array.ndim != 1 or array.dtype.kind != "U" or array.nbytes > MAX_ITEM_BYTES or not is_text(array):
        raise DatasetError(f"{path}: {name} have to be text (N,)")
    return [str(text) or None for text in array]
