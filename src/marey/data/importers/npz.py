"""Arrays in .npy and .npz files, mapped into memory after their declared sizes were checked."""

from __future__ import annotations

import math
import shutil
import tempfile
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from marey.data.text import format_bytes
from marey.errors import DatasetError

Array = npt.NDArray[Any]

MAX_ITEM_BYTES: Final = 2 * 2**30
"""Maximum size of one item, a clip, in memory."""

_BOMB_BYTES: Final = 2**28  # a smaller entry is harmless, whatever its compression ratio
_BOMB_RATIO: Final = 200  # Deflate reaches 1000 on zeros only, and about 2 on images


def open_npy(path: str | Path) -> Array:
    """Map the array of a .npy file into memory.

    Raises:
        DatasetError: the file is damaged, contains Python objects, or not as many bytes as it declares.
    """
    path = Path(path)
    with _explained(str(path)), path.open("rb") as file:
        return _map(str(path), file, 0, path.stat().st_size)


def open_npz(path: str | Path) -> dict[str, Array]:
    """Map the arrays of an .npz file into memory.

    Compressed arrays are unpacked into temporary files, which disappear with the arrays.

    Returns:
        The arrays by name.

    Raises:
        DatasetError: the file is damaged, the unpacked size is suspiciously large or more than the free disk space,
            or an array is refused; see `open_npy`.
    """
    path = Path(path)
    arrays: dict[str, Array] = {}
    with _explained(str(path)), zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for entry in archive.infolist():
            name = f"{path}: {entry.filename}"
            if not entry.filename.endswith(".npy"):
                raise DatasetError(f"{name} is no array; an .npz file holds .npy files")
            if entry.file_size > max(_BOMB_BYTES, _BOMB_RATIO * entry.compress_size):
                raise DatasetError(
                    f"{name} unpacks to {entry.file_size:,} bytes from {entry.compress_size:,}, more than images or "
                    "features do: it is not unpacked; if it is correct, save it with numpy.savez, unpacked"
                )
            with _explained(name):
                arrays[entry.filename.removesuffix(".npy")] = _open_entry(name, archive, entry, file)
    if not arrays:
        raise DatasetError(f"{path} holds no arrays")
    return arrays


def _open_entry(name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: BinaryIO) -> Array:
    with archive.open(entry) as packed:  # checks the local header and the password
        if entry.compress_type == zipfile.ZIP_STORED:
            file.seek(entry.header_offset + 26)
            lengths = file.read(4)
            name_length, extra_length = (int.from_bytes(lengths[at : at + 2], "little") for at in (0, 2))
            return _map(name, file, entry.header_offset + 30 + name_length + extra_length, entry.file_size)
        place = tempfile.gettempdir()
        free = shutil.disk_usage(place).free
        if entry.file_size > free:
            raise DatasetError(
                f"{name} unpacks to {format_bytes(entry.file_size)}, and {place} has {format_bytes(free)} free: set "
                "TMPDIR to a folder on a larger disk"
            )
        with tempfile.TemporaryFile() as unpacked:  # the mapped file remains until the array is gone
            shutil.copyfileobj(packed, unpacked)
            return _map(name, unpacked, 0, entry.file_size)


def _map(name: str, file: BinaryIO, start: int, size: int) -> Array:
    """Map the array in .npy format at `start`, which takes `size` bytes with its header."""
    file.seek(start)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format is for tables with named columns")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # NumPy's, about files of Python 2, which it reads
        shape, by_columns, dtype = read(file)
    if not all(length >= 0 for length in shape):
        raise ValueError(f"the shape {shape} is impossible")
    if dtype.hasobject or dtype.kind not in "biufSU" or not dtype.itemsize:
        kind = "Python objects" if dtype.hasobject else f"elements of the type {dtype}"
        raise DatasetError(f"{name} holds {kind}, and only numbers, truth values and text are read")
    offset = file.tell()
    declared, present = math.prod(shape) * dtype.itemsize, start + size - offset
    if declared != present:
        raise DatasetError(
            f"{name} declares {' x '.join(map(str, shape)) or 'one'} elements of {dtype}, which take "
            f"{declared:,} bytes, and {max(0, present):,} are there: it was cut off or is damaged"
        )
    item = math.prod(shape[1:]) * dtype.itemsize
    if item > MAX_ITEM_BYTES:
        raise DatasetError(f"{name}: one item takes {item:,} bytes, and {MAX_ITEM_BYTES:,} are allowed")
    if not declared:
        return np.zeros(shape, dtype)
    array: Array = np.memmap(file, dtype, "r", offset, shape, "F" if by_columns else "C")
    return array


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn the errors of the libraries about a damaged file into a `DatasetError`."""
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{name} cannot be read: {error.strerror or error}") from error
    except (
        ValueError,
        EOFError,
        SyntaxError,
        TypeError,
        OverflowError,
        KeyError,
        RecursionError,
        MemoryError,
    ) as error:
        raise DatasetError(f"{name} is damaged, or not what its name says: {' '.join(str(error).split())}") from error
    except (tokenize.TokenError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{name} is damaged, or not what its name says: {' '.join(str(error).split())}") from error
    except (RuntimeError, NotImplementedError) as error:
        raise DatasetError(f"{name} cannot be unpacked: {error}") from error
