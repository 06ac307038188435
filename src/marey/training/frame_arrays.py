"""Frames of a data set as arrays: one .npz file, or .npy files that NumPy maps into memory.

    X_train, X_val, X_test      uint8 (N, T, H, W, C), as Keras and scikit-learn take them
    y_train, y_val, y_test      int64 (N,), numbers of the classes
    classes                     names of the classes, in the order of their numbers

Without a split they are called X and y. A folder has clips.json as well: the clips of each array in their order, with
their groups.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from marey.atomic import atomic_file, atomic_folder, check_writable
from marey.data import PARTS, Clip, Part
from marey.data.text import format_bytes, join_first, pluralize
from marey.errors import DatasetError, UsageError, VideoError
from marey.training.datasets import ClipDataset

_AT_ONCE: Final = 8  # clips a worker is ahead


@dataclass(frozen=True)
class FrameArrays:
    """Arrays of frames that were written.

    Attributes:
        path: the folder, or the .npz file.
        shapes: name of an array of frames -> its shape.
        classes: names of the classes, in the order of their numbers.
        left_out: clips that cannot be used.
    """

    path: Path
    shapes: dict[str, tuple[int, ...]]
    classes: tuple[str, ...]
    left_out: tuple[VideoError, ...]


class _Rows(Dataset[Any]):
    """Clips, or the reason why one cannot be used, (T, H, W, C) each."""

    def __init__(self, clips: ClipDataset) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8] | VideoError:
        try:
            frames, _ = self.clips[index]
        except VideoError as error:
            return error
        found: npt.NDArray[np.uint8] = frames.permute(0, 2, 3, 1).contiguous().numpy()
        return found


def write_frame_arrays(
    dataset: ClipDataset,
    out: str | Path,
    *,
    unusable: Literal["stop", "leave-out"] = "stop",
    workers: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FrameArrays:
    """Write the frames of clips as arrays, a part of the split each; they appear when they are complete.

    Args:
        dataset: the clips; a few of them at a time are in memory.
        out: an .npz file, or a new folder for .npy files.
        unusable: whether clips that cannot be used are an error, or are left out.
        workers: processes that decode; 0 for none beside this one.
        on_progress: called with the number of finished clips and the number of clips.

    Raises:
        UsageError: `out` exists, or the disk has no room; or the recipe has several streams.
        DatasetError: clips have no labels, or cannot be used.
    """
    out = Path(out)
    packed = out.suffix.lower() == ".npz"
    _check(dataset, out, packed=packed)
    arrays = _Parts(dataset)
    loader = torch.utils.data.DataLoader(
        _Rows(dataset),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_AT_ONCE if workers else None,
        collate_fn=None,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".marey-") as work:
        arrays.create(Path(work))
        faults: list[VideoError] = []
        for number, row in enumerate(loader):
            if isinstance(row, VideoError):
                faults.append(row)
            else:
                arrays.add(number, np.asarray(row))
            on_progress(number + 1, len(dataset))
        if faults and (unusable == "stop" or len(faults) == len(dataset)):
            shown = join_first([str(fault) for fault in faults])
            raise DatasetError(
                f"{pluralize(len(faults), 'clip')} cannot be used: {shown}; --on-error skip leaves them out"
            )
        shapes = arrays.finish()
        if packed:
            with atomic_file(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
                for path in sorted(Path(work).glob("*.npy")):
                    archive.write(path, path.name)
        else:
            (Path(work) / "clips.json").write_text(json.dumps(arrays.listed(), indent=1) + "\n", encoding="utf-8")
            with atomic_folder(out) as folder:
                for path in sorted(Path(work).iterdir()):
                    path.replace(folder / path.name)
    return FrameArrays(out, shapes, dataset.classes, tuple(faults))


class _Parts:
    """The arrays of each part while they are filled."""

    def __init__(self, dataset: ClipDataset) -> None:
        self._dataset = dataset
        splits = [part for part in PARTS if any(clip.split == part for clip in dataset.clips)]
        self._names: dict[Part | None, str] = {part: f"_{part}" for part in splits}
        if not splits:
            self._names[None] = ""
        self._rows: dict[str, list[int]] = {name: [] for name in self._names.values()}
        self._frames: dict[str, Any] = {}
        self._work = Path()

    def create(self, work: Path) -> None:
        """Make the files of all arrays."""
        self._work = work
        frames, channels, height, width = self._dataset.shape
        for part, name in self._names.items():
            count = sum(clip.split == part for clip in self._dataset.clips)
            shape = (count, frames, height, width, channels)
            self._frames[name] = np.lib.format.open_memmap(work / f"X{name}.npy", "w+", np.uint8, shape)

    def add(self, number: int, frames: npt.NDArray[np.uint8]) -> None:
        """Write the frames of a clip; one of no part is passed over."""
        name = self._names.get(self._dataset.clips[number].split)
        if name is not None:
            self._frames[name][len(self._rows[name])] = frames
            self._rows[name].append(number)

    def finish(self) -> dict[str, tuple[int, ...]]:
        """Write labels and names of classes, and return the shapes of the arrays of frames."""
        shapes = {}
        for name, rows in self._rows.items():
            array = self._frames.pop(name)
            if len(rows) < len(array):  # clips were left out
                self._shorten(self._work / f"X{name}.npy", array, len(rows))
            shapes[f"X{name}"] = (len(rows), *array.shape[1:])
            labels = np.array([self._dataset.target(row) for row in rows], np.int64)
            np.save(self._work / f"y{name}.npy", labels, allow_pickle=False)
        np.save(self._work / "classes.npy", np.array(self._dataset.classes, np.str_), allow_pickle=False)
        return shapes

    def listed(self) -> dict[str, list[dict[str, str | None]]]:
        """Return the clips of each array in their order."""
        return {f"X{name}": [_entry(self._dataset.clips[row]) for row in rows] for name, rows in self._rows.items()}

    @staticmethod
    def _shorten(path: Path, array: Any, count: int) -> None:
        shorter = path.with_suffix(".part")
        new = np.lib.format.open_memmap(shorter, "w+", np.uint8, (count, *array.shape[1:]))
        for row in range(count):
            new[row] = array[row]
        new.flush()
        shorter.replace(path)


def _entry(clip: Clip) -> dict[str, str | None]:
    return {"clip": clip.id, "label": clip.label, "group": clip.group}


def _check(dataset: ClipDataset, out: Path, *, packed: bool) -> None:
    if out.exists() and (packed or not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists, and is left as it is; choose another --out")
    check_writable(out, folder=not packed)
    if len(dataset.contract.streams) > 1:
        names = ", ".join(dataset.contract.streams)
        raise UsageError(f"the recipe has the streams {names}, and one array holds one: choose a recipe with one")
    unlabelled = [clip.id for clip in dataset.clips if clip.label is None]
    if unlabelled:
        raise DatasetError(f"{pluralize(len(unlabelled), 'clip')} without a label: {join_first(unlabelled)}")
    needed = int(np.prod([len(dataset), *dataset.shape], dtype=np.int64)) * (2 if packed else 1)
    place = next(folder for folder in (out.parent, *out.parent.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UsageError(
            f"{pluralize(len(dataset), 'clip')} of {dataset.shape} take {format_bytes(needed)}, and {place} has "
            f"{format_bytes(free)} left: choose fewer frames or a smaller size with --set"
        )
