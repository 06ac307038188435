"""Labels in arrays: names, numbers or one-hot rows; and the names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from marey.data.importers.npz import MAX_ITEM_BYTES, Array
from marey.data.importers.unpickle import is_text
from marey.data.text import check_labels, clean_label, join_first
from marey.errors import DatasetError


def labels_of(
    parts: Sequence[tuple[str, Any]], names: Sequence[str], source: Path
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Return the class of each clip.

    Args:
        parts: for each part of the data its name, and its labels: text (N,), whole numbers (N,) or (N, 1), or one-hot
            rows (N, classes).
        names: names of the classes, in the order of their numbers; empty if unknown.
        source: the file, for messages.

    Returns:
        The labels of each part, and notes about assumptions.

    Raises:
        DatasetError: labels are of another kind, of different kinds in the parts, or numbers without a name.
    """
    arrays = [(name, _array(values, f"{source}: the labels of {name}")) for name, values in parts]
    kinds = {values.dtype.kind in "US" for _, values in arrays if len(values)}
    if len(kinds) > 1:
        raise DatasetError(f"{source}: some labels are text and others numbers; write all of them in one way")
    if kinds == {True}:
        texts = [tuple(_texts(values, f"{source}: the labels of {name}")) for name, values in arrays]
        check_labels({text: str(source) for of_part in texts for text in of_part})
        return texts, ()
    numbers = [_numbers(values, f"{source}: the labels of {name}") for name, values in arrays]
    widths = {values.shape[1] for _, values in arrays if values.ndim == 2 and values.shape[1] > 1 and len(values)}
    if len(widths) > 1:
        raise DatasetError(f"{source}: one-hot labels have {' and '.join(map(str, sorted(widths)))} columns")
    highest = max(max(of_part) for of_part in numbers if of_part)
    count = max([highest + 1, *widths])
    notes = []
    if names:
        if count > len(names):
            raise DatasetError(
                f"{source}: labels go up to {count - 1}, counted from 0, and there are {len(names)} names of classes: "
                f"{join_first(list(names))}; name all of them"
            )
        check_labels(dict.fromkeys(names, "names of the classes"))
        class_names = [clean_label(name) for name in names]
    else:
        digits = len(str(count - 1))
        class_names = [f"{number:0{digits}d}" for number in range(count)]
        notes.append("classes are called by their numbers; name them with --classes")
    return [tuple(class_names[number] for number in of_part) for of_part in numbers], tuple(notes)


def class_names(values: Any, source: Path) -> tuple[str, ...]:
    """Return the names of the classes that were stored beside the arrays.

    Raises:
        DatasetError: they are not text, or not unique.
    """
    array = _array(values, f"{source}: the names of the classes")
    if array.dtype.kind not in "US":
        raise DatasetError(f"{source}: the names of the classes are not text")
    names = tuple(_texts(array, f"{source}: the names of the classes"))
    if len(set(names)) < len(names):
        raise DatasetError(f"{source}: two classes have the same name: {join_first(sorted(names), limit=8)}")
    return names


def _array(values: Any, what: str) -> Array:
    if isinstance(values, np.ndarray) and values.nbytes > MAX_ITEM_BYTES:
        raise DatasetError(f"{what} take {values.nbytes:,} bytes, and {MAX_ITEM_BYTES:,} are allowed")
    if isinstance(values, list):
        kinds = {str if isinstance(item, str) else bytes if isinstance(item, bytes) else int for item in values}
        if len(kinds) > 1:
            raise DatasetError(f"{what} are of several types")
        # An array has room for the longest text in each place: a list of one text costs little, and its array much.
        size = 4 * len(values) * max((len(item) for item in values if isinstance(item, str | bytes)), default=2)
        if size > MAX_ITEM_BYTES:
            raise DatasetError(f"{what} would take {size:,} bytes, and {MAX_ITEM_BYTES:,} are allowed: shorten them")
        try:
            return np.asarray(values)
        except (ValueError, OverflowError) as error:
            raise DatasetError(f"{what} cannot be read: {error}") from error
    return np.asarray(values)


def _texts(values: Array, what: str) -> list[str]:
    if not is_text(values):
        raise DatasetError(f"{what} hold numbers that are no characters: save them again")
    flat = values.reshape(len(values), -1) if len(values) else values.reshape(0, 1)
    if flat.shape[1] != 1:
        raise DatasetError(f"{what} have the shape {values.shape}; one text a clip is needed")
    try:
        texts = [text.decode("utf-8") if isinstance(text, bytes) else str(text) for text in flat[:, 0].tolist()]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{what} are not UTF-8: {error}") from error
    cleaned = [clean_label(text) for text in texts]
    if "" in cleaned:
        raise DatasetError(f"{what} have an empty one, number {cleaned.index('')}")
    return cleaned


def _numbers(values: Array, what: str) -> list[int]:
    """Return class numbers from 0, from whole numbers or one-hot rows."""
    if values.dtype.kind not in "biuf":
        raise DatasetError(f"{what} are of the type {values.dtype}; text, whole numbers or one-hot rows are read")
    if values.ndim == 2 and values.shape[1] > 1:
        rows = (values == 1).sum(1) == 1
        rows &= (values == 0).sum(1) == values.shape[1] - 1
        if not rows.all():
            raise DatasetError(
                f"{what} are not one-hot rows: number {int(np.argmin(rows))} is {values[np.argmin(rows)][:8]}; "
                "each row needs one 1, and 0 elsewhere"
            )
        return [int(number) for number in values.argmax(1)]
    flat = values.reshape(-1)
    whole = np.isfinite(flat) & (np.floor(flat) == flat) & (flat >= 0) & (flat < 1_000_000)
    if not whole.all():
        worst = int(np.argmin(whole))
        raise DatasetError(f"{what} have number {worst} as {flat[worst]}; class numbers are whole numbers from 0")
    return [int(number) for number in flat]
