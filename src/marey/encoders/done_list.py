"""The list of clips whose features are made, and of those that failed, beside the features in the cache.

Each process appends to a file of its own, so that machines that share the folder need no lock; the newest row of a clip
counts. A row that is lost costs a look into the cache.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, TextIO

from marey.data import Clip
from marey.data.hashing import values_hash
from marey.data.text import relative_name
from marey.encoders.cache import FeatureCache
from marey.encoders.contract import Contract, FrameOrder, View
from marey.errors import UsageError, VideoError
from marey.remote_path import RemotePath
from marey.video.remote_file import remote_state

_FOLDER: Final = "extractions"
_SUFFIX: Final = ".jsonl"

FileState = list[int | str]
"""Size and time of change of a file, or size and version of one on another machine."""


@dataclass(frozen=True, slots=True)
class DoneRow:
    """The result of a clip.

    Attributes:
        clip: its name: its path below the folder of the data set, and its span.
        state: of its file when it was read; None where it could not be looked at.
        keys: of its features in the cache.
        reason: why it cannot be used; None where its features are made.
        detail: a description of the fault.
        time: seconds since 1970.
    """

    clip: str
    state: FileState | None
    keys: list[str]
    reason: str | None
    detail: str
    time: float


class DoneList:
    """The results of the clips of one data set under one contract.

    Args:
        cache: which holds the features.
        root: folder of the data set.
        contract: how its clips become features.
        views: the readings of each clip.
        order: of its frames.
        engine: name of the engine, where its features differ from those of the others.
    """

    def __init__(
        self,
        cache: FeatureCache,
        root: Path,
        contract: Contract,
        views: Sequence[View],
        *,
        order: FrameOrder = "given",
        engine: str = "",
    ) -> None:
        self._cache = cache
        self._root = root
        made_from = [
            str(root.absolute()),
            contract.model_dump(mode="json"),
            [[view.index, view.mirrored, list(view.part), view.anchor] for view in views],
            order,
            engine,
        ]
        self.folder = cache.root / _FOLDER / values_hash(made_from)
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def name_of(self, clip: Clip) -> str:
        """Return the name of a clip in the list: the same on every machine, wherever it is called from."""
        path = relative_name(clip.path, self._root)
        return path + clip.id.removeprefix(clip.path.as_posix())

    @staticmethod
    def state_of(clip: Clip) -> FileState | None:
        """Return the state of a clip's file now; None where it cannot be looked at."""
        return _state(clip.path)

    def read(self) -> dict[str, DoneRow]:
        """Return the newest row of each clip, by its name; half a line of a process that was killed does not count."""
        rows: dict[str, DoneRow] = {}
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            with suppress(OSError):
                for row in _rows(path.read_bytes()):
                    if row.clip not in rows or rows[row.clip].time <= row.time:
                        rows[row.clip] = row
        return rows

    def add(self, clip: Clip, keys: Iterable[str], error: VideoError | None = None) -> None:
        """Append the result of a clip.

        Args:
            clip: which was read.
            keys: of its features in the cache.
            error: why it cannot be used, if it cannot.

        Raises:
            UsageError: the folder of the cache cannot be written to.
        """
        reason, detail = (None, "") if error is None else (error.reason, error.detail)
        row = DoneRow(self.name_of(clip), _state(clip.path), list(keys), reason, detail, time.time())
        try:
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                place = self.folder / f"{socket.gethostname()}-{os.getpid()}{_SUFFIX}"
                self._file = place.open("a", encoding="utf-8", errors="surrogateescape")
                self._file.write("\n" if place.stat().st_size else "")  # after half a line of a process that was killed
            self._file.write(json.dumps(asdict(row)) + "\n")
            self._file.flush()
        except OSError as fault:
            raise UsageError(
                f"{self.folder} cannot be written to: {fault.strerror or fault}; make room there, or let MAREY_CACHE "
                "name another folder"
            ) from fault

    def is_done(self, clip: Clip, rows: Mapping[str, DoneRow]) -> bool:
        """Return whether the features of a clip are made: its file is as it was, and the cache still has them."""
        row = rows.get(self.name_of(clip))
        return (
            row is not None
            and row.reason is None
            and row.state is not None
            and row.state == _state(clip.path)
            and all(map(self._cache.holds, row.keys))
        )

    def failure(self, clip: Clip, rows: Mapping[str, DoneRow]) -> str | None:
        """Return why a clip cannot be used, if that is its newest result and its file is as it was."""
        row = rows.get(self.name_of(clip))
        if row is None or row.reason is None or row.state != _state(clip.path):
            return None
        return f"{row.reason}: {row.detail}"


def _state(path: Path) -> FileState | None:
    if isinstance(path, RemotePath):
        try:
            state = remote_state(path)
        except VideoError:
            return None
        return [state.size, state.version] if state.version else None
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def _rows(text: bytes) -> Iterable[DoneRow]:
    for line in text.splitlines():
        with suppress(ValueError, TypeError, KeyError):
            values: dict[str, Any] = json.loads(line)
            yield DoneRow(**{name: values[name] for name in DoneRow.__dataclass_fields__})
