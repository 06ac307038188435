"""Import arrays: frames or features of many clips in one array, and their labels in another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np

from marey.data.clip import PARTS, Part
from marey.data.importers.array_images import infer_pixel_format
from marey.data.importers.features import FeatureTable, features_of, is_feature_file
from marey.data.importers.formats import ClipSet, ImportOptions, register_importer
from marey.data.importers.labels import class_names, labels_of
from marey.data.importers.npz import Array, open_npy, open_npz
from marey.data.importers.pickles import read_pickle
from marey.data.importers.write import ClipSource, Image
from marey.errors import DatasetError, UnknownNameError

PICKLE_SUFFIXES: Final = (".pkl", ".pickle", ".pck", ".p")

Kind = Literal["frames", "features", "labels"]

# A name may contain the part: X_train, trainX, y_val, validation_labels, ...
_PART_WORDS: Final[tuple[tuple[str, Part], ...]] = (
    ("train", "train"),
    ("val", "val"),
    ("dev", "val"),
    ("test", "test"),
)
_CLASS_NAMES: Final = ("classes", "classnames", "labelnames", "targetnames", "categories", "actions")
_IN_ORDER: Final[Mapping[int, tuple[Part | None, ...]]] = {
    1: (None,),
    2: ("train", "test"),
    3: ("train", "val", "test"),
}
_MAX_DEPTH: Final = 3
_MAX_ENTRIES: Final = 64
_SHAPES: Final = "frames are (N, T, H, W, C) or (N, T, H, W), features (N, T, D), labels (N,) or one-hot (N, classes)"


@dataclass(frozen=True)
class ArrayPart:
    """Clips of one part of a split, as arrays.

    Attributes:
        name: the name of the part in messages.
        split: the part; None if there is only one.
        items: the frames of each clip, (T, H, W, C) or (T, H, W), or its features, (T, D).
        labels: the class of each clip.
    """

    name: str
    split: Part | None
    items: Array | list[Array]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ArraySet:
    """A data set of arrays.

    Attributes:
        kind: the kind of the items.
        parts: the parts of its split, or one part with all clips.
        notes: assumptions made in reading it, one sentence each.
    """

    kind: Literal["frames", "features"]
    parts: tuple[ArrayPart, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Leaf:
    """An array, or a list instead of one, and the keys that lead to it."""

    name: str
    kind: Kind
    values: Any

    @property
    def part(self) -> Part | None:
        return next((part for word, part in _PART_WORDS if word in self.name.lower()), None)


def read_arrays(source: str | Path, *, parts: Sequence[str] = (), classes: Sequence[str] = ()) -> ArraySet:
    """Read a pickle, an .npz file or a folder of .npy files with frames (or features) and labels.

    The role of an array follows from its name (X_train, y_val, ...) and from its shape: frames have four or five axes,
    features three, labels one or two. Arrays without such names are taken in their order.

    Args:
        source: the file or the folder.
        parts: the parts of the split, in the order of the arrays, if no names identify them: train, val, test.
        classes: names of the classes, in the order of their numbers, if labels are numbers.

    Raises:
        DatasetError: the source cannot be read, or does not contain a label for each clip.
        UnknownNameError: a part is unknown.
    """
    source = Path(source)
    for name in parts:
        if name not in PARTS:
            raise UnknownNameError("part of a split", name, PARTS)
    leaves = _leaves(_read(source), "", source, _MAX_DEPTH)
    named = [leaf for leaf in leaves if _is_class_names(leaf)]
    kinds = {leaf.kind for leaf in leaves} - {"labels"}
    if len(kinds) != 1:
        what = "both frames and features" if kinds else "neither frames nor features"
        raise DatasetError(f"{source} holds {what}: {_SHAPES}")
    pairs, notes = _pairs([leaf for leaf in leaves if not _is_class_names(leaf)], parts, source)
    names = tuple(classes) or (class_names(named[0].values, source) if named else ())
    for split, items, labels in pairs:
        if len(items.values) != len(labels.values):
            raise DatasetError(
                f"{source}: {len(items.values):,} clips and {len(labels.values):,} labels in {_part_name(split)}; "
                "there has to be one label a clip"
            )
    if not any(len(items.values) for _, items, _ in pairs):
        raise DatasetError(f"{source} holds no clips: its arrays are empty")
    found, more = labels_of([(_part_name(split), labels.values) for split, _, labels in pairs], names, source)
    return ArraySet(
        cast(Literal["frames", "features"], kinds.pop()),
        tuple(
            ArrayPart(_part_name(split), split, items.values, of_part)
            for (split, items, _), of_part in zip(pairs, found, strict=True)
        ),
        (*notes, *more),
    )


def _is_arrays(source: Path) -> bool:
    if source.is_dir():
        return any(source.glob("*.npy")) and not any(source.glob("*.csv"))
    return source.suffix.lower() in (*PICKLE_SUFFIXES, ".npz") and not is_feature_file(source)


@register_importer(
    "arrays",
    summary=f"a pickle ({', '.join(PICKLE_SUFFIXES)}) or an .npz file of frames and labels",
    detect=_is_arrays,
)
def import_arrays(source: Path, options: ImportOptions) -> ClipSet | FeatureTable:
    """Import arrays of frames as clips, after a check of all values, or arrays of features."""
    arrays = read_arrays(source, parts=options.parts, classes=options.classes)
    if arrays.kind == "features":
        return features_of(arrays, source)
    with options.watch("checking clips", sum(len(part.items) for part in arrays.parts)) as on_progress:
        found = infer_pixel_format(arrays.parts, source, channels=options.channels, on_progress=on_progress)

    def frames(part: ArrayPart, index: int) -> Iterator[Image]:
        if (part.name, index) in found.faults:
            raise found.faults[part.name, index]
        yield from found.format.frames(part.items[index])

    changed = max(path.stat().st_mtime for path in (source, *source.glob("*.npy")))
    clips = tuple(
        ClipSource(
            name=f"{part.name}/{index:05d}",
            label=label,
            group=None,
            split=part.split,
            frames=partial(frames, part, index),
            source=source / part.name / str(index),
            changed=changed,
        )
        for part in arrays.parts
        for index, label in enumerate(part.labels)
    )
    made_from = {
        "source": str(source.absolute()),
        "channels": options.channels,
        "parts": ",".join(options.parts),
        "classes": ",".join(options.classes),
        "changed": f"{changed:.6f}",
    }
    return ClipSet(clips, (*arrays.notes, *found.notes), made_from)


def _read(source: Path) -> Any:
    suffix = source.suffix.lower()
    if source.is_dir():
        files = sorted(path for path in source.glob("*.npy") if not path.name.startswith("."))
        return {path.stem: open_npy(path) for path in files}
    if suffix == ".npz":
        return open_npz(source)
    if suffix in PICKLE_SUFFIXES:
        return read_pickle(source)
    raise DatasetError(f"{source} is neither a pickle ({', '.join(PICKLE_SUFFIXES)}) nor an .npz file")


def _leaves(value: Any, name: str, source: Path, depth: int) -> list[_Leaf]:
    """Return the arrays in containers, each with the keys that lead to it."""
    kind = _kind(value)
    if kind is not None:
        return [_Leaf(name, kind, value)]
    if isinstance(value, Mapping):
        inside = [(f"{name}_{key}" if name else str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        inside = [(name, item) for item in value]
    else:
        what = f"of shape {tuple(value.shape)} and type {value.dtype}" if hasattr(value, "shape") else "no array"
        raise DatasetError(f"{source}: {f'{name!r}' if name else 'what it holds'} is {what}; {_SHAPES}")
    if not depth or len(inside) > _MAX_ENTRIES:
        raise DatasetError(f"{source} is laid out otherwise than as a few arrays: {_SHAPES}")
    return [leaf for key, item in inside for leaf in _leaves(item, key, source, depth - 1)]


def _kind(value: Any) -> Kind | None:
    """Return the kind of an array by its shape; None for a container, and for other values."""
    if isinstance(value, np.ndarray):
        if value.ndim > 2 and value.dtype.kind not in "biuf":
            return None
        by_axes: dict[int, Kind] = {1: "labels", 2: "labels", 4: "frames", 5: "frames"}
        if value.ndim == 3 and value.dtype.kind == "f":
            return "features"
        return by_axes.get(value.ndim)
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(item, str | bytes | int | np.generic) for item in value):
        return "labels"
    if all(isinstance(item, np.ndarray) and item.ndim == value[0].ndim for item in value):
        by_item: dict[int, Kind] = {2: "features", 3: "frames", 4: "frames"}  # clips of different lengths
        return by_item.get(value[0].ndim)
    return None


def _is_class_names(leaf: _Leaf) -> bool:
    return leaf.kind == "labels" and re.sub("[^a-z]", "", leaf.name.lower()) in _CLASS_NAMES


_Pair = tuple[Part | None, _Leaf, _Leaf]


def _pairs(leaves: Sequence[_Leaf], parts: Sequence[str], source: Path) -> tuple[list[_Pair], tuple[str, ...]]:
    """Return the pairs of items and labels, and notes about assumptions."""
    items = [leaf for leaf in leaves if leaf.kind != "labels"]
    labels = [leaf for leaf in leaves if leaf.kind == "labels"]
    if parts or any(leaf.part is None for leaf in leaves):
        order = cast(tuple[Part, ...], tuple(parts)) or _IN_ORDER.get(len(items), ())
        if not len(items) == len(labels) == len(order):
            raise DatasetError(
                f"{source} holds {len(items)} arrays of clips and {len(labels)} of labels"
                + (f" for the parts {', '.join(parts)}" if parts else ", and no names that identify them")
                + ": name them X_train, y_train, X_val, ..., or name their parts in order (--parts train,test)"
            )
        note = "the names of the arrays do not contain the part of the split; they are taken in their order: "
        notes = () if parts or order == (None,) else (note + ", ".join(str(part) for part in order),)
        return list(zip(order, items, labels, strict=True)), notes
    found: list[_Pair] = []
    for part in PARTS:
        of_part = [[leaf for leaf in some if leaf.part == part] for some in (items, labels)]
        if [len(some) for some in of_part] == [1, 1]:
            found.append((part, of_part[0][0], of_part[1][0]))
        elif any(of_part):
            names = ", ".join(repr(leaf.name) for some in of_part for leaf in some)
            raise DatasetError(f"{source}: {part} needs one array of clips and one of labels, and has {names}")
    return found, ()


def _part_name(split: Part | None) -> str:
    return split or "clips"
