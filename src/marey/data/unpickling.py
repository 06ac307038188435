"""Read a pickle of NumPy arrays without running what is in it.

A pickle is a program, and Python's own reader runs it. This one knows the instructions that build arrays, lists,
tuples, dictionaries, text and numbers, and no others. It imports nothing and calls nothing that a pickle names.
"""

from __future__ import annotations

import codecs
import os
import pickle
import pickletools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Final

from marey.data.numpy_pickles import NAMES, Named, Pending, RefusalError, called, filled, shortened
from marey.errors import DatasetError

_MAX_STEPS: Final = 4_000_000  # instructions: a hundred thousand arrays and labels take half of them
_DAMAGED: Final = (
    *(ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError),
    pickle.UnpicklingError,
)


def read_pickle(path: str | Path) -> Any:
    """Read what a pickle file holds, of protocol 0 to 5, as long as it is arrays and plain containers.

    No code of the file is run. Sizes that it declares are held against the bytes that are there before memory is taken,
    so that reading takes about three times the size of the file at most.

    Args:
        path: the file. Several pickles one after another, as repeated calls of `pickle.dump` write them, are read too.

    Returns:
        Lists, tuples, dictionaries, text, bytes, numbers and NumPy arrays; a tuple of them for several pickles.

    Raises:
        DatasetError: the file cannot be read, is damaged, or asks for anything else, which is named.
    """
    path = Path(path)
    found: list[Any] = []
    try:
        with path.open("rb") as file:
            data = _Bytes(file, os.fstat(file.fileno()).st_size)
            _check_memory(path, data.size)
            while not found or data.remaining:
                found.append(_Machine(data).run())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except RefusalError as refusal:
        raise DatasetError(f"{path} is not read any further: {refusal}") from refusal
    except _DAMAGED as error:
        raise DatasetError(f"{path} is no pickle, or a damaged one ({shortened(error)})") from error
    except MemoryError as error:
        raise DatasetError(f"{path} needs more memory than there is; save the arrays as .npz") from error
    return found[0] if len(found) == 1 else tuple(found)


def _check_memory(path: Path, size: int) -> None:
    if not hasattr(os, "sysconf"):  # pragma: no cover - Windows
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise DatasetError(
            f"{path} has {size:,} bytes, and a pickle is read whole: this machine has {memory:,} bytes of memory; "
            "save the arrays as .npz, which is read a clip at a time"
        )


class _Bytes:
    """A file that gives no more than it has, and the work that its pickles may still ask for."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self.remaining = size
        self._steps = 0
        self._encoded = 0

    def read(self, count: int) -> bytes:
        if count > self.remaining:
            raise RefusalError(f"it declares {count:,} bytes where {self.remaining:,} are left, as if it was cut off")
        return self._took(self._file.read(count))

    def readline(self) -> bytes:
        return self._took(self._file.readline(self.remaining))

    def _took(self, data: bytes) -> bytes:
        self.remaining -= len(data)
        return data

    def count_step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise RefusalError(f"it has more than {_MAX_STEPS:,} instructions; save frames as arrays, not as lists")

    def count_encoded(self, count: int) -> None:
        self._encoded += count  # one text may be encoded many times, each time at its full length
        if self._encoded > self.size:
            raise RefusalError("it unfolds to more bytes than the file has")


class _Machine:
    """The machine that a pickle is written for: a stack of values, marks in it, and a memo."""

    def __init__(self, data: _Bytes) -> None:
        self._data = data
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under the open marks
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        while (code := self._data.read(1)) != b".":
            self._data.count_step()
            step = _STEPS.get(code)
            if step is None:
                known = _OPCODES.get(code)
                what = f"the byte {code!r} is no instruction of a pickle" if known is None else f"it uses {known.name}"
                raise RefusalError(f"{what}; only arrays, lists, tuples, dictionaries, text and numbers are read")
            reader = _READERS.get(code)
            step(self, None if reader is None else reader(self._data))
        return _finished(self._stack.pop())

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def since_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._below.pop()
        return items

    def take(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("an instruction finds too few values")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def drop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.since_mark()

    def copy(self) -> None:
        self._stack.append(self._stack[-1])

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError("items are added to what is no list")
        self._stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], dict):
            raise ValueError("keys are set in what is no dictionary")
        self._stack[-1].update(_dictionary(items))

    def recall(self, key: int) -> None:
        self._stack.append(self._memo[key])

    def remember(self, key: int | None) -> None:
        place = len(self._memo) if key is None else key
        value = self._memo[place] = self._stack[-1]
        if isinstance(value, Pending):
            value.memo_keys.append(place)

    def look_up(self, text: str | None) -> None:
        module, name = text.rsplit(" ", 1) if text is not None else self.take(2)
        if not isinstance(module, str) or not isinstance(name, str):  # to hash a deeply nested tuple exhausts the stack
            raise ValueError("a name is no text")
        named = NAMES.get(module, {}).get(name)
        if named is None:
            raise RefusalError(
                f"it asks for '{shortened(module)}.{shortened(name)}', and nothing of it was run; only NumPy arrays, "
                "lists, tuples, dictionaries, text and numbers are read: save the arrays with numpy.savez"
            )
        self._stack.append(named)

    def call(self) -> None:
        function, arguments = self.take(2)
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise RefusalError("it calls something that is no function of NumPy")
        if function.name == "encode":
            self._data.count_encoded(sum(len(text) for text in arguments if isinstance(text, str)))
        self._stack.append(called(function.name, arguments))

    def build(self) -> None:
        pending, state = self.take(2)
        if not isinstance(pending, Pending):
            raise RefusalError("it sets the state of something that is no array")
        value = filled(pending, state)
        self._memo.update(dict.fromkeys(pending.memo_keys, value))
        self._stack.append(value)


def _dictionary(items: list[Any]) -> dict[Any, Any]:
    for key in items[::2]:
        if not isinstance(key, str | int | bytes):  # for the same reason as above
            raise RefusalError(f"a key of a dictionary is of the type {type(key).__name__}, and not text or a number")
    return dict(zip(items[::2], items[1::2], strict=True))


def _finished(value: Any) -> Any:
    """What the pickle holds, if nothing in it was left half made."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Pending | Named):
            raise RefusalError("it holds an array without its numbers")
        if isinstance(item, list | tuple | dict) and id(item) not in seen:
            seen.add(id(item))
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return value


def _quoted(data: _Bytes) -> str:
    """The text of Python 2's STRING: quoted, escaped, one byte a letter."""
    line = data.readline().rstrip(b"\n")
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("text without quotation marks")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")


_Step = Callable[[_Machine, Any], None]

_VALUES: Final = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)


def _steps() -> Iterable[tuple[str, _Step]]:
    """The instructions that are known, by their names in `pickletools`."""
    yield from ((name, lambda machine, value: machine.push(value)) for name in _VALUES)
    yield from ((name, lambda machine, _: None) for name in ("PROTO", "FRAME"))
    yield "NONE", lambda machine, _: machine.push(None)
    yield "NEWTRUE", lambda machine, _: machine.push(True)
    yield "NEWFALSE", lambda machine, _: machine.push(False)
    yield "MARK", lambda machine, _: machine.mark()
    yield "POP", lambda machine, _: machine.drop()
    yield "POP_MARK", lambda machine, _: machine.since_mark().clear()
    yield "DUP", lambda machine, _: machine.copy()
    yield "EMPTY_LIST", lambda machine, _: machine.push([])
    yield "LIST", lambda machine, _: machine.push(machine.since_mark())
    yield "APPEND", lambda machine, _: machine.extend(machine.take(1))
    yield "APPENDS", lambda machine, _: machine.extend(machine.since_mark())
    yield "EMPTY_TUPLE", lambda machine, _: machine.push(())
    yield "TUPLE1", lambda machine, _: machine.push(tuple(machine.take(1)))
    yield "TUPLE2", lambda machine, _: machine.push(tuple(machine.take(2)))
    yield "TUPLE3", lambda machine, _: machine.push(tuple(machine.take(3)))
    yield "TUPLE", lambda machine, _: machine.push(tuple(machine.since_mark()))
    yield "EMPTY_DICT", lambda machine, _: machine.push({})
    yield "DICT", lambda machine, _: machine.push(_dictionary(machine.since_mark()))
    yield "SETITEM", lambda machine, _: machine.update(machine.take(2))
    yield "SETITEMS", lambda machine, _: machine.update(machine.since_mark())
    yield from ((name, lambda machine, key: machine.recall(key)) for name in ("GET", "BINGET", "LONG_BINGET"))
    yield from ((name, lambda machine, key: machine.remember(key)) for name in ("PUT", "BINPUT", "LONG_BINPUT"))
    yield "MEMOIZE", lambda machine, _: machine.remember(None)
    yield "GLOBAL", lambda machine, text: machine.look_up(text)
    yield "STACK_GLOBAL", lambda machine, _: machine.look_up(None)
    yield "REDUCE", lambda machine, _: machine.call()
    yield "BUILD", lambda machine, _: machine.build()


_OPCODES: Final = {known.code.encode("latin-1"): known for known in pickletools.opcodes}
_CODES: Final = {known.name: code for code, known in _OPCODES.items()}
_STEPS: Final = {_CODES[name]: step for name, step in _steps()}
_READERS: Final[dict[bytes, Callable[[Any], Any]]] = {
    code: known.arg.reader for code, known in _OPCODES.items() if known.arg is not None
} | {_CODES["STRING"]: _quoted}
