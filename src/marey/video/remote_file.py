"""Files on other machines, read in blocks that are kept for a while.

FFmpeg reads a file here and there: its index, then the packets from a key frame on. Blocks are fetched when they are
read; where reading goes on from one to the next, ever more of them in one request.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from marey.errors import MareyError, VideoError
from marey.remote_path import RemotePath
from marey.video.limits import Deadline, Limits
from marey.video.remote_errors import remote_error
from marey.video.remote_store import RemoteState, store_of

BLOCK: Final = 1 << 16
"""Bytes of a block, the smallest request."""
_MOST: Final = 16  # blocks of the largest request: 1 MiB
_KEPT: Final = 512  # blocks of all files together: 32 MiB
_LOOKED_UP: Final = 10.0  # s for which the state of a file is taken as known; reading finds out where it is not


class _Blocks:
    """The blocks that were read last, of all files."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def unlock(self) -> None:
        """Take a new lock, in a process whose copy may be held by a thread that it does not have."""
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str, int]) -> bytes | None:
        """Return a block, which then counts as the one read last."""
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
            return block

    def put(self, key: tuple[str, str, int], block: bytes) -> None:
        """Keep a block in place of the one whose last reading is longest ago."""
        with self._lock:
            self._blocks[key] = block
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)


_blocks = _Blocks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_blocks.unlock)
_states: dict[str, tuple[float, RemoteState]] = {}


def remote_state(path: RemotePath, deadline: Deadline | None = None) -> RemoteState:
    """Return the state of a file, at most ten seconds old.

    Raises:
        VideoError: it cannot be looked up, with the reason.
        UsageError: a package that its scheme needs is not installed.
    """
    known = _states.get(str(path))
    if known is not None and time.monotonic() - known[0] < _LOOKED_UP:
        return known[1]
    with _translated(path, deadline):
        state = store_of(path).look_up(path, _left(deadline))
    _states[str(path)] = time.monotonic(), state
    return state


def open_binary(path: Path) -> BinaryIO:
    """Open a file, here or on another machine, for reading bytes.

    Raises:
        OSError: a local file cannot be opened.
        VideoError: one on another machine cannot be read.
    """
    if not isinstance(path, RemotePath):
        return path.open("rb")
    return cast(BinaryIO, io.BufferedReader(RemoteFile(path, Deadline(path, Limits().timeout)), BLOCK))


def size_of(path: Path) -> int:
    """Return the bytes of a file, here or on another machine.

    Raises:
        OSError: a local file is not there.
        VideoError: one on another machine cannot be looked up.
    """
    return remote_state(path).size if isinstance(path, RemotePath) else path.stat().st_size


class RemoteFile(io.RawIOBase):
    """A file on another machine, in the version in which it was opened.

    Args:
        path: of the file.
        deadline: checked before each reading.

    Raises:
        VideoError: it cannot be looked up; and from `read`, it cannot be read, or has changed.
    """

    def __init__(self, path: RemotePath, deadline: Deadline) -> None:
        self._path = path
        self._deadline = deadline
        self._store = store_of(path)
        self.state = remote_state(path, deadline)
        self._version = self.state.version or f"unknown {id(self)} {time.monotonic_ns()}"
        self._at = 0
        self._expected = -1
        self._run = 1

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; fewer at the end of a block."""
        self._deadline.check()
        if size < 0:
            return self.readall()
        if self._at >= self.state.size or not size:
            return b""
        number, offset = divmod(self._at, BLOCK)
        block = _blocks.get(self._key(number)) or self._fetch(number)
        data = block[offset : offset + size]
        self._at += len(data)
        return data

    def readall(self) -> bytes:
        """Return all bytes from here to the end."""
        pieces = []
        while piece := self.read(BLOCK):
            pieces.append(piece)
        return b"".join(pieces)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start, the current place or the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.state.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the current place."""
        return self._at

    def readable(self) -> bool:
        """Return True."""
        return True

    seekable = readable

    def check_unchanged(self) -> None:
        """Look the file up again where its store does not say of which version it sends.

        Raises:
            VideoError: it has changed since it was opened.
        """
        if self._store.pins:
            return
        _states.pop(str(self._path), None)
        if remote_state(self._path, self._deadline) != self.state:
            raise VideoError(self._path, "changed", "another version has taken its place while it was read")

    def _key(self, number: int) -> tuple[str, str, int]:
        return self._path.url, self._version, number

    def _fetch(self, number: int) -> bytes:
        """Fetch a block, and those after it where reading goes on from the block before."""
        self._run = min(2 * self._run, _MOST) if number == self._expected else 1
        start = number * BLOCK
        end = min(start + self._run * BLOCK, self.state.size)
        with _translated(self._path, self._deadline):
            data = self._store.read(self._path, self.state, start, end, self._deadline.left)
        if len(data) != end - start:
            raise VideoError(self._path, "changed", f"{len(data):,} bytes came in place of {end - start:,}")
        for place in range(0, len(data), BLOCK):
            _blocks.put(self._key(number + place // BLOCK), data[place : place + BLOCK])
        self._expected = number + -(-len(data) // BLOCK)
        return data[:BLOCK]


def _left(deadline: Deadline | None) -> float:
    return Limits().timeout if deadline is None else deadline.left


@contextmanager
def _translated(path: RemotePath, deadline: Deadline | None) -> Iterator[None]:
    """Raise what goes wrong as `VideoError`; a state that was known is looked up again the next time."""
    try:
        yield
    except MareyError:
        raise
    except Exception as error:  # each store has errors of its own
        _states.pop(str(path), None)
        if deadline is not None:
            deadline.check()
        raise remote_error(path, error) from None  # its own message may hold a signature
