from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpcore import AnyIOBackend, ConnectError

from marey.service import url_fetch
from marey.service.url_fetch import is_public
from waiting import PATIENCE

pytest_plugins = ["service_fixtures"]


@pytest.fixture(scope="module")
def site(clip: Path) -> Iterator[str]:
    """A web server on loopback: /clip.mp4, /to?URL leads on, /large never ends, /empty, /missing."""
    content = clip.read_bytes()

    class Site(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            status = {"/to": 302, "/missing": 404}.get(path, 200)
            self.send_response(status)
            if path == "/to":
                self.send_header("Location", query)
            self.end_headers()
            if path == "/large":
                with_room = b"\x00" * 2**16
                try:
                    while True:
                        self.wfile.write(with_room)
                except OSError:
                    return
            elif status == 200 and path != "/empty":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def public(serve: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with serve(tmp_path_factory.mktemp("public"), urls="public") as running:
        yield running


@pytest.fixture(scope="module")
def local(serve: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with serve(tmp_path_factory.mktemp("local"), urls="local", max_upload=2**20) as running:
        yield running


def ask(running: Any, url: str, path: str = "/predict") -> httpx.Response:
    return httpx.post(running.url + path, json={"url": url}, timeout=PATIENCE)


def code_of(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["code"]


def test_a_url_is_fetched_where_that_is_allowed(local: Any, site: str) -> None:
    reply = ask(local, f"{site}/films/clip%20one.mp4?a=b c#d")
    assert reply.status_code == 200, reply.text
    assert reply.json()["source"] == "clip%20one.mp4"
    assert ask(local, f"{site}/to?/clip.mp4").status_code == 200
    assert ask(local, f"{site}/clip.mp4", "/jobs").status_code == 202
    assert not list((local.jobs / "uploads").iterdir())


def test_no_url_is_fetched_unless_it_is_allowed(running: Any, site: str) -> None:
    assert code_of(ask(running, f"{site}/clip.mp4")) == (403, "urls_refused")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "127.1", "0x7f.1"],  # noqa: S104
)
def test_the_local_network_is_not_reached(public: Any, site: str, host: str) -> None:
    port = site.rpartition(":")[2]
    status, code = code_of(ask(public, f"http://{host}:{port}/clip.mp4"))
    assert (status, code) in ((403, "local_address"), (422, "unreachable"), (422, "invalid_url"))


def test_what_is_connected_to_is_the_address_that_was_checked(
    public: Any, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to a public address first, and to loopback ever after."""
    resolve, asked, connected = socket.getaddrinfo, [], []
    port = int(site.rpartition(":")[2])

    def rebinding(host: Any, *further: Any, **options: Any) -> Any:
        if host not in (b"rebinding.example", "rebinding.example"):
            return resolve(host, *further, **options)
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async def connect(_: Any, host: str, *__: Any, **___: Any) -> Any:
        connected.append(host)
        raise ConnectError(f"nobody answers at {host}")

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(AnyIOBackend, "connect_tcp", connect)
    assert code_of(ask(public, f"http://rebinding.example:{port}/clip.mp4")) == (422, "unreachable")
    assert connected == ["93.184.216.34"]
    assert code_of(ask(public, f"http://rebinding.example:{port}/clip.mp4")) == (403, "local_address")
    assert connected == ["93.184.216.34"]


def test_a_redirect_into_the_local_network_is_not_followed(
    public: Any, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = url_fetch.is_public
    monkeypatch.setattr(url_fetch, "is_public", lambda address: address == "127.0.0.1" or plain(address))
    assert ask(public, f"{site}/to?{site}/clip.mp4").status_code == 200
    reply = ask(public, f"{site}/to?http://127.0.0.2{site.removeprefix('http://127.0.0.1')}/clip.mp4")
    assert code_of(reply) == (403, "local_address")
    for other in (
        "file:///etc/passwd",
        "ftp://example.org/a",
        "//",
        "gopher://127.0.0.1/",
        "s3://b/a.mp4",
        "http://[",
        "http://[::zz]/",
    ):
        assert code_of(ask(public, f"{site}/to?{other}"))[0] == 422


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/large", 413, "too_large"),
        ("/empty", 422, "empty"),
        ("/missing", 422, "unreachable"),
        ("/to?/to?/to", 422, "unreachable"),
    ],
)
def test_what_cannot_be_fetched_is_said(local: Any, site: str, path: str, status: int, code: str) -> None:
    assert code_of(ask(local, site + path)) == (status, code)
    assert not list((local.jobs / "uploads").iterdir())


def test_a_server_that_is_not_there_is_said(local: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert code_of(ask(local, f"http://127.0.0.1:{port}/a.mp4")) == (422, "unreachable")
    assert code_of(ask(local, "http://no-such-host.invalid/a.mp4")) == (422, "unreachable")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "ftp://example.org/a.mp4",
        "s3://bucket/a.mp4",
        "hf://datasets/a/b/c.mp4",
        "http://",
        "http://user:secret@example.org/a.mp4",
        "http://[::1/a.mp4",
        "http://a:99999999/",
        "https://" + "a" * 300 + ".example/",
        "http://\ud83d/".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
        "data:video/mp4;base64,AAAA",
        "",
    ],
)
def test_what_is_no_web_address_is_refused(local: Any, url: str) -> None:
    assert ask(local, url).status_code == 422


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"url": 3}', b'{"uri": "x"}', b'{"url": "' + b"x" * 5000 + b'"}'])
def test_json_that_names_no_url_is_refused(local: Any, body: bytes) -> None:
    reply = httpx.post(f"{local.url}/predict", content=body, headers={"Content-Type": "application/json"})
    assert code_of(reply) == (400, "invalid")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("::127.0.0.1", False),
    ],
)
def test_only_addresses_of_the_public_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "address",
    ["fec0::1", "feff::1", "192.0.0.9", "192.0.0.10", "192.88.99.1", "3fff::1", "3fff:fff::1", "::ffff:192.0.0.9",
     "2001:1::1", "5f00::1", "100.64.0.1", "198.18.0.1"],
)  # fmt: skip
def test_addresses_on_which_versions_of_python_differ_are_not_public(address: str) -> None:
    assert not is_public(address)
