"""Features in Parquet partitions: a folder, here or in an object store, that many processes fill.

    part-00000-<hash>.parquet   some clips in the order of the data set: names, labels, states of their files, features
    partitions.json             the partitions that belong together, written last

A partition is named by the hash of its rows, the features' names in the cache among them; so one that is there needs no
second writing. Names of features stand for the content of the video and the contract.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from marey.data.clip import PARTS, Part
from marey.data.hashing import values_hash
from marey.data.importers.feature_files import write_features
from marey.data.importers.features import DESCRIPTION, FeatureClip, Features, FeatureTable
from marey.data.importers.formats import ImportOptions, register_importer
from marey.data.stored_files import names_in, remove_file, write_file
from marey.data.zoo.registry import data_home
from marey.errors import DatasetError, MareyError, Reason, UsageError, VideoError, first_line
from marey.extras import install_command
from marey.remote_path import RemotePath, as_path
from marey.video.remote_file import open_binary, remote_state

INDEX: Final = "partitions.json"
FORMAT: Final = "marey feature partitions 1"
ROWS: Final = 256
"""Clips of a partition."""

_NAME: Final = re.compile(r"part-(\d{5,})-[0-9a-f]{16}\.parquet")
_ABOUT: Final = b"marey"
_COLUMNS: Final = ("clip", "label", "group", "split", "state", "keys", "reason", "detail")


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """A clip of a partition, without its features.

    Attributes:
        clip: its name in the data set.
        label: the action.
        group: the group that a split must not divide.
        split: the part of the data set's own split.
        state: of its file when it was read, as JSON.
        keys: names of its features in the cache, in the order of the streams; empty where it cannot be used.
        reason: why it cannot be used; None where it can.
        detail: the reason in words.
    """

    clip: str
    label: str | None
    group: str | None
    split: str | None
    state: str
    keys: tuple[str, ...]
    reason: str | None = None
    detail: str = ""


class PartitionFolder:
    """A folder of partitions.

    Args:
        folder: here, or in an object store.
        contract: of the features, for JSON.
        streams: their names.

    Raises:
        UsageError: PyArrow is not installed.
    """

    def __init__(self, folder: str | Path, contract: Mapping[str, Any], streams: Sequence[str]) -> None:
        require_pyarrow()
        self.folder = as_path(folder)
        self._about = {"format": FORMAT, "streams": list(streams), "contract": dict(contract)}
        self._streams = tuple(streams)

    def check(self) -> None:
        """Refuse a folder that holds something else, or features that were made in another way.

        Raises:
            UsageError: it does, or it cannot be read or written.
        """
        names = names_in(self.folder)
        others = [name for name in names if not _NAME.fullmatch(name) and name != INDEX and not name.startswith(".")]
        if others:
            raise UsageError(f"{self.folder} holds other files ({others[0]}): name a new folder with --out")
        if INDEX in names:
            about = _index(self.folder)
            if {name: about.get(name) for name in self._about} != self._about:
                raise UsageError(
                    f"{self.folder} holds features that another recipe made: name another folder, or remove it"
                )

    def known(self) -> dict[str, tuple[PartitionRow, str]]:
        """Return the rows that are there, made under the same contract: clip -> row, and the file that holds it."""
        found: dict[str, tuple[PartitionRow, str]] = {}
        for name in filter(_NAME.fullmatch, names_in(self.folder)):
            with suppress(MareyError, OSError, ValueError):  # one that cannot be read is made again
                about, rows = _read_rows(self.folder / name)
                if about == self._about:
                    found |= {row.clip: (row, name) for row in rows}
        return found

    def name(self, number: int, rows: Sequence[PartitionRow]) -> str:
        """Return the name of a partition."""
        return f"part-{number:05d}-{values_hash([self._about, [asdict(row) for row in rows]])[:16]}.parquet"

    def write(self, name: str, rows: Sequence[PartitionRow], read: Callable[[PartitionRow, int], Features]) -> None:
        """Write a partition, whole or not at all.

        Args:
            name: see `name`.
            rows: its clips.
            read: a function from a row and the number of a stream to its features, float32 (T, D).

        Raises:
            UsageError: the folder cannot be written to.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, Any] = {
            column: pa.array([getattr(row, column) for row in rows], pa.list_(pa.string()))
            if column == "keys"
            else pa.array([getattr(row, column) for row in rows], pa.string())
            for column in _COLUMNS
        }
        for number, stream in enumerate(self._streams):
            features = [None if row.reason is not None else read(row, number) for row in rows]
            lengths = [0 if values is None else values.size for values in features]
            flat = [np.ascontiguousarray(values, np.float32).ravel() for values in features if values is not None]
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
            values = pa.array(np.concatenate(flat) if flat else np.zeros(0, np.float32), pa.float32())
            columns[f"features.{stream}"] = pa.LargeListArray.from_arrays(offsets, values)
            frames = [None if each is None else len(each) for each in features]
            columns[f"frames.{stream}"] = pa.array(frames, pa.int32())
        table = pa.table(columns).replace_schema_metadata({_ABOUT: json.dumps(self._about, sort_keys=True)})
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="none", write_statistics=False, use_dictionary=False)
        write_file(self.folder / name, sink.getvalue())

    def read(self, name: str, clip: str, stream: int) -> Features:
        """Return the features of a clip in a partition, float32 (T, D)."""
        features = _partition(self.folder / name)[clip][stream]
        assert isinstance(features, np.ndarray)  # noqa: S101 - asked for clips that have some
        return features

    def finish(self, names: Sequence[str]) -> None:
        """Say which partitions belong together, and remove all others."""
        text = json.dumps({**self._about, "partitions": list(names)}, indent=1) + "\n"
        write_file(self.folder / INDEX, text.encode())
        for name in filter(_NAME.fullmatch, names_in(self.folder)):
            if name not in names:
                remove_file(self.folder / name)


def is_partitions(data: str | Path) -> bool:
    """Return whether a data set is a folder of partitions of features."""
    folder = as_path(data)
    if not isinstance(folder, RemotePath):
        return os.path.isfile(folder / INDEX)  # noqa: PTH113  (Path.is_file raises on long names)
    if folder.suffix or folder.scheme in ("http", "https"):
        return False
    try:
        remote_state(folder / INDEX)
    except VideoError:
        return False
    return True


def feature_folder(data: str | Path) -> Path:
    """Return the folder of .npy files of a folder of features: itself, or of partitions a copy on this machine.

    Raises:
        DatasetError: the partitions are not complete, or damaged.
        UsageError: PyArrow is not installed, or there is no room for the copy.
    """
    if not is_partitions(data):
        return Path(data)
    index = _index(as_path(data))
    copy = data_home() / "unpacked-features" / values_hash(index)
    if not (copy / DESCRIPTION).is_file():
        write_features(read_partitions(data), copy, unusable="leave-out")
    return copy


@register_importer(
    "feature partitions",
    summary="a folder of Parquet partitions of features, as `marey extract --on ray --out` writes it",
    detect=is_partitions,
)
def import_partitions(source: Path, options: ImportOptions) -> FeatureTable:
    """Import partitions of features; the options do not concern them."""
    return read_partitions(source)


def read_partitions(folder: str | Path) -> FeatureTable:
    """Read a folder of partitions; the features of one partition at a time are in memory.

    Raises:
        DatasetError: it is not complete, or damaged.
        UsageError: PyArrow is not installed.
    """
    require_pyarrow()
    folder = as_path(folder)
    about = _index(folder)
    streams = tuple(map(str, about["streams"]))
    clips = []
    for name in about["partitions"]:
        try:
            _, rows = _read_rows(folder / name)
        except (MareyError, OSError, ValueError) as error:
            raise DatasetError(
                f"{folder / name} cannot be read ({first_line(error)}): extract the features again"
            ) from error
        clips += [_feature_clip(folder / name, row, streams) for row in rows]
    return FeatureTable(tuple(clips), streams, about["contract"], f"the partitions in {folder}")


def _feature_clip(path: Path, row: PartitionRow, streams: tuple[str, ...]) -> FeatureClip:
    split: Part | None = next((part for part in PARTS if part == row.split), None)
    return FeatureClip(row.clip, row.label, row.group, split, partial(_features, path, row, streams))


def _features(path: Path, row: PartitionRow, streams: tuple[str, ...], stream: str) -> Features:
    if row.reason is not None:
        raise VideoError(row.clip, cast(Reason, row.reason), row.detail)
    values = _partition(path)[row.clip][streams.index(stream)]
    assert values is not None  # noqa: S101 - there is a reason for those that have none
    return values


@lru_cache(maxsize=2)
def _partition(path: Path) -> dict[str, tuple[Features | None, ...]]:
    """Return the features of each clip of a partition, in the order of its streams."""
    import pyarrow.parquet as pq

    with open_binary(path) as file:
        table = pq.read_table(file)
    streams = [name.removeprefix("features.") for name in table.column_names if name.startswith("features.")]
    columns = []
    for stream in streams:
        chunk = table.column(f"features.{stream}").combine_chunks()
        flat, ends = chunk.values.to_numpy(zero_copy_only=False), chunk.offsets.to_numpy()
        lengths = table.column(f"frames.{stream}").to_pylist()
        columns.append(
            [
                None if frames is None else flat[start:end].reshape(frames, -1)
                for start, end, frames in zip(ends[:-1], ends[1:], lengths, strict=True)
            ]
        )
    return dict(zip(table.column("clip").to_pylist(), zip(*columns, strict=True), strict=True))


def _read_rows(path: Path) -> tuple[dict[str, Any], list[PartitionRow]]:
    import pyarrow.parquet as pq

    with open_binary(path) as file:
        parquet = pq.ParquetFile(file)
        about = json.loads((parquet.schema_arrow.metadata or {})[_ABOUT])
        found = parquet.read(columns=list(_COLUMNS)).to_pylist()
    return about, [PartitionRow(**{**row, "keys": tuple(row["keys"] or ()), "detail": row["detail"] or ""})
                   for row in found]  # fmt: skip


def _index(folder: Path) -> dict[str, Any]:
    try:
        with open_binary(folder / INDEX) as file:
            found = json.loads(file.read())
        if found["format"] != FORMAT or not found["streams"] or not isinstance(found["partitions"], list):
            raise ValueError(f"its format is {found['format']!r}, and this version of marey reads {FORMAT!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{folder / INDEX} cannot be read ({first_line(error)}): extract the features again"
        ) from error
    return dict(found)


def require_pyarrow() -> None:
    """Refuse to work with Parquet where PyArrow is not installed."""
    if find_spec("pyarrow") is None:
        raise UsageError(f"Parquet files need PyArrow, which is not installed: {install_command('parquet')}")
