"""Arrays in .npy and .npz files, read an item at a time, with their declared sizes checked first."""

from __future__ import annotations

import math
import tokenize
import warnings
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from marey.errors import DatasetError

Array = npt.NDArray[Any]

MAX_ITEM_BYTES: Final = 2 * 2**30
"""The most that one item, a clip, may take in memory."""

_BOMB_BYTES: Final = 2**28  # below this, what unpacks to much from little does no harm
_BOMB_RATIO: Final = 200  # Deflate reaches 1000 on nothing but zeros, and about 2 on pictures


class Items(Protocol):
    """What has a length, and gives an array for each number: a stored array, an array or a list of arrays."""

    def __len__(self) -> int:
        """How many items there are."""

    def __getitem__(self, index: int, /) -> Any:
        """The item with this number."""


class StoredArray:
    """An array (N, ...) in a file, of which one item is in memory at a time.

    Items are read fastest in their order: a packed file has to be read again from its start to go back.

    Args:
        name: what to call it in messages.
        open_file: opens the file, at the start of its .npy header.
        size: bytes in it.

    Raises:
        DatasetError: it is no .npy file, holds Python objects, or not as many bytes as it declares.
    """

    def __init__(self, name: str, open_file: Callable[[], BinaryIO], size: int) -> None:
        self.name = name
        self._open = open_file
        with _explained(name), open_file() as file:
            self.shape, self._by_columns, self.dtype = _read_header(file)
            self._start = file.tell()
        if self.dtype.hasobject or self.dtype.kind not in "biufSU" or not self.dtype.itemsize:
            kind = "Python objects" if self.dtype.hasobject else f"elements of the type {self.dtype}"
            raise DatasetError(f"{name} holds {kind}, and only numbers, truth values and text are read")
        declared = math.prod(self.shape) * self.dtype.itemsize
        if declared != size - self._start:
            raise DatasetError(
                f"{name} declares {' x '.join(map(str, self.shape)) or 'one'} elements of {self.dtype}, which take "
                f"{declared:,} bytes, and {max(0, size - self._start):,} are there: it was cut off or made up"
            )
        self._item_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        most = declared if self._by_columns and self.ndim > 1 else self._item_bytes
        if most > MAX_ITEM_BYTES:
            what = "it is stored by columns and has to be read whole" if self._by_columns else "one item takes"
            raise DatasetError(f"{name}: {what}, {most:,} bytes, and {MAX_ITEM_BYTES:,} are allowed")
        self._file: BinaryIO | None = None
        self._whole: Array | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def __getitem__(self, index: int, /) -> Array:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._by_columns and self.ndim > 1:
            return cast(Array, self.whole()[index])
        with _explained(self.name):
            if self._file is None:
                self._file = self._open()
                weakref.finalize(self, self._file.close)
            self._file.seek(self._start + index * self._item_bytes)
            return self._read(self._file, self._item_bytes, self.shape[1:])

    def whole(self) -> Array:
        """The array in memory.

        Raises:
            DatasetError: it is larger than an item may be, or damaged.
        """
        size = math.prod(self.shape) * self.dtype.itemsize
        if size > MAX_ITEM_BYTES:
            raise DatasetError(f"{self.name} takes {size:,} bytes, and {MAX_ITEM_BYTES:,} are allowed")
        if self._whole is None:
            with _explained(self.name), self._open() as file:
                file.seek(self._start)
                shape = self.shape[::-1] if self._by_columns else self.shape
                array = self._read(file, size, shape)
                self._whole = array.T if self._by_columns else array
        return self._whole

    def _read(self, file: BinaryIO, count: int, shape: tuple[int, ...]) -> Array:
        data = file.read(count)
        if len(data) != count:
            raise DatasetError(f"{self.name} ends too early: {count - len(data):,} bytes are missing")
        return np.frombuffer(data, self.dtype).reshape(shape) if count else np.zeros(shape, self.dtype)


def open_npy(path: str | Path) -> StoredArray:
    """The array of a .npy file.

    Raises:
        DatasetError: see `StoredArray`.
    """
    path = Path(path)
    with _explained(str(path)):
        size = path.stat().st_size
    return StoredArray(str(path), lambda: path.open("rb"), size)


def open_npz(path: str | Path) -> dict[str, StoredArray]:
    """The arrays of a .npz file, by their names.

    Raises:
        DatasetError: it is no .npz file, unpacks to very much from very little, or see `StoredArray`.
    """
    path = Path(path)
    with _explained(str(path)):
        archive = zipfile.ZipFile(path)
    arrays: dict[str, StoredArray] = {}
    for entry in archive.infolist():
        name = f"{path}: {entry.filename}"
        if not entry.filename.endswith(".npy"):
            raise DatasetError(f"{name} is no array; an .npz file holds .npy files")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DatasetError(f"{name} is packed in a way that NumPy does not use; save it with numpy.savez")
        if entry.file_size > max(_BOMB_BYTES, _BOMB_RATIO * entry.compress_size):
            raise DatasetError(
                f"{name} unpacks to {entry.file_size:,} bytes from {entry.compress_size:,}, more than pictures or "
                "features do: it is not unpacked; if it is what it should be, save it with numpy.savez, unpacked"
            )
        arrays[entry.filename.removesuffix(".npy")] = StoredArray(
            name, partial(_open_entry, archive, entry), entry.file_size
        )
    if not arrays:
        raise DatasetError(f"{path} holds no arrays")
    return arrays


def _open_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> BinaryIO:
    return cast(BinaryIO, archive.open(entry))


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether by columns, and type; the header is a literal of at most 10,000 letters, and nothing is run."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format is for tables with named columns")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # NumPy's, about files of Python 2, which it reads
            shape, by_columns, dtype = read(file)
    except (tokenize.TokenError, RecursionError, MemoryError, KeyError) as error:
        raise ValueError("its header cannot be read") from error
    if not all(length >= 0 for length in shape):
        raise ValueError(f"the shape {shape} cannot be")
    return shape, by_columns, dtype


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """What the libraries raise about a damaged file, as a sentence."""
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{name} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{name} is damaged, or not what its name says: {' '.join(str(error).split())}") from error
    except (RuntimeError, NotImplementedError) as error:
        raise DatasetError(f"{name} cannot be unpacked: {error}") from error
