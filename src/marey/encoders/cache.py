"""Cache of features on disk, by content."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import filelock
import platformdirs
from torch import Tensor

from marey.atomic import write_atomic
from marey.data import Clip, expand_home
from marey.encoders.cache_entry import DamagedEntryError, Expected, pack_entry, read_entry
from marey.encoders.contract import Contract, FrameOrder, View
from marey.encoders.feature_streams import FeatureStream
from marey.errors import UsageError
from marey.video import Sampling

_LOG: Final = logging.getLogger(__name__)
_LOCK_DIGITS: Final = 3  # of a key: 4,096 files of locks at most
_POLL: Final = 0.05  # s
_OF_FEATURE_STREAMS: Final = ("format", "video", "span", "view", "order", "sampling")
_FORMAT: Final = 1  # raised when the same clip and contract come to give other features


def cache_home() -> Path:
    """Return the folder of the cache: `MAREY_CACHE`, else the user's cache folder."""
    named = os.environ.get("MAREY_CACHE")
    return expand_home(named) if named else Path(platformdirs.user_cache_dir("marey"))


Lock = filelock.BaseFileLock
"""Held by the process that works on a clip; it ends with `release()`, and with the process."""


class FeatureCache:
    """Features by content: hash of the video, span of the clip, contract, weights of the encoder.

    Each entry is a file with a checksum, written atomically: a killed job loses one clip. Files that are damaged
    count as absent, and are made again. A folder that cannot be written to costs speed, and no answer.

    Args:
        root: the folder; created with the first entry.

    Attributes:
        root: the folder.
        fault: why the first entry that could not be written was not; None if all were.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else cache_home()
        self.fault: UsageError | None = None

    @property
    def free(self) -> int:
        """Free bytes on the disk of the cache; 0 where they are unknown."""
        for folder in (self.root, *self.root.absolute().parents):
            with suppress(OSError):
                return shutil.disk_usage(folder).free
        return 0

    def key(
        self,
        clip: Clip,
        contract: Contract,
        stream: str,
        *,
        content: str,
        view: View,
        order: FrameOrder,
        engine: str = "",
    ) -> str:
        """Return the name of an entry: BLAKE2b-160 over everything that its features depend on.

        Args:
            clip: the span.
            contract: how it is read and encoded.
            stream: name of one of the contract's streams; its content is part of the key, and not its name.
            content: hash of the video file.
            view: the reading of the clip.
            order: the order of its frames.
            engine: name of the engine, where its features differ from those of the others, see `Encoder.cache_tag`.
        """
        chosen = contract.streams[stream]
        own = isinstance(chosen, FeatureStream)
        # Frames are shuffled among those of all streams, so a stream depends on the others.
        together = () if order == "given" or own else contract.streams.values()
        plain = (view.part, view.anchor) == ((0, 1), "middle")
        made_from: dict[str, Any] = {
            "format": _FORMAT,
            "video": content,
            "span": [None if second is None else float(second) for second in (clip.start, clip.end)],
            "view": [view.index, view.mirrored, *(() if plain else (view.part, view.anchor))],
            "order": order,
            "stream": chosen.model_dump(),
            "together": sorted(other.model_dump_json() for other in together),
            **contract.model_dump(exclude={"streams", "testing"}),
        }
        made_from["encoder"].pop("weights")  # identified by their hash, wherever they lie
        if isinstance(chosen, FeatureStream):  # no encoder sees it
            made_from = {name: made_from[name] for name in _OF_FEATURE_STREAMS}
            made_from["stream"], engine = dict(chosen.identity(clip.path)), ""
        for name in ("frames", "decoder"):  # so that features of versions without these keys are found
            if made_from["sampling"][name] == Sampling.model_fields[name].default:
                del made_from["sampling"][name]
        if engine:
            made_from["engine"] = engine
        text = json.dumps(made_from, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()

    def get(self, key: str, *, mapped: bool = False, expected: Expected | None = None) -> Tensor | None:
        """Return the features of a key, (T, ...), in their stored type; None where there are none.

        An entry that is not what was written counts as none, with a warning in the log.

        Args:
            key: as `key` makes it.
            mapped: map the file into memory: for raw frames, which are larger than memory. Its checksum is compared
                once a process.
            expected: the type and the last axes that the contract gives.
        """
        try:
            return read_entry(self._path(key), mapped=mapped, expected=expected)
        except OSError:
            return None
        except DamagedEntryError as error:
            _LOG.warning("%s is damaged (%s), and is made again", self._path(key), error)
            return None

    def holds(self, key: str) -> bool:
        """Return whether there is an entry of a key; it is not read."""
        return self._path(key).is_file()

    def put(self, key: str, features: Tensor) -> None:
        """Store features, (T, ...), under a key.

        Raises:
            UsageError: the folder cannot be written to.
        """
        try:
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, pack_entry(features), durable=False)  # one that a power failure damages is made again
        except OSError as error:
            raise self._unwritable(error) from error

    def keep(self, key: str, features: Tensor) -> None:
        """Store features as `put` does; where they cannot be stored, the log says so once."""
        try:
            self.put(key, features)
        except UsageError as error:
            if self.fault is None:
                self.fault = error
                _LOG.warning("%s: what is read now has to be read again the next time", error)

    def lock(self, key: str, *, timeout: float = 0.0) -> Lock | None:
        """Lock an entry against other processes, on this machine and on those that share the folder.

        Args:
            key: of the entry; a few thousand lock files stand for all keys, and two keys rarely share one.
            timeout: seconds to wait for the process that holds it.

        Returns:
            None where another process holds it. On a file system without locks, and in a folder that cannot be written
            to, every process gets one.
        """
        lock = filelock.FileLock(self.root / "claims" / f"{key[:_LOCK_DIGITS]}.lock", thread_local=False)
        try:
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            with suppress(NotImplementedError):
                lock.acquire(timeout=timeout, poll_interval=_POLL)
        except filelock.Timeout:
            return None
        except OSError:  # the work is done twice at worst
            pass
        return lock

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(
            f"features cannot be kept in {self.root}: {error.strerror or error}; "
            "make room there, or let MAREY_CACHE name another folder"
        )

    def _path(self, key: str) -> Path:
        return self.root / "features" / key[:2] / f"{key}.safetensors"
