"""Data sets that people keep as arrays: frames or features of many clips in one array, and their labels in another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np

from marey.data.array_labels import class_names, labels_of
from marey.data.clip import PARTS, Part
from marey.data.stored_arrays import Items, StoredArray, open_npy, open_npz
from marey.data.unpickling import read_pickle
from marey.errors import DatasetError, UnknownNameError

PICKLE_SUFFIXES: Final = (".pkl", ".pickle", ".pck", ".p")

Kind = Literal["frames", "features", "labels"]

# Where a name says which part it is: X_train, trainX, y_val, validation_labels, ...
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
    """Clips of one side of a split, as arrays.

    Attributes:
        name: what they are called in messages.
        split: the side; None where there is but one.
        items: of each clip its frames, (T, H, W, C) or (T, H, W), or its features, (T, D).
        labels: of each clip its class.
    """

    name: str
    split: Part | None
    items: Items
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ArraySet:
    """A data set of arrays.

    Attributes:
        kind: what the items are.
        parts: the sides of its split, or all clips in one.
        notes: how it was read, a sentence each.
    """

    kind: Literal["frames", "features"]
    parts: tuple[ArrayPart, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Leaf:
    """An array, or a list that stands for one, and the keys that lead to it."""

    name: str
    kind: Kind
    values: Any

    @property
    def part(self) -> Part | None:
        return next((part for word, part in _PART_WORDS if word in self.name.lower()), None)


def read_arrays(source: str | Path, *, parts: Sequence[str] = (), classes: Sequence[str] = ()) -> ArraySet:
    """Read a pickle, an .npz file or a folder of .npy files that holds frames (or features) and labels.

    Which array is what is told by names where there are any (X_train, y_val, ...), and by shapes: frames have four
    axes or five, features three, labels one or two. Arrays without such names are taken in their order.

    Args:
        source: the file or the folder.
        parts: which sides of the split the arrays are, in their order, where no names say so: train, val, test.
        classes: names of the classes, in the order of their numbers, where labels are numbers.

    Raises:
        DatasetError: the source cannot be read, or does not hold a label for each clip.
        UnknownNameError: a part that is none.
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
                f"{source}: {len(items.values):,} clips and {len(labels.values):,} labels in {_called(split)}; "
                "there has to be one label a clip"
            )
    if not any(len(items.values) for _, items, _ in pairs):
        raise DatasetError(f"{source} holds no clips: its arrays are empty")
    found, more = labels_of([(_called(split), labels.values) for split, _, labels in pairs], names, source)
    return ArraySet(
        cast(Literal["frames", "features"], kinds.pop()),
        tuple(
            ArrayPart(_called(split), split, items.values, of_part)
            for (split, items, _), of_part in zip(pairs, found, strict=True)
        ),
        (*notes, *more),
    )


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
    """The arrays in containers, each with the keys that lead to it."""
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
    """What an array is by its shape; None for a container, and for what is no array of ours."""
    if isinstance(value, np.ndarray | StoredArray):
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
    """Items and labels that belong together, and how that was found."""
    items = [leaf for leaf in leaves if leaf.kind != "labels"]
    labels = [leaf for leaf in leaves if leaf.kind == "labels"]
    if parts or any(leaf.part is None for leaf in leaves):
        order = cast(tuple[Part, ...], tuple(parts)) or _IN_ORDER.get(len(items), ())
        if not len(items) == len(labels) == len(order):
            raise DatasetError(
                f"{source} holds {len(items)} arrays of clips and {len(labels)} of labels"
                + (f" for the parts {', '.join(parts)}" if parts else ", and no names that say which are which")
                + ": name them X_train, y_train, X_val, ..., or name their parts in their order (--parts train,test)"
            )
        note = "the arrays have no names that say which part they are, and are taken in their order: "
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


def _called(split: Part | None) -> str:
    return split or "clips"
