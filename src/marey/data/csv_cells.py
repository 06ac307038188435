"""CSV files that people open in a spreadsheet: no cell of one is a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any, Final

_MARK: Final = "'"
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
_MARKED: Final = re.compile(r"'+[=+\-@\t\r]")


def as_text(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula; numbers, and what is no text, stay as they are.

    A text that begins with =, +, -, @, a tab or a carriage return gets an apostrophe in front of it, which
    `as_written` takes away (OWASP, CSV injection).
    """
    if not isinstance(cell, str) or not _FORMULA.match(cell) or _is_number(cell):
        return cell
    return _MARK + cell


def as_written(cell: str) -> str:
    """Return the text from which `as_text` made a cell."""
    return cell[1:] if _MARKED.match(cell) else cell


class CsvWriter:
    """Writer of rows, as `csv.writer`, whose texts are no formulas.

    Args:
        file: open for writing, with `newline=""`.
    """

    def __init__(self, file: Any) -> None:
        self._writer = csv.writer(file, lineterminator="\n")

    def writerow(self, row: Iterable[Any]) -> None:
        """Write a row."""
        self._writer.writerow([as_text(cell) for cell in row])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        """Write rows."""
        for row in rows:
            self.writerow(row)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip() == cell
