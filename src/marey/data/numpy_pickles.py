"""What the names in NumPy's pickles stand for: functions of this file, which check sizes before they take memory."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_MAX_NDIM: Final = 8
_TYPE: Final = re.compile(r"[<>|=]?(?:b1|\?|[iu][1248]|f[248]|[SU][1-9]\d{0,5})")

Array = npt.NDArray[Any]


class RefusalError(Exception):
    """The pickle asks for something that is not built; the message ends a sentence."""


@dataclass(frozen=True)
class Named:
    """A function or a class that a pickle names."""

    name: str


@dataclass(eq=False)
class Pending:
    """An array, or an element type, between the instruction that makes it and the one that fills it.

    Attributes:
        dtype: what is known of an element type; None of an array.
        memo_keys: where the pickle has noted it down.
    """

    dtype: np.dtype[Any] | None = None
    memo_keys: list[int] = field(default_factory=list)


_MULTIARRAY: Final = {"_reconstruct": Named("reconstruct"), "scalar": Named("scalar")}
_NUMERIC: Final = {"_frombuffer": Named("frombuffer")}
NAMES: Final[Mapping[str, Mapping[str, Named]]] = MappingProxyType(
    {
        "numpy": {"ndarray": Named("ndarray"), "dtype": Named("dtype")},
        "numpy.core.multiarray": _MULTIARRAY,
        "numpy._core.multiarray": _MULTIARRAY,
        "numpy.core.numeric": _NUMERIC,
        "numpy._core.numeric": _NUMERIC,
        "_codecs": {"encode": Named("encode")},  # how protocols 0 to 2 write bytes
        "__builtin__": {"bytes": Named("bytes")},  # how they write empty ones
    }
)
"""Module to name to what stands for it; of NumPy 1 and 2."""


def called(function: str, arguments: tuple[Any, ...]) -> Any:
    """What a call gives that a pickle asks for.

    Raises:
        RefusalError: the arguments are not those of NumPy's own pickles, or declare what is not there.
    """
    match function, arguments:
        case "reconstruct", (Named("ndarray"), tuple(), bytes() | str()):
            return Pending()
        case "dtype", (str(text), *_):
            return Pending(_element_type(text))
        case "scalar", (np.dtype() as dtype, data):
            return _array(_raw(data), dtype, (), "C")[()]
        case "frombuffer", (bytes() | bytearray() as data, np.dtype() as dtype, tuple(shape), "C" | "F" as order):
            return _array(data, dtype, shape, order)
        case "encode", (str(text), "latin1" | "latin-1"):
            return text.encode("latin-1")
        case "bytes", ():
            return b""
    raise RefusalError(f"it calls NumPy's '{function}' in a way that NumPy's own pickles do not")


def filled(pending: Pending, state: Any) -> Array | np.dtype[Any]:
    """The array, or the element type, that a state makes of what was pending.

    Raises:
        RefusalError: it is of a kind that is not read, or declares what is not there.
    """
    match pending.dtype, state:
        case None, (int(), tuple(shape), np.dtype() as dtype, int() as by_columns, data):
            return _array(_raw(data), dtype, shape, "F" if by_columns else "C")
        case np.dtype() as dtype, (int(), "|", None, None, None, int(), int(), int()):
            return dtype
        case np.dtype() as dtype, (int(), "<" | ">" | "=" as byte_order, None, None, None, int(), int(), int()):
            return dtype.newbyteorder(byte_order)
    raise RefusalError("it holds an array of a kind that is not read; only plain numbers and text are")


def shortened(value: object) -> str:
    """The value as a message may show it."""
    text = value if isinstance(value, str) else " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _element_type(text: str) -> np.dtype[Any]:
    if not _TYPE.fullmatch(text):
        kind = "Python objects" if text.lstrip("<>|=").startswith("O") else f"the type '{shortened(text)}'"
        raise RefusalError(f"it holds an array of {kind}; only numbers, truth values and text are read")
    return np.dtype(text)


def _array(data: bytes | bytearray, dtype: np.dtype[Any], shape: tuple[Any, ...], order: str) -> Array:
    if len(shape) > _MAX_NDIM or not all(type(length) is int and 0 <= length < 2**62 for length in shape):
        raise RefusalError("it holds an array of a shape that cannot be")
    declared = math.prod(shape) * dtype.itemsize
    if declared != len(data):
        raise RefusalError(
            f"an array declares {' x '.join(map(str, shape)) or 'one'} elements of {dtype}, which take {declared:,} "
            f"bytes, and {len(data):,} are there"
        )
    if not declared:
        return np.zeros(shape, dtype)
    array: Array = np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")
    return array


def _raw(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    if isinstance(data, str):
        return data.encode("latin-1")  # Python 2 wrote its bytes as text
    raise RefusalError("it holds an array of Python objects; only numbers, truth values and text are read")
