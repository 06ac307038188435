"""Text: labels as they are kept, names in natural order, and parts of sentences."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from marey.errors import DatasetError

ONE_LABEL: Final = "a clip has one label: keep one of them, or make a clip of each span (start, end) with its own label"
"""The ways out where something has several labels, the end of a sentence."""

_SEPARATORS: Final = (",", "|", ";")  # of labels in one cell, as other programs write them


def clean_label(text: str) -> str:
    """Return the label as it is kept: composed Unicode (NFC), without white space around it."""
    return unicodedata.normalize("NFC", text).strip()


def check_labels(places: Mapping[str, str]) -> None:
    """Refuse labels that look the same to a person, and those that are several labels.

    Args:
        places: each label or folder name, as written, to the place where it was found.

    Raises:
        DatasetError: two of them differ only in case, in Unicode normalisation or in white space; or one of them is
            made of others, as 'walk,wave' of 'walk' and 'wave'.
    """
    labels = {clean_label(written) for written in places}
    for written in sorted(places):
        for separator in _SEPARATORS:
            parts = [clean_label(part) for part in written.split(separator)]
            if len(parts) > 1 and labels.issuperset(parts):
                raise DatasetError(
                    f"the label {written!r} ({places[written]}) is made of the classes "
                    f"{' and '.join(map(repr, dict.fromkeys(parts)))}: {ONE_LABEL}"
                )
    alike: dict[str, list[str]] = defaultdict(list)
    for written in sorted(places):
        alike[" ".join(unicodedata.normalize("NFKC", written).casefold().split())].append(written)
    for same in alike.values():
        if len(same) > 1:
            names = " and ".join(f"{written!r} ({places[written]})" for written in same)
            raise DatasetError(
                f"the classes {names} differ only in case, white space or Unicode form: "
                "give them one name, or names that differ in letters"
            )


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key in which numbers count as numbers: 'f2' comes before 'f10'."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)


def pluralize(count: int, noun: str) -> str:
    """Return the number and the noun: '1 clip', '2 clips'."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def join_first(items: Sequence[str], *, limit: int = 3) -> str:
    """Join the first items with commas, and add the number of the others: 'a, b, c and 4 more'."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def format_bytes(size: int) -> str:
    """Return a number of bytes as text, such as '6.9 GB'."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def relative_name(path: Path, root: Path) -> str:
    """Return the path with forward slashes, relative to `root` if it lies below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
