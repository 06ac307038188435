"""Object stores and web servers, by fsspec: the state of a file, ranges of its bytes, and lists of files."""

from __future__ import annotations

import importlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from marey.errors import UsageError
from marey.extras import install_command, pip_command
from marey.remote_path import RemotePath
from marey.video.remote_errors import RemoteReadError

_PACKAGES: Final = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "hf": "huggingface_hub", "http": "aiohttp"}
_IN_THE_EXTRA: Final = ("s3", "http")
_TRIES: Final = 3
_BROKEN: Final = ("ClientPayloadError", "IncompleteReadError", "ResponseStreamingError", "ServerDisconnectedError")
_VERSIONS: Final = ("ETag", "etag", "generation", "blob_id", "md5Hash", "content_md5", "LastModified", "last_modified")


@dataclass(frozen=True, slots=True)
class RemoteState:
    """The state of a file on another machine at one time.

    Attributes:
        size: bytes.
        version: a text that differs after each change, mostly the ETag; empty where the server states none.
    """

    size: int
    version: str


class Store:
    """A file system of fsspec; its errors are raised as they are, or as `RemoteReadError`.

    Args:
        scheme: of the URLs that it opens.
    """

    pins = False
    """True where reading a file that has changed since it was looked up fails by itself."""

    def __init__(self, scheme: str, **options: Any) -> None:
        try:
            fsspec: Any = importlib.import_module("fsspec")  # which torch needs too; here it takes a while
            self._asyn: Any = importlib.import_module("fsspec.asyn")
            self.system: Any = fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True, **options)
        except ImportError as error:
            package = _PACKAGES[scheme]
            raise UsageError(f"{scheme}:// is read with {package}, which is missing: {_remedy(scheme)}") from error

    def look_up(self, path: RemotePath, timeout: float) -> RemoteState:
        """Return the state of a file."""
        more = {"refresh": True} if path.scheme == "hf" else {}
        info = self._call("info", timeout, path.url, **more)
        if info.get("type") == "directory":
            raise RemoteReadError("not_video", "it is a folder, not a file")
        lfs = info.get("lfs") or {}
        stated = lfs.get("sha256") or next((info[name] for name in _VERSIONS if info.get(name)), "")
        return RemoteState(int(info["size"] or 0), str(stated))

    def read(self, path: RemotePath, state: RemoteState, start: int, end: int, timeout: float) -> bytes:
        """Return the bytes `[start, end)` of a file that is in a state."""
        return bytes(self._call("cat_file", timeout, path.url, start=start, end=end))

    def list_files(self, folder: RemotePath, timeout: float) -> list[str]:
        """Return the URLs of all files below a folder, sorted."""
        found = self._call("find", timeout, folder.url)
        return sorted(str(self.system.unstrip_protocol(name)) for name in found)

    def is_folder(self, path: RemotePath, timeout: float) -> bool:
        """Return whether there are files below a path, and none of that very name."""
        try:
            return bool(self._call("info", timeout, path.url).get("type") == "directory")
        except FileNotFoundError:
            return False

    def match(self, pattern: RemotePath, timeout: float) -> list[str]:
        """Return the URLs of the files that match a pattern, sorted."""
        return sorted(str(self.system.unstrip_protocol(name)) for name in self._call("glob", timeout, pattern.url))

    def write(self, path: RemotePath, content: bytes, timeout: float) -> None:
        """Write a file; others see all of it or nothing."""
        self._call("pipe_file", timeout, path.url, content)

    def remove(self, path: RemotePath, timeout: float) -> None:
        """Remove a file."""
        self._call("rm_file", timeout, path.url)

    def _call(self, name: str, timeout: float, *arguments: Any, **options: Any) -> Any:
        """Call a method of the file system within a time, where it can be interrupted."""
        if not self.system.async_impl:
            return getattr(self.system, name)(*arguments, **options)
        return self.wait_for(getattr(self.system, f"_{name}"), timeout, *arguments, **options)

    def wait_for(self, function: Any, timeout: float, *arguments: Any, **options: Any) -> Any:
        """Wait for the result of an asynchronous function."""
        return self._asyn.sync(self.system.loop, function, *arguments, timeout=max(timeout, 0.01), **options)


class S3Store(Store):
    """S3 and what speaks its protocol; each read asks for the version that was looked up."""

    pins = True

    def look_up(self, path: RemotePath, timeout: float) -> RemoteState:
        """Return the state of an object, by reading its first byte: the answer to HEAD names no reason."""
        try:
            found = self._get(path, timeout, Range="bytes=0-0")
        except OSError as error:
            if code_of(error) in ("InvalidRange", "416"):
                return RemoteState(0, "empty")
            raise
        total = re.search(r"/(\d+)$", str(found.get("ContentRange")))
        size = int(total[1]) if total else int(found["ContentLength"])
        return RemoteState(size, str(found.get("ETag") or found.get("LastModified") or ""))

    def read(self, path: RemotePath, state: RemoteState, start: int, end: int, timeout: float) -> bytes:
        """Return the bytes `[start, end)` of the version that was looked up; a `RemoteReadError` if it has changed."""
        pinned = {"IfMatch": state.version} if state.version.startswith('"') else {}
        try:
            found = self._get(path, timeout, Range=f"bytes={start}-{end - 1}", **pinned)
        except OSError as error:
            if code_of(error) in ("PreconditionFailed", "412", "InvalidRange", "416"):
                raise RemoteReadError("changed", "another version has taken its place while it was read") from error
            raise
        return bytes(found["data"])

    def _get(self, path: RemotePath, timeout: float, **options: Any) -> Mapping[str, Any]:
        bucket, key, _ = self.system.split_path(path.url)
        if not key:
            raise RemoteReadError("not_video", "it is a bucket, not a file")

        async def get() -> Mapping[str, Any]:
            reply = await self.system._call_s3("get_object", Bucket=bucket, Key=key, **options)
            try:
                return {**reply, "data": await reply["Body"].read()}
            finally:
                reply["Body"].close()

        last = time.monotonic() + timeout
        for attempt in range(1, _TRIES + 1):  # s3fs repeats a request that fails, and not one that breaks off
            try:
                found: Mapping[str, Any] = self.wait_for(get, last - time.monotonic())
                return found
            except Exception as error:
                if type(error).__name__ not in _BROKEN or attempt == _TRIES or time.monotonic() >= last:
                    raise
        raise AssertionError("the last try returns or raises")


def code_of(error: BaseException) -> str:
    """Return the code of S3 in an error, such as "NoSuchKey"; empty where there is none."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def store_of(path: RemotePath) -> Store:
    """Return the store of a path, one a scheme and process.

    Raises:
        UsageError: a package that it needs is not installed; the message names it.
    """
    return _store("http" if path.scheme == "https" else path.scheme, os.getpid())


@cache
def _store(scheme: str, _process: int) -> Store:
    if scheme == "http":
        from marey.video.remote_web import WebStore

        return WebStore()
    return S3Store("s3") if scheme == "s3" else Store(scheme)


def _remedy(scheme: str) -> str:
    if scheme in _IN_THE_EXTRA:
        return install_command("remote")
    return f"{pip_command()} install {_PACKAGES[scheme]}"
