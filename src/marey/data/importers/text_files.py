"""Text files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from marey.errors import DatasetError

_MAX_BYTES: Final = 2**30


def read_text(path: Path, *, utf_16: bool = False) -> str:
    """Return a text file in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        utf_16: take UTF-16 as well, where its byte order mark is there.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise DatasetError(f"{path} has {size:,} bytes, and {_MAX_BYTES:,} are read: divide it")
        data = path.read_bytes()
        return data.decode("utf-16" if utf_16 and data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file in UTF-8, or in UTF-16 with a byte order mark, without their ends.

    Raises:
        DatasetError: it cannot be read.
    """
    return read_text(path, utf_16=True).replace("\r\n", "\n").replace("\r", "\n").split("\n")


def peek_csv(path: Path) -> str:
    """Return the first 4,096 bytes of a file with the suffix .csv as text; nothing if it is no such file."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(4096).decode("utf-8-sig", errors="replace")
