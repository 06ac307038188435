"""JSON files of other programs, of which nothing is certain."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from marey.data.importers.text_files import read_text
from marey.errors import DatasetError

_SHOWN: Final = 60


def read_json(path: Path) -> Any:
    """Return the content of a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        DatasetError: it cannot be read, is no JSON, or is nested too deeply.
    """
    try:
        state = path.stat()
        return _parsed(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise DatasetError(f"{path} is nested too deeply for an export of annotations") from error
    except ValueError as error:
        raise DatasetError(f"{path} is no JSON, or a damaged one: {error}; export it again") from error


@lru_cache(maxsize=1)  # each importer looks into the file, and the last one reads it
def _parsed(path: Path, _size: int, _changed: int) -> Any:
    return json.loads(read_text(path))


def peek_json(path: Path) -> Any:
    """Return the content of a file with the suffix .json; None if it is no such file, or cannot be read."""
    if path.suffix.lower() == ".json" and path.is_file():
        with suppress(DatasetError):
            return read_json(path)
    return None


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects in an array or among the values of an object; nothing for other values."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    yield from (each for each in values if isinstance(each, dict))


def words_in(value: Any) -> list[str]:
    """Return the text in a value: one text, or those in an array."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str) and each.strip()]


def number_in(value: Any, place: str) -> float:
    """Return a finite number.

    Raises:
        DatasetError: it is none; the message begins with its place.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            if math.isfinite(float(value)):
                return float(value)
    shown = repr(value) if not isinstance(value, int) else "a number of many digits"
    raise DatasetError(f"{place} has {shown[:_SHOWN]} where a number is expected: correct it, or export again")


def count_in(value: Any, place: str) -> int:
    """Return a whole number; see `number_in`."""
    number = number_in(value, place)
    if not number.is_integer() or abs(number) > 2**53:
        raise DatasetError(f"{place} has {number:g} where a number of a frame is expected: correct it, or export again")
    return int(number)
