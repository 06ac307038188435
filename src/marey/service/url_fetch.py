"""Videos from URLs of callers, without access to the local network (SSRF guard)."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

import httpcore

from marey.service.problems import Problem
from marey.service.settings import Settings
from marey.service.uploads import Upload, display_name
from marey.version import __version__

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MAX_REDIRECTS: Final = 5
_TIMEOUTS: Final = {"connect": 10.0, "read": 20.0, "write": 10.0, "pool": 10.0}
# IPv6 addresses that embed an IPv4 address, and would bypass the check of that address.
_TRANSLATED: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
# What Python's `is_global` says of these depends on its version (IANA special-purpose address registries).
_NOT_PUBLIC: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
            *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("::/128", "::1/128", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7"),
            *("fe80::/10", "fec0::/10", "ff00::/8"),
        ),
    )
)


class Fetcher:
    """Fetches files over http and https.

    A host's addresses are checked and one of those is connected to, so that a name which resolves to another address
    the next time gains nothing; each redirect is checked like the first address. Proxies of the environment are not
    asked.

    Args:
        folder: where files are written.
        settings: limits, and the URLs allowed.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._tls = ssl.create_default_context()

    async def fetch(self, url: str) -> Upload:
        """Fetch the file at a URL.

        Raises:
            Problem: 403 the address is not allowed; 413 too large; 422 it cannot be fetched; 504 it takes too long.
        """
        path = self._folder / secrets.token_hex(16)
        try:
            async with asyncio.timeout(self._longest()):
                name = await self._fetch(url, path)
            return Upload(path, name)
        except TimeoutError:
            path.unlink(missing_ok=True)
            detail = f"the file did not come within {self._longest():.0f} s"
            raise Problem(504, "timeout", detail) from None
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _longest(self) -> float:
        return self._settings.upload_grace + self._settings.max_upload / self._settings.slowest_upload

    async def _fetch(self, url: str, path: Path) -> str:
        headers = [("User-Agent", f"marey/{__version__}"), ("Accept-Encoding", "identity")]
        backend = _CheckedNetwork(local=self._settings.urls == "local")
        async with httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=backend) as pool:
            for _ in range(_MAX_REDIRECTS + 1):
                checked = _checked(url)
                try:
                    async with pool.stream("GET", checked, headers=headers, extensions={"timeout": _TIMEOUTS}) as reply:
                        if reply.status not in _REDIRECTS:
                            await self._write(reply, path)
                            return display_name(urlsplit(url).path)
                        url = _followed(url, _header(reply, b"location"))
                except httpcore.TimeoutException as error:
                    raise Problem(504, "timeout", f"{_shown(url)} does not answer in time") from error
                except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
                    detail = f"{_shown(url)} cannot be fetched: {str(error) or type(error).__name__}"
                    raise Problem(422, "unreachable", detail[:500]) from error
        raise Problem(422, "unreachable", f"{_shown(url)} leads on more than {_MAX_REDIRECTS} times")

    async def _write(self, reply: httpcore.Response, path: Path) -> None:
        if reply.status != 200:
            raise Problem(422, "unreachable", f"the server answers {reply.status} where a video was expected")
        most = self._settings.max_upload
        stated = _header(reply, b"content-length")
        too_large = Problem(413, "too_large", f"the file has more than the {most / 2**20:g} MB that it may have here")
        if stated.isdecimal() and int(stated) > most:
            raise too_large
        size = 0
        with path.open("xb") as file:
            async for piece in reply.aiter_stream():
                size += len(piece)
                if size > most:
                    raise too_large
                file.write(piece)
        if size == 0:
            raise Problem(422, "empty", "the server answers with an empty file")


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects only to IP addresses of the public internet, unless others are allowed."""

    def __init__(self, *, local: bool) -> None:
        self._local = local
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await _resolve(host, port)
        if not self._local and not all(is_public(address) for address in addresses):
            raise Problem(403, "local_address", f"{host} lies in a network that this service may not reach for others")
        error: Exception | None = None
        for address in addresses:
            try:
                return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error or httpcore.ConnectError(f"{host} has no address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.UnsupportedProtocol("a socket of this machine is not a URL")

    async def sleep(self, seconds: float) -> None:
        await self._plain.sleep(seconds)


async def _resolve(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"no address is known of {host[:200]}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Return true if an IP address is public, and does not embed one that is not."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False  # with a zone, as link-local ones have
    if any(ip in network for network in _NOT_PUBLIC):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _TRANSLATED):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _checked(url: str) -> httpcore.URL:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Problem(422, "invalid_url", f"{_shown(url)} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Problem(422, "invalid_url", f"{_shown(url)} is not a URL that starts with http:// or https://")
    if parts.username or parts.password:
        raise Problem(422, "invalid_url", "a URL with a user name or a password is not fetched")
    try:
        host = parts.hostname.encode("idna") if not parts.hostname.isascii() else parts.hostname.encode()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return httpcore.URL(scheme=parts.scheme.encode(), host=host, port=port, target=_quoted(target))
    except (UnicodeError, TypeError, ValueError) as error:
        raise Problem(422, "invalid_url", f"{_shown(url)} is not a URL") from error


def _followed(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        detail = f"{_shown(url)} leads on to '{_shown(location)}', which is not a URL"
        raise Problem(422, "invalid_url", detail) from error


def _quoted(target: str) -> bytes:
    return quote(target, safe="/%:=&?~#+!$,;'@()*[]").encode()


def _header(reply: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in reply.headers if key.lower() == name), "")


def _shown(url: str) -> str:
    return "".join(letter for letter in url if letter.isprintable())[:200]
