"""Cache of features on disk, by content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import filelock
import platformdirs
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor

from marey.atomic import write_atomic
from marey.data import Clip, expand_home
from marey.encoders.contract import Contract, FrameOrder, View
from marey.errors import UsageError
from marey.video import Sampling

_LOCK_DIGITS: Final = 3  # of a key: 4,096 files of locks at most
_POLL: Final = 0.05  # s
_FORMAT: Final = 1  # raised when the same clip and contract come to give other features


def cache_home() -> Path:
    """Return the folder of the cache: `MAREY_CACHE`, else the user's cache folder."""
    named = os.environ.get("MAREY_CACHE")
    return expand_home(named) if named else Path(platformdirs.user_cache_dir("marey"))


Lock = filelock.BaseFileLock
"""Held by the process that works on a clip; it ends with `release()`, and with the process."""


class FeatureCache:
    """Features by content: hash of the video, span of the clip, contract, weights of the encoder.

    Each entry is a file, written atomically: a killed job loses one clip. Files that cannot be read count as absent,
    and are made again.

    Args:
        root: the folder; created with the first entry.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else cache_home()

    @property
    def free(self) -> int:
        """Free bytes on the disk of the cache.

        Raises:
            UsageError: the folder cannot be written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            return shutil.disk_usage(self.root).free
        except OSError as error:
            raise self._unwritable(error) from error

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
        # Frames are shuffled among those of all streams, so a stream depends on the others.
        together = () if order == "given" else contract.streams.values()
        plain = (view.part, view.anchor) == ((0, 1), "middle")
        made_from: dict[str, Any] = {
            "format": _FORMAT,
            "video": content,
            "span": [None if second is None else float(second) for second in (clip.start, clip.end)],
            "view": [view.index, view.mirrored, *(() if plain else (view.part, view.anchor))],
            "order": order,
            "stream": contract.streams[stream].model_dump(),
            "together": sorted(other.model_dump_json() for other in together),
            **contract.model_dump(exclude={"streams", "testing"}),
        }
        made_from["encoder"].pop("weights")  # identified by their hash, wherever they lie
        for name in ("frames", "decoder"):  # so that features of versions without these keys are found
            if made_from["sampling"][name] == Sampling.model_fields[name].default:
                del made_from["sampling"][name]
        if engine:
            made_from["engine"] = engine
        text = json.dumps(made_from, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()

    def get(self, key: str, *, mapped: bool = False) -> Tensor | None:
        """Return the features of a key, (T, ...), in their stored type; None where there are none.

        Args:
            key: as `key` makes it.
            mapped: map the file into memory: for raw frames, which are larger than memory.
        """
        try:
            if mapped:
                return load_file(self._path(key))["features"]
            return load(self._path(key).read_bytes())["features"]
        except (OSError, SafetensorError, KeyError):
            return None

    def put(self, key: str, features: Tensor) -> None:
        """Store features, (T, ...), under a key.

        Raises:
            UsageError: the folder cannot be written to.
        """
        try:
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, save({"features": features.contiguous()}))
        except OSError as error:
            raise self._unwritable(error) from error

    def lock(self, key: str, *, timeout: float = 0.0) -> Lock | None:
        """Lock an entry against other processes, on this machine and on those that share the folder.

        Args:
            key: of the entry; a few thousand lock files stand for all keys, and two keys rarely share one.
            timeout: seconds to wait for the process that holds it.

        Returns:
            None where another process holds it. On a file system without locks every process gets one.

        Raises:
            UsageError: the folder cannot be written to.
        """
        lock = filelock.FileLock(self.root / "claims" / f"{key[:_LOCK_DIGITS]}.lock", thread_local=False)
        try:
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            with suppress(NotImplementedError):
                lock.acquire(timeout=timeout, poll_interval=_POLL)
        except filelock.Timeout:
            return None
        except OSError as error:
            raise self._unwritable(error) from error
        return lock

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(
            f"features cannot be kept in {self.root}: {error.strerror or error}; "
            "make room there, or let MAREY_CACHE name another folder"
        )

    def _path(self, key: str) -> Path:
        return self.root / "features" / key[:2] / f"{key}.safetensors"
