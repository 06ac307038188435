"""Features on disk, under what they were made from."""

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

from marey.atomic import write_whole
from marey.data import Clip, expand_home
from marey.encoders.contract import Contract, FrameOrder, View
from marey.errors import UsageError
from marey.video import Sampling

_CLAIM_DIGITS: Final = 3  # of a key: 4,096 files of locks at most
_POLL: Final = 0.05  # s
_FORMAT: Final = 1  # raised when the same clip and contract come to give other features


def cache_home() -> Path:
    """Where features are kept: `MAREY_CACHE`, else the user's cache folder."""
    named = os.environ.get("MAREY_CACHE")
    return expand_home(named) if named else Path(platformdirs.user_cache_dir("marey"))


Claim = filelock.BaseFileLock
"""Says that a process has a clip in hand; it ends with `release()`, and with the process."""


class FeatureCache:
    """Features by content: hash of the video, span of the clip, contract, weights of the encoder.

    A file an entry, written beside its place and moved there: a reader sees all of it or nothing, and a job that is
    killed loses the clip in hand. What cannot be read counts as absent, and is made again.

    Args:
        root: the folder; made when it is first written to.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else cache_home()

    @property
    def free(self) -> int:
        """Bytes that are free where features are kept.

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
        """The name of an entry: BLAKE2b-160 over all that its features depend on.

        Args:
            clip: the span.
            contract: how it is read and encoded.
            stream: which of the contract's streams; what it is called does not matter, what it does.
            content: hash of the video file.
            view: which reading of the clip.
            order: the order of its frames.
            engine: what encodes it, where its features are not those of the others, see `Encoder.cache_tag`.
        """
        # Frames change places among those of all streams, so what one stream sees depends on the others.
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
        made_from["encoder"].pop("weights")  # their hash says which they are, wherever they lie
        for name in ("frames", "decoder"):  # features from before they could be chosen are found again
            if made_from["sampling"][name] == Sampling.model_fields[name].default:
                del made_from["sampling"][name]
        if engine:
            made_from["engine"] = engine
        text = json.dumps(made_from, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()

    def get(self, key: str, *, mapped: bool = False) -> Tensor | None:
        """The features under a key, (T, ...), of the type that they were kept in; None where there are none.

        Args:
            key: as `key` makes it.
            mapped: leave them on disk until they are looked at: for pictures, of which many do not fit into memory.
        """
        try:
            if mapped:
                return load_file(self._path(key))["features"]
            return load(self._path(key).read_bytes())["features"]
        except (OSError, SafetensorError, KeyError):
            return None

    def put(self, key: str, features: Tensor) -> None:
        """Keep features, (T, ...), under a key.

        Raises:
            UsageError: the folder cannot be written to.
        """
        try:
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, save({"features": features.contiguous()}))
        except OSError as error:
            raise self._unwritable(error) from error

    def claim(self, key: str, *, patience: float = 0.0) -> Claim | None:
        """Announce to other processes, on this machine and on those that share the folder, who makes an entry.

        Args:
            key: of the entry. A few thousand files stand for all keys: rarely, two of them share one.
            patience: seconds to wait for whoever has it in hand.

        Returns:
            None where another has it in hand. Where the file system knows no locks everyone does everything.

        Raises:
            UsageError: the folder cannot be written to.
        """
        lock = filelock.FileLock(self.root / "claims" / f"{key[:_CLAIM_DIGITS]}.lock", thread_local=False)
        try:
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            with suppress(NotImplementedError):
                lock.acquire(timeout=patience, poll_interval=_POLL)
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
