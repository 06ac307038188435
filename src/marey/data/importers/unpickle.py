"""Read a pickle of NumPy arrays in a process of its own, without running its content.

`pickles.py` starts this file as a script, with a limit on memory and CPU time. It imports nothing of marey, so that it
starts in a fraction of a second. Python's own unpickler reads the file; every function or class that the file names is
looked up in `_NAMES`, which contains only the functions below, and all others are refused.

The result goes to a folder: an .npy file per array, and `value.json` with the containers and plain values.
"""

from __future__ import annotations

import base64
import json
import math
import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

RESULT: Final = "value.json"

_MAX_DEPTH: Final = 16
_MAX_NDIM: Final = 8
_MAX_VALUES: Final = 4_000_000
_MAX_KEY: Final = 200  # characters of text, or bits of a number
_MAX_BITS: Final = 1024
_LAST_CODE_POINT: Final = 0x10FFFF
_TYPE: Final = re.compile(r"[<>|=]?(?:b1|\?|[iu][1248]|f[248]|[SU][1-9]\d{0,5})")
_SPARE_MEMORY: Final = 2**29  # bytes of address space, whatever the size of the file
_BASE_SECONDS: Final = 60
_BYTES_PER_SECOND: Final = 2**20  # the slowest acceptable reading


class Refused(Exception):  # noqa: N818 - never leaves this process
    """A pickle that asks for something that is not read; the message is the end of a sentence."""


class _Function:
    """A function that a pickle may call; unlike a plain function, BUILD cannot change its attributes."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise Refused("it sets the state of something that is no array")


class _Array:
    """An array; the state that follows in the pickle sets its value."""

    __slots__ = ("value",)

    def __init__(self, value: npt.NDArray[Any] | None = None) -> None:
        self.value = value

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), tuple(shape), _Type() as kind, int() as by_columns, data):
                self.value = _array(data, kind, shape, "F" if by_columns else "C")
            case _:
                raise Refused("it holds an array of a kind that is not read; only plain numbers and text are")


class _Type:
    """An element type; the state that follows in the pickle sets its byte order."""

    __slots__ = ("value",)

    def __init__(self, text: str) -> None:
        if not _TYPE.fullmatch(text):
            kind = "Python objects" if text.lstrip("<>|=").startswith("O") else f"the type '{_shortened(text)}'"
            raise Refused(f"it holds an array of {kind}; only numbers, truth values and text are read")
        self.value = np.dtype(text)

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), "|" | "<" | ">" | "=" as order, None, None, None, int(), int(), int()):
                self.value = self.value.newbyteorder(order)
            case _:
                raise Refused("it holds an array of a kind that is not read; only plain numbers and text are")


def _array(data: object, kind: _Type, shape: tuple[Any, ...], order: str) -> npt.NDArray[Any]:
    if isinstance(data, str):
        data = data.encode("latin-1")  # Python 2 wrote bytes as text
    if not isinstance(data, bytes | bytearray):
        raise Refused("it holds an array of Python objects; only numbers, truth values and text are read")
    if len(shape) > _MAX_NDIM or not all(type(length) is int and 0 <= length < 2**62 for length in shape):
        raise Refused("it holds an array with an impossible shape")
    declared = math.prod(shape) * kind.value.itemsize
    if declared != len(data):
        raise Refused(
            f"an array declares {' x '.join(map(str, shape)) or 'one'} elements of {kind.value}, which take "
            f"{declared:,} bytes, and {len(data):,} are there"
        )
    if not declared:
        return np.zeros(shape, kind.value)
    array: npt.NDArray[Any] = np.frombuffer(data, kind.value).reshape(shape, order="F" if order == "F" else "C")
    return array


def _call(name: str) -> Callable[..., Any]:
    """Return the stand-in for a function of NumPy, which accepts the arguments of NumPy's own pickles only."""

    def call(*arguments: Any) -> Any:
        match name, arguments:
            case "reconstruct", (_Function(), tuple(), bytes() | str()):
                return _Array()
            case "dtype", (str() as text, *_):
                return _Type(text)
            case "scalar", (_Type() as kind, data):
                return _array(data, kind, (), "C")[()]
            case "frombuffer", (bytes() | bytearray() as data, _Type() as kind, tuple(shape), "C" | "F" as order):
                return _Array(_array(data, kind, shape, order))
            case "encode", (str() as text, "latin1" | "latin-1"):
                return text.encode("latin-1")
            case "bytes", ():
                return b""
        raise Refused(f"it calls NumPy's '{name}' in a way that NumPy's own pickles do not")

    return call


_STAND_INS: Final = {
    name: _Function(_call(name))
    for name in ("reconstruct", "scalar", "frombuffer", "ndarray", "dtype", "encode", "bytes")
}
_NAMES: Final = {
    ("numpy", "ndarray"): _STAND_INS["ndarray"],
    ("numpy", "dtype"): _STAND_INS["dtype"],
    ("_codecs", "encode"): _STAND_INS["encode"],  # bytes in protocols 0 to 2
    ("__builtin__", "bytes"): _STAND_INS["bytes"],  # empty bytes in protocols 0 to 2
} | {
    (f"numpy.{core}.{module}", name): _STAND_INS[name.removeprefix("_")]
    for core in ("core", "_core")  # NumPy 1 and 2
    for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _NAMES.get((module, name))
        if found is None:
            raise Refused(
                f"it asks for '{_shortened(module)}.{_shortened(name)}', and nothing of it was run; only NumPy "
                "arrays, lists, tuples, dictionaries, text and numbers are read: save the arrays with numpy.savez"
            )
        return found


class _Stream:
    """A file that refuses to read more bytes than it has, before memory is taken for them."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.remaining = size

    def read(self, count: int) -> bytes:
        if count > self.remaining:
            raise Refused(f"it declares {count:,} bytes where {self.remaining:,} are left, as if it was cut off")
        return self._took(self._file.read(count))

    def readline(self) -> bytes:
        return self._took(self._file.readline())

    def _took(self, data: bytes) -> bytes:
        self.remaining -= len(data)
        return data


def load(path: Path) -> list[Any]:
    """Return the values of all pickles in a file; arrays are instances of `_Array`.

    Raises:
        Refused: the file asks for something that is not read.
        Exception: of any type, from the unpickler: the file is damaged.
    """
    values: list[Any] = []
    with path.open("rb") as file:
        stream = _Stream(file, os.fstat(file.fileno()).st_size)
        while not values or stream.remaining:
            values.append(_Unpickler(stream, encoding="latin-1").load())
    return values


def save(values: list[Any], folder: Path) -> None:
    """Write values to a folder; an object that is contained several times is written once.

    Raises:
        Refused: a value is of another type than arrays, plain containers, text and numbers.
    """
    nodes: list[Any] = []
    numbers: dict[int, int] = {}
    arrays = 0

    def add(value: Any, depth: int) -> int:
        nonlocal arrays
        if (number := numbers.get(id(value))) is not None:
            return number
        if depth > _MAX_DEPTH:
            raise Refused("its lists, tuples or dictionaries are nested too deeply, otherwise than as a few arrays")
        if len(nodes) > _MAX_VALUES:
            raise Refused(f"it has more than {_MAX_VALUES:,} values; save frames as arrays, not as lists")
        node: list[Any]
        if isinstance(value, list | tuple):
            node = ["tuple" if isinstance(value, tuple) else "list", [add(item, depth + 1) for item in value]]
        elif isinstance(value, dict):
            for key in value:
                if not isinstance(key, str | int | bytes):
                    raise Refused(f"a key of a dictionary is of the type {type(key).__name__}, not text or a number")
                size = key.bit_length() if isinstance(key, int) else len(key)
                if size > _MAX_KEY:
                    unit = "bits" if isinstance(key, int) else "characters"
                    raise Refused(f"a key of a dictionary has {size:,} {unit}, and names of arrays are short")
            node = ["dict", [(add(key, depth + 1), add(item, depth + 1)) for key, item in value.items()]]
        elif isinstance(value, _Array | np.generic):
            array = value.value if isinstance(value, _Array) else np.asarray(value)
            if array is None:
                raise Refused("it holds an array without its numbers")
            if not is_text(array):
                raise Refused("it holds an array of text with numbers that are no characters; save the text again")
            np.save(folder / f"{arrays}.npy", array, allow_pickle=False)
            node = ["array" if isinstance(value, _Array) else "scalar", arrays]
            arrays += 1
        elif isinstance(value, bytes | bytearray):
            node = ["bytes", base64.b64encode(value).decode("ascii")]
        elif type(value) is int:
            if value.bit_length() > _MAX_BITS:
                raise Refused(f"it holds a number of {value.bit_length():,} bits, and {_MAX_BITS:,} are read")
            node = ["int", hex(value)]
        elif value is None or isinstance(value, str | bool | float):
            if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise Refused("it holds text with half a character (a surrogate); save the text as it is read")
            node = ["value", value]
        elif isinstance(value, _Function | _Type):
            raise Refused("it holds an array without its numbers")
        else:
            raise Refused(f"it holds a value of the type {type(value).__name__}")
        nodes.append(node)
        numbers[id(value)] = len(nodes) - 1
        return len(nodes) - 1

    roots = [add(value, 0) for value in values]
    (folder / RESULT).write_text(json.dumps({"nodes": nodes, "roots": roots}), encoding="utf-8")


def is_text(array: npt.NDArray[Any]) -> bool:
    """Return False for an array of text with numbers that are no characters, which NumPy keeps and Python cannot."""
    if array.dtype.kind != "U" or not array.size:
        return True
    points = np.frombuffer(array.astype(array.dtype.newbyteorder("=")).tobytes(), np.uint32)
    return not (points.max() > _LAST_CODE_POINT or ((points >= 0xD800) & (points <= 0xDFFF)).any())


def _shortened(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def limit(size: int) -> None:
    """Limit the memory and the CPU time of this process for a file of `size` bytes, if the system can."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # pragma: no cover - macOS, which does not hold a process to this limit
        used = 0
    limits = (
        (resource.RLIMIT_AS, used + min(_SPARE_MEMORY + 5 * size, memory)),
        (resource.RLIMIT_CPU, _BASE_SECONDS + size // _BYTES_PER_SECOND),
        (resource.RLIMIT_CORE, 0),
    )
    for which, most in limits:
        hard = resource.getrlimit(which)[1]
        try:
            resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
        except (ValueError, OSError):  # pragma: no cover - macOS has no limit on address space
            continue


def main(path: Path, folder: Path) -> None:
    """Read the file `path` and write its values, or an error, to `folder`."""
    limit(path.stat().st_size)
    try:
        save(load(path), folder)
        return
    except Refused as error:
        failure = {"refused": str(error)}
    except MemoryError:
        failure = {"memory": ""}
    except Exception as error:  # the unpickler raises errors of many types about damaged files
        failure = {"damaged": _shortened(error) or type(error).__name__}
    (folder / RESULT).write_text(json.dumps(failure), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
