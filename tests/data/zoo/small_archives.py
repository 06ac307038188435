"""A web server on loopback that can break, and a writer of small RAR archives, which no free tool writes."""

from __future__ import annotations

import io
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Shop:
    """A web server, and how it behaves.

    Attributes:
        url: its address, without a slash at the end.
        files: what it offers, by name.
        etag: what it says of every file; None for nothing.
        modified: the date that it says of every file; None for none.
        ranges: whether it knows ranges.
        conditions: whether it knows `If-Range`.
        cuts: how many bytes each of the next connections carries before it breaks.
        shift: where a part begins later than it was asked for.
        announced: the length that it states, if it is not the true one.
        asked: the name, the range and the condition of every request so far.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"first"'
    modified: str | None = None
    ranges: bool = True
    conditions: bool = True
    cuts: list[int] = field(default_factory=list)
    shift: int = 0
    announced: int | None = None
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)


def _handler(shop: Shop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
            shop.asked.append((name, wanted, condition))
            if name not in shop.files:
                self.send_error(404)
                return
            content, start = shop.files[name], 0
            same = not shop.conditions or condition in (None, shop.etag, shop.modified)
            if wanted and shop.ranges and same:
                start = int(wanted.removeprefix("bytes=").rstrip("-")) + shop.shift
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            if shop.etag:
                self.send_header("ETag", shop.etag)
            if shop.modified:
                self.send_header("Last-Modified", shop.modified)
            self.send_header("Content-Length", str(shop.announced or len(content) - start))
            self.end_headers()
            end = start + shop.cuts.pop(0) if shop.cuts else len(content)
            self.wfile.write(content[start:end])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A web server on loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    shop = Shop("")
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(shop)) as server:
        shop.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield shop
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Packed:
    """A file in a RAR archive that is not quite plain.

    Attributes:
        content: its bytes.
        announced: the size that the archive states, if it is not the true one.
        link: where it leads, if it is a symbolic link.
        stored: whether it is not compressed.
    """

    content: bytes = b""
    announced: int | None = None
    link: str | None = None
    stored: bool = False


# The tables of a compressed block in which each byte stands for itself: 256 codes of 8 bits, and no others.
_TABLES = bytes.fromhex("00000000100000000001") + bytes(32) + bytes([0xFF, 0x80 | 25])


def _number(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def _header(body: bytes) -> bytes:
    sized = _number(len(body)) + body
    return struct.pack("<I", zlib.crc32(sized)) + sized


def _compressed(content: bytes) -> bytes:
    block = _TABLES + content
    width = (len(block).bit_length() + 7) // 8
    size = len(block).to_bytes(width, "little")
    flags = 0xC0 | (width - 1) << 3 | 7
    checksum = 0x5A ^ flags
    for byte in size:
        checksum ^= byte
    return bytes([flags, checksum]) + size + block


def _file(name: str, packed: Packed) -> bytes:
    data = packed.content if packed.stored else _compressed(packed.content)
    extra = b""
    if packed.link is not None:
        target = packed.link.encode()
        record = _number(5) + _number(1) + _number(0) + _number(len(target)) + target
        extra = _number(len(record)) + record
    written = name.encode()
    body = _number(2) + _number(3 if extra else 2) + (_number(len(extra)) if extra else b"") + _number(len(data))
    body += _number(4) + _number(len(packed.content) if packed.announced is None else packed.announced)
    body += _number(0o100644) + struct.pack("<I", zlib.crc32(packed.content)) + _number(0 if packed.stored else 1 << 7)
    body += _number(1) + _number(len(written)) + written + extra
    return _header(body) + data


MakeRar = Callable[[Mapping[str, bytes | Mapping[str, Any]]], bytes]
MakeZip = Callable[[Mapping[str, bytes]], bytes]


@pytest.fixture(scope="session")
def make_rar() -> MakeRar:
    """A function from names to contents, or to the fields of a `Packed`, to a RAR 5 archive."""

    def make(files: Mapping[str, bytes | Mapping[str, Any]]) -> bytes:
        entries = (
            _file(name, Packed(packed) if isinstance(packed, bytes) else Packed(**packed))
            for name, packed in files.items()
        )
        main, end = _header(_number(1) + bytes(2)), _header(_number(5) + bytes(2))
        return b"Rar!\x1a\x07\x01\x00" + main + b"".join(entries) + end

    return make


@pytest.fixture(scope="session")
def make_zip() -> MakeZip:
    """A function from names and contents to a zip archive."""

    def make(files: Mapping[str, bytes]) -> bytes:
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return written.getvalue()

    return make
