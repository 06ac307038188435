"""Read untrusted files in processes of their own, whose memory and time are limited.

    this process                        a reading process, `python -m marey.video.reading_worker`
    name of a function, arguments  -->  reads the file, within its limits
    an answer or an error          <--  as JSON: whatever a file does to that process, it sends no code
    frames                         <--  in shared memory

A process reads one file after another. One that takes too long is ended, and so is one that breaks down; the file has
an error then, and the next file a new process. They end with the process that started them.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import marey
from marey.errors import MareyError, UsageError, VideoError
from marey.video.limits import Limits, memory_error, timeout_error

_CAN: Final = find_spec("resource") is not None
_START: Final = 60.0  # s to start: importing takes 1 s, on a machine that is busy or slow many times that
_GRACE: Final = 2.0  # s after which a process is ended that does not notice its own time limit
_MOST_IDLE: Final = 16  # processes that wait for the next file
OUT_OF_MEMORY: Final = 86
"""Status with which a process ends that has taken too much."""
LENGTH: Final = struct.Struct(">I")
"""Number of bytes of a message, which goes before it."""
_TYPES: Final = {"uint8": np.uint8, "float64": np.float64}

Array = npt.NDArray[Any]


def is_apart(limits: Limits) -> bool:
    """Return whether files are read in a process of their own: memory is limited, and this is not that process."""
    if limits.max_memory is None or _here.inside:
        return False
    if not _CAN:
        warnings.warn("this system cannot limit the memory of reading a video; max_memory is not used", stacklevel=3)
    return _CAN


def read_here(is_short: Callable[[], bool]) -> None:
    """Read all files in this process from now on: it is one that reads for another.

    Args:
        is_short: tells whether memory may just have been refused.
    """
    _here.inside, _here.is_short = True, is_short


def is_short_of_memory() -> bool:
    """Return whether what went wrong just now may be for want of memory, in a process that is allowed no more."""
    return _here.is_short()


def read_apart(name: str, path: str | Path, limits: Limits, *arguments: Any) -> tuple[Any, Array]:
    """Return what a function of `reading_worker` gives for a file, and its array.

    Args:
        name: of the function.
        path: the file.
        limits: of reading.
        arguments: further ones.

    Raises:
        VideoError: the file cannot be read, or not within the limits.
        UsageError: an argument that is not valid.
    """
    with reading_process() as process:
        value, array = process.ask(path, limits, "call", name, str(path), limits, *arguments)
        return value, np.empty(0) if array is None else array


def walk_apart(name: str, path: str | Path, limits: Limits, *arguments: Any) -> Iterator[tuple[Any, Array | None]]:
    """Yield what a generator of `reading_worker` yields: a value, and an array where there is a new one.

    The time limit is for all of it.
    """
    end = time.monotonic() + limits.timeout
    with reading_process() as process:
        process.ask(path, limits, "start", name, str(path), limits, *arguments)
        try:
            while True:
                value, array = process.ask(path, limits, "next", seconds=max(0.0, end - time.monotonic()))
                if value is None:
                    return
                yield value, array
        finally:
            process.leave()


@contextmanager
def reading_process() -> Iterator[ReadingProcess]:
    """Take a process that waits for a file, or start one; afterwards it waits again, if it still can."""
    process = _idle.take() or ReadingProcess()
    try:
        yield process
    finally:
        _idle.give_back(process)


def prepare(count: int) -> None:
    """Start reading processes, so that the first files need not wait for them."""
    if _CAN:
        for process in [ReadingProcess() for _ in range(count)]:
            _idle.give_back(process)


class ReadingProcess:
    """A process that reads files. Its methods may be called from several threads."""

    def __init__(self) -> None:
        self._frames = _shared_memory()
        self._replies, end = os.pipe()
        self._lock = threading.Lock()
        self._known = False
        self.usable = True
        source = str(Path(marey.__file__).parent.parent)
        paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(  # noqa: S603 - a module of this package, in the same Python
            [sys.executable, "-P", "-m", "marey.video.reading_worker", str(end), str(self._frames)],
            stdin=subprocess.PIPE,
            bufsize=0,
            stdout=subprocess.DEVNULL,
            pass_fds=(end, self._frames),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MALLOC_ARENA_MAX": "2"},
        )
        os.close(end)

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

    def ask(
        self, path: str | Path, limits: Limits, *message: Any, seconds: float | None = None
    ) -> tuple[Any, Array | None]:
        """Send a message and return the answer with its array, if there is one.

        Args:
            path: the file that is read, for errors.
            limits: of reading it.
            message: what the worker understands.
            seconds: for the answer; by default the time limit.

        Raises:
            VideoError: the file cannot be read, or not within the limits; or the process broke down.
            UsageError: an argument that is not valid.
        """
        left = limits.timeout if seconds is None else seconds
        with self._lock:
            try:
                self._await_start(path)
                self._send(message)
                head = json.loads(self._receive(left + _GRACE))
                array = self._array(*head["array"]) if head.get("array") else None
            except TimeoutError:
                self.end()
                raise timeout_error(path, limits.timeout) from None
            except (OSError, EOFError) as error:
                raise self._broken(path, limits) from error
            except BaseException:  # the answer to this message would be taken for that to the next
                self.end()
                raise
            self.usable = self.usable and not head.get("large")
        if "video" in head:
            raise VideoError(path, *head["video"])
        if "memory" in head:
            raise memory_error(path, limits.max_memory)
        if "usage" in head:
            raise UsageError(head["usage"])
        if "fault" in head:
            raise RuntimeError(f"reading {path} in a process of its own failed:\n{head['fault']}")
        return head["value"], array

    def leave(self) -> None:
        """Close the file that is read, so that another one can be."""
        if self.usable:
            with suppress(MareyError):
                self.ask("", Limits(), "close")

    def end(self) -> None:
        """End the process; it may be called twice."""
        self.usable = False
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        for descriptor in (self._replies, self._frames):
            if descriptor >= 0:
                os.close(descriptor)
        self._replies = self._frames = -1

    def _await_start(self, path: str | Path) -> None:
        if not self._known:
            try:
                self._receive(_START)
            except TimeoutError as error:
                self.end()
                raise MareyError(f"the process that reads {path} did not start within {_START:g} s") from error
            except EOFError as error:
                self.end()
                raise MareyError(
                    f"the process that reads {path} did not start: it ended with status {self._process.returncode}"
                ) from error
            self._known = True

    def _send(self, message: tuple[Any, ...]) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - a pipe
        data = pickle.dumps(message)
        left = memoryview(LENGTH.pack(len(data)) + data)
        while len(left):
            left = left[stdin.write(left) :]

    def _receive(self, seconds: float) -> bytes:
        end = time.monotonic() + seconds
        (length,) = LENGTH.unpack(self._read(LENGTH.size, end))
        return self._read(length, end)

    def _read(self, size: int, end: float) -> bytes:
        data = b""
        waiting = select.poll()
        waiting.register(self._replies, select.POLLIN)
        while len(data) < size:
            left = end - time.monotonic()
            if left <= 0 or not waiting.poll(1000 * min(left, 86_400.0)):
                raise TimeoutError
            piece = os.read(self._replies, size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _array(self, kind: str, shape: list[int]) -> Array:
        """Copy an array out of the shared memory, which only the other process writes."""
        bytes_of = math.prod(shape) * np.dtype(_TYPES[kind]).itemsize
        if bytes_of > os.fstat(self._frames).st_size:
            raise EOFError
        array = np.empty(shape, _TYPES[kind])
        left, at = array.reshape(-1).view(np.uint8).data, 0
        while len(left):
            done = os.preadv(self._frames, [left], at)
            if not done:
                raise EOFError
            left, at = left[done:], at + done
        return array

    def _broken(self, path: str | Path, limits: Limits) -> VideoError:
        """Return the error of a file at which the process ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        status = self._process.poll()
        self.end()
        if status in (OUT_OF_MEMORY, -signal.SIGKILL):  # as the system does where there is no more
            return memory_error(path, limits.max_memory)
        how = f"signal {signal.Signals(-status).name}" if status is not None and status < 0 else f"status {status}"
        return VideoError(path, "corrupt", f"the process that read it broke down ({how})")


class _Idle:
    """The processes that wait for a file."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know none of them: in a copy of the process that started them, which they do not listen to."""
        self._lock = threading.Lock()
        self._processes: list[ReadingProcess] = []

    def take(self) -> ReadingProcess | None:
        """Return one of them; None if there is none."""
        with self._lock:
            return self._processes.pop() if self._processes else None

    def give_back(self, process: ReadingProcess) -> None:
        """Let a process wait, or end it."""
        with self._lock:
            if process.usable and len(self._processes) < _MOST_IDLE:
                self._processes.append(process)
                return
        process.end()

    def end(self) -> None:
        """End all."""
        while process := self.take():
            process.end()


class _Here:
    """This process, and whether it reads for another one."""

    def __init__(self) -> None:
        self.inside = False
        self.is_short: Callable[[], bool] = lambda: False


def _shared_memory() -> int:
    """Return the descriptor of a file in memory, without a name; on systems without them, of one in a folder."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("marey-frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


_here: Final = _Here()
_idle: Final = _Idle()
if _CAN:
    atexit.register(_idle.end)
    os.register_at_fork(after_in_child=_idle.forget)
