"""The process that reads files for another one: `python -m marey.video.reading_worker REPLIES FRAMES`."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, Final

import numpy as np

from marey.errors import UsageError, VideoError
from marey.video.frame_times import frame_times
from marey.video.limits import Limits, memory_error
from marey.video.pixels import Choices, Pixels, read_each, read_pixels
from marey.video.playback import Playback, StreamFrame, play
from marey.video.probe import probe
from marey.video.reading_process import LENGTH, OUT_OF_MEMORY, Array, read_here
from marey.video.torchcodec_reader import require_decoder

_STATM: Final = Path("/proc/self/statm")  # pages of memory, mapped and resident
_KEPT: Final = 64 << 20  # bytes of shared memory that are kept for the next file
_LOOK: Final = 0.05  # s between two looks at the memory, where the system does not limit it
_RESIDENT: Final = 1 if sys.platform == "darwin" else 1024  # bytes of the unit of `ru_maxrss`

Answer = tuple[Any, Array | None]
"""A value for JSON, and an array."""


class Worker:
    """Reads one file after another, as messages ask for it.

    Args:
        requests: where messages come from: tuples of a name and arguments.
        replies: descriptor of the pipe for the answers.
        frames: descriptor of the shared memory.
    """

    def __init__(self, requests: SimpleQueue[tuple[Any, ...]], replies: int, frames: int) -> None:
        self._requests = requests
        self._replies = replies
        self._frames = frames
        self._memory = Memory()
        read_here(self._memory.is_short)
        self._walk: Iterator[Answer] | None = None
        self._playback: Playback | None = None
        self._shown: dict[int, StreamFrame] = {}

    def run(self) -> None:
        """Answer messages; the process ends with the one that sends them."""
        self._write({})
        while True:
            name, *arguments = self._requests.get()
            self._write(self._reply(getattr(self, f"_do_{name}"), arguments))

    def _reply(self, do: Callable[..., Answer], arguments: list[Any]) -> dict[str, Any]:
        try:
            value, array = do(*arguments)
            reply: dict[str, Any] = {"value": value}
            if array is not None:
                reply["array"] = self._share(array)
        except MemoryError:
            return {"memory": True, "large": True}
        except VideoError as error:
            if error.detail == memory_error("").detail:
                return {"memory": True, "large": True}
            return {"video": [error.reason, error.detail]}
        except UsageError as error:
            return {"usage": str(error)}
        except Exception:  # a fault of marey: the other process raises it
            return {"fault": traceback.format_exc()}
        if self._playback is None and self._walk is None and self._memory.is_large():
            reply["large"] = True
        return reply

    def _do_call(self, name: str, path: str, limits: Limits, *arguments: Any) -> Answer:
        """Call a function of a file."""
        self._begin(limits, arguments)
        return _CALLS[name](path, limits, *arguments)

    def _do_start(self, name: str, path: str, limits: Limits, *arguments: Any) -> Answer:
        """Start to walk through a file."""
        self._begin(limits, arguments)
        self._walk = _WALKS[name](path, limits, *arguments)
        return None, None

    def _do_next(self) -> Answer:
        """Go on in that file; None at its end."""
        assert self._walk is not None  # noqa: S101 - after start
        return next(self._walk, (None, None))

    def _do_play(self, path: str, limits: Limits) -> Answer:
        """Start to play a file."""
        self._begin(limits, ())
        self._playback = playback = play(path, limits=limits)
        return [list(playback.size), playback.frame_rate, playback.duration], None

    def _do_frame(self, dropped: list[int]) -> Answer:
        """Play on to the next frame, which is kept until its number is in `dropped`; None at the end."""
        assert self._playback is not None  # noqa: S101 - after play
        for number in dropped:
            self._shown.pop(number, None)
        frame = next(self._playback, None)
        if frame is None:
            return None, None
        self._shown[frame.number] = frame
        return [frame.number, frame.time, frame.end, frame.arrived], None

    def _do_rgb(self, number: int, options: dict[str, Any]) -> Answer:
        """Convert a frame that is kept."""
        assert self._playback is not None  # noqa: S101 - after play
        return True, self._playback.convert(self._shown[number], **options)

    def _do_close(self) -> Answer:
        """Close the file."""
        if self._playback is not None:
            self._playback.close()
        self._playback = self._walk = None
        self._shown.clear()
        return None, None

    def _begin(self, limits: Limits, arguments: tuple[Any, ...]) -> None:
        self._do_close()
        if os.fstat(self._frames).st_size > _KEPT:
            os.ftruncate(self._frames, 0)
        if any(isinstance(each, Choices) and each.decoder == "torchcodec" for each in arguments):
            self._memory.lift()
            require_decoder("torchcodec")  # which imports PyTorch
            self._memory.start_here()
        self._memory.limit(limits.max_memory)

    def _share(self, array: Array) -> list[Any]:
        left, at = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, 0
        while len(left):
            done = os.pwrite(self._frames, left, at)
            left, at = left[done:], at + done
        return [array.dtype.name, list(array.shape)]

    def _write(self, reply: dict[str, Any]) -> None:
        data = json.dumps(reply).encode()
        data = LENGTH.pack(len(data)) + data
        while data:
            data = data[os.write(self._replies, data) :]


class Memory:
    """The memory of this process, beyond what it takes before it reads a file.

    On Linux the system refuses more (`RLIMIT_AS`). Elsewhere a thread looks, and ends the process.
    """

    def __init__(self) -> None:
        self._most: int | None = None
        if not _STATM.exists():
            threading.Thread(target=self._watch, daemon=True).start()
        self.start_here()

    def start_here(self) -> None:
        """Count from what is taken now."""
        self._base = taken()

    def limit(self, most: int | None) -> None:
        """Allow so many bytes more."""
        self._most = most
        if most is not None and _STATM.exists():
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            soft = self._base + most
            resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))

    def lift(self) -> None:
        """Allow as much as the system does."""
        self._most = None
        if _STATM.exists():
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))

    def is_large(self) -> bool:
        """Return whether much of what is allowed was not given back."""
        return self._most is not None and taken() - self._base > self._most // 4

    def is_short(self) -> bool:
        """Return whether memory may have been refused: decoders do not always say so."""
        return self._most is not None and taken() - self._base > self._most // 2

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK)
            if self._most is not None and taken() - self._base > self._most:
                os._exit(OUT_OF_MEMORY)


def taken() -> int:
    """Return the bytes that this process takes: on Linux as they are limited, elsewhere the most so far."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[0]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RESIDENT


def _probe(path: str, limits: Limits) -> Answer:
    found = probe(path, limits=limits)
    return {name: getattr(found, name) for name in found.__dataclass_fields__ if name != "path"}, None


def _times(path: str, limits: Limits) -> Answer:
    return True, frame_times(path, limits=limits)


def _pixels(path: str, limits: Limits, requested: Array, choices: Choices) -> Answer:
    pixels, begins = read_pixels(path, requested, choices, limits)
    return begins.tolist(), pixels


def _each(path: str, limits: Limits, requested: Array, choices: Choices) -> Iterator[Answer]:
    shown: Pixels | None = None
    for place, pixels in read_each(path, requested, choices, limits):
        yield place, None if pixels is shown else pixels
        shown = pixels


_CALLS: Final[dict[str, Callable[..., Answer]]] = {"probe": _probe, "times": _times, "pixels": _pixels}
_WALKS: Final[dict[str, Callable[..., Iterator[Answer]]]] = {"each": _each}


def _receive(file: BinaryIO, requests: SimpleQueue[tuple[Any, ...]]) -> None:
    """Pass messages on; at their end the other process has ended, and this one does."""
    while True:
        head = file.read(LENGTH.size)
        data = file.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""
        if not data:
            os._exit(0)
        requests.put(pickle.loads(data))  # noqa: S301 - from the process that started this one


def main() -> None:
    """Read files until the process that started this one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other one
    with suppress(OSError), Path(os.devnull).open("w") as nowhere:  # what libraries say when memory is refused
        os.dup2(nowhere.fileno(), 2)
    requests: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, requests), daemon=True).start()
    Worker(requests, int(sys.argv[1]), int(sys.argv[2])).run()


if __name__ == "__main__":
    main()
