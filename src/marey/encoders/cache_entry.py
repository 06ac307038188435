"""File of a cache entry: one tensor in a safetensors file, with a checksum that is held against it."""

from __future__ import annotations

import json
import os
import zlib
from io import FileIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from marey.errors import first_line

_NAME: Final = "features"
_CHECKSUM: Final = "crc32"
_MAX_HEADER: Final = 1 << 16  # bytes; those of marey have about 120
_CHUNK: Final = 1 << 22  # bytes of a mapped file that are checked at a time
_TYPES: Final = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
                 "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}  # fmt: skip

_checked: Final[set[tuple[str, int, int, int]]] = set()


class Expected(NamedTuple):
    """The type and the last axes of the features that a contract gives.

    Attributes:
        dtype: such as float32.
        shape: (D,) of features (T, D); (T, C, H, W) of raw frames.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]


class DamagedEntryError(Exception):
    """A file that is not what was written; its message says why."""


def is_finite(values: Tensor) -> bool:
    """Return False where a number is NaN or infinite."""
    # The sum is 30 times as fast as a look at each number; it may overflow where they are finite.
    return not values.is_floating_point() or bool(values.sum().isfinite()) or bool(values.isfinite().all())


def pack_entry(features: Tensor) -> bytes:
    """Return the bytes of an entry: safetensors, which other programs can read, with the checksum in its header."""
    features = features.cpu().contiguous()
    tag = _checksum(features.dtype, tuple(features.shape), _bytes_of(features))
    return save({_NAME: features}, {_CHECKSUM: tag})


def read_entry(path: Path, *, mapped: bool, expected: Expected | None) -> Tensor:
    """Read the tensor of an entry.

    Args:
        path: the file.
        mapped: map it into memory; its checksum is then compared once a process, not at each reading.
        expected: what it must be.

    Raises:
        OSError: there is no such file, or it cannot be read.
        DamagedEntryError: it is not what was written, or not what is expected.
    """
    with FileIO(path) as file:
        state = os.fstat(file.fileno())
        dtype, shape, tag, start = _header(file)
        if expected is not None and (dtype, shape[-len(expected.shape) :]) != expected:
            raise DamagedEntryError(f"it holds {shape} of {dtype}, and the contract gives {tuple(expected)}")
        size = dtype.itemsize
        for side in shape:
            size *= side
        if state.st_size != start + size:
            raise DamagedEntryError(f"it has {state.st_size} bytes, and says {start + size}")
        if mapped and size and start % dtype.itemsize == 0:
            stored = _map(path, state.st_size)[start:]
            features = stored.view(dtype).view(shape)
        else:
            features = torch.empty(shape, dtype=dtype)
            stored = _bytes_of(features)
            if size and file.readinto(stored.numpy().data) != size:
                raise DamagedEntryError("it ends early")
    known = (os.fspath(path), state.st_ino, state.st_size, state.st_mtime_ns)
    if mapped and known in _checked:
        return features
    if tag is None:
        if not is_finite(features):  # written before there were checksums
            raise DamagedEntryError("it is not finite")
    elif tag != _checksum(dtype, shape, stored):
        raise DamagedEntryError("its checksum is another")
    if mapped:
        _checked.add(known)
    return features


def _header(file: FileIO) -> tuple[torch.dtype, tuple[int, ...], str | None, int]:
    """Return type, shape, checksum and the place of the first number."""
    try:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= _MAX_HEADER:
            raise ValueError(f"a header of {length} bytes")
        values: dict[str, Any] = json.loads(file.read(length))
        entry, start = values[_NAME], 8 + length
        shape = tuple(entry["shape"])
        if entry["data_offsets"][0] != 0 or not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError("another layout")
        return _TYPES[entry["dtype"]], shape, values.get("__metadata__", {}).get(_CHECKSUM), start
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise DamagedEntryError(f"its header cannot be read ({error})") from error


def _map(path: Path, size: int) -> Tensor:
    try:
        return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    except RuntimeError as error:
        raise DamagedEntryError(f"it cannot be mapped into memory ({first_line(error)})") from error


def _bytes_of(values: Tensor) -> Tensor:
    return values.view(-1).view(torch.uint8)


def _checksum(dtype: torch.dtype, shape: tuple[int, ...], stored: Tensor) -> str:
    """Return the CRC-32 of type, shape and bytes: any one to 32 neighbouring bits that change are seen."""
    tag = zlib.crc32(f"{dtype} {shape}".encode())
    data = stored.numpy().data
    for start in range(0, len(data), _CHUNK):
        tag = zlib.crc32(data[start : start + _CHUNK], tag)
    return f"{tag:08x}"
