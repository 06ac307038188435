"""Write features as a folder of .npy files or as one .npz file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

import numpy as np

from marey.atomic import atomic_file, atomic_folder, check_writable
from marey.data.clip import Clip, Manifest
from marey.data.groups import assign_groups
from marey.data.importers.features import DESCRIPTION, FORMAT, PREFIX, TABLE, FeatureClip, Features, FeatureTable
from marey.data.importers.write import LEFT_OUT, Unusable, check_faults, write_left_out
from marey.data.manifest import write_manifest
from marey.data.text import join_first, pluralize
from marey.errors import DatasetError, UsageError, VideoError

_NPY_VERSION: Final = {"descr": "<f4", "fortran_order": False}


@dataclass(frozen=True)
class FeatureFiles:
    """Features that were written.

    Attributes:
        path: the folder, or the .npz file.
        manifest: its clips, each with the file of its first stream (in an .npz file, with its name).
        dims: the size D of each stream.
        lengths: the distinct lengths T.
        notes: remarks on clips that were left out, one sentence each.
    """

    path: Path
    manifest: Manifest
    dims: dict[str, int]
    lengths: tuple[int, ...]
    notes: tuple[str, ...]


@dataclass
class _Sizes:
    """The sizes that all clips must have in common."""

    dims: dict[str, int] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)

    def check(self, name: str, features: dict[str, Features]) -> None:
        """Raise `VideoError` if the features of a clip cannot be used."""
        lengths = {values.shape[0] for values in features.values()}
        if len(lengths) > 1 or 0 in lengths:
            raise VideoError(
                name, "corrupt", f"its streams have {sorted(lengths)} frames; all need the same number, at least one"
            )
        for stream, values in features.items():
            if not np.isfinite(values).all():
                raise VideoError(name, "corrupt", f"{stream} holds values that are NaN or infinite")
            dim = self.dims.setdefault(stream, values.shape[1])
            if values.shape[1] != dim or not dim:
                raise VideoError(name, "corrupt", f"{stream} has {values.shape[1]} numbers a frame, others have {dim}")
        self.lengths |= lengths


def check_features_out(out: str | Path) -> None:
    """Refuse an output path for features that exists already, or that cannot be written.

    Raises:
        UsageError: the path cannot be used; the message names the reason.
    """
    out = Path(out)
    packed = _is_packed(out)
    if out.exists() and (packed or not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists, and is left as it is; choose another --out")
    check_writable(out, folder=not packed)


def write_features(
    table: FeatureTable,
    out: str | Path,
    *,
    unusable: Unusable = "stop",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FeatureFiles:
    """Write features: an .npz file if `out` ends in .npz, else a folder. It appears when it is complete.

    Args:
        table: the clips; the features of one clip at a time are in memory.
        out: the file or the folder, which must not exist yet.
        unusable: see `Unusable`; in a folder, the list is left_out.csv.
        on_progress: called with the number of finished clips and the number of clips.

    Raises:
        UsageError: `out` exists already, or cannot be written.
        DatasetError: features are not finite, or differ in size; a name leads out of the folder.
    """
    out = Path(out)
    packed = _is_packed(out)
    check_features_out(out)
    for name in (*table.streams, *(clip.name for clip in table.clips)):
        _check_name(name, table.source)
    out.parent.mkdir(parents=True, exist_ok=True)
    sizes = _Sizes()
    usable: list[FeatureClip] = []
    faults: list[VideoError] = []
    with atomic_file(out) if packed else atomic_folder(out) as unfinished:
        for number, clip in enumerate(table.clips, start=1):
            try:
                features = {stream: clip.read(stream) for stream in table.streams}
                sizes.check(clip.name, features)
                usable.append(clip)
            except VideoError as error:
                faults.append(error)
            else:
                if not packed:
                    _write_npys(features, unfinished, clip.name)
            on_progress(number, len(table.clips))
        check_faults(faults, len(table.clips), unusable)
        if packed:
            _write_npz(replace(table, clips=tuple(usable)), unfinished, sizes)
            clips = [_clip(clip, Path(clip.name)) for clip in usable]
        else:
            _write_lists(table, usable, faults, unfinished)
            clips = [_clip(clip, out / table.streams[0] / f"{clip.name}.npy") for clip in usable]
    source = f"features of {pluralize(len(clips), 'clip')} from {table.source}"
    manifest = assign_groups(Manifest(tuple(clips), out.parent if packed else out, source, ""))
    shown = join_first([str(fault) for fault in faults])
    notes = (f"{pluralize(len(faults), 'clip')} left out that cannot be used: {shown}",) if faults else ()
    return FeatureFiles(out, manifest, sizes.dims, tuple(sorted(sizes.lengths)), notes)


def _check_name(name: str, source: str) -> None:
    """Refuse a name that leads out of the folder when it becomes a file name."""
    path = PurePosixPath(name)
    leads_out = path.is_absolute() or ".." in path.parts or bool(PureWindowsPath(name).drive)
    if leads_out or not path.parts or "\\" in name or "\0" in name:
        raise DatasetError(f"{source} has the name {name[:80]!r}, and that cannot be the name of a file")


def _clip(clip: FeatureClip, path: Path) -> Clip:
    return Clip(path, clip.label, clip.group, split=clip.split)


def _is_packed(out: Path) -> bool:
    return out.suffix.lower() == ".npz"


def _write_npys(features: dict[str, Features], folder: Path, name: str) -> None:
    for stream, values in features.items():
        path = folder / stream / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values, allow_pickle=False)


def _write_lists(
    table: FeatureTable, usable: Sequence[FeatureClip], faults: Sequence[VideoError], folder: Path
) -> None:
    rows = [_clip(clip, folder / stream / f"{clip.name}.npy") for stream in table.streams for clip in usable]
    write_manifest(Manifest(tuple(rows), folder, "", ""), folder / TABLE)
    description = {"format": FORMAT, "streams": list(table.streams), "contract": table.contract}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    if faults:
        write_left_out(faults, folder / LEFT_OUT)


def _write_npz(table: FeatureTable, path: Path, sizes: _Sizes) -> None:
    """Write the arrays clip by clip into the archive, with one clip in memory at a time."""
    if len(sizes.lengths) > 1:
        some = ", ".join(map(str, sorted(sizes.lengths)[:4]))
        raise DatasetError(
            f"clips have {some} frames, and one array needs the same number of each: write a folder instead"
        )
    (length,) = sizes.lengths
    columns = {
        "clips": [clip.name for clip in table.clips],
        "labels": [clip.label or "" for clip in table.clips],
        "groups": [clip.group or "" for clip in table.clips],
        "splits": [clip.split or "" for clip in table.clips],
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for stream in table.streams:
            with archive.open(f"{PREFIX}{stream}.npy", "w", force_zip64=True) as file:
                shape = (len(table.clips), length, sizes.dims[stream])
                np.lib.format.write_array_header_1_0(file, {**_NPY_VERSION, "shape": shape})
                for clip in table.clips:
                    file.write(np.ascontiguousarray(clip.read(stream), "<f4").tobytes())
        for name, texts in columns.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.array(texts, np.str_), allow_pickle=False)
        if table.contract is not None:
            with archive.open("contract.npy", "w") as file:
                text = np.array(json.dumps(dict(table.contract)))
                np.lib.format.write_array(file, text, allow_pickle=False)
