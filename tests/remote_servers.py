"""Servers of files on this machine: one of the web with ranges and faults, and one of S3."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from marey.video import remote_file, remote_store


class Web:
    """A web server of files in memory.

    Attributes:
        files: path, such as "/clips/a.mp4", to bytes; a test may change it at any time.
        sent: path to bytes that were sent.
        requests: path to number of requests.
        answers: path to a status and a body that are sent in place of the file.
        drops: path to the number of connections that are still to break off half way.
        ranges: whether ranges are sent, or always whole files.
        tags: whether ETags are sent.
        queries: of the requests.
        stalls: paths that are not answered until `release` is set.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.sent: dict[str, int] = {}
        self.requests: dict[str, int] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.drops: dict[str, int] = {}
        self.ranges = True
        self.tags = True
        self.queries: list[str] = []
        self.stalls: set[str] = set()
        self.release = threading.Event()


@contextmanager
def serve() -> Iterator[Web]:
    """Serve files until the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            web.queries.append(query)
            web.requests[path] = web.requests.get(path, 0) + 1
            if path in web.stalls:
                web.release.wait(60)
            if path in web.answers:
                self._send(*web.answers[path], {})
                return
            if path.endswith("/"):
                self._send(200, _links(web.files, path), {"Content-Type": "text/html"})
                return
            data = web.files.get(path)
            if data is None:
                self._send(404, b"no such file", {})
                return
            headers = {"ETag": f'"{hash(data):x}"'} if web.tags else {}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if web.ranges else None
            if wanted is None:
                self._send(200, data, headers)
                return
            start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
            if start >= len(data):
                self._send(416, b"", headers)
                return
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            self._send(206, data[start:end], headers, path)

        def _send(self, status: int, body: bytes, headers: dict[str, str], path: str = "") -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if web.drops.get(path, 0) and len(body) > 1:
                web.drops[path] -= 1
                body, self.close_connection = body[: len(body) // 2], True
            try:
                self.wfile.write(body)
            except OSError:  # who asked for it has seen enough
                self.close_connection = True
            web.sent[path] = web.sent.get(path, 0) + len(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web = Web(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.release.set()
        server.shutdown()
        server.server_close()


def _links(files: dict[str, bytes], folder: str) -> bytes:
    """Return a page with a link to each file and folder in a folder, as web servers make it."""
    below = [path.removeprefix(folder) for path in files if path.startswith(folder)]
    names = sorted({f"{name.partition('/')[0]}/" if "/" in name else name for name in below})
    return "".join(f'<a href="{name}">{name}</a>\n' for name in ["../", *names]).encode()


@contextmanager
def serve_s3(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve S3 by moto, with a bucket called `videos` and one called `other`; yield the endpoint."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    use_s3(patch, endpoint)
    try:
        for bucket in ("videos", "other"):
            put(endpoint, bucket, "", b"")
        yield endpoint
    finally:
        running.stop()
        forget()


def use_s3(patch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Let this process read S3 from an endpoint, with credentials that any server of a test takes."""
    forget()
    patch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    patch.setenv("AWS_ACCESS_KEY_ID", "of-a-test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-of-a-test")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_MAX_ATTEMPTS", "1")


def put(endpoint: str, bucket: str, key: str, data: bytes) -> None:
    """Write an object, or make a bucket where the key is empty."""
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request",
        "Content-Type": "video/mp4",
    }
    request = Request(f"{endpoint}/{bucket}/{quote(key)}".rstrip("/"), data=data, method="PUT", headers=headers)  # noqa: S310
    with urlopen(request, timeout=30):  # noqa: S310 - the server of the test
        pass


def forget() -> None:
    """Forget what this process knows of servers, as a new one does."""
    remote_store._store.cache_clear()
    remote_file._states.clear()
