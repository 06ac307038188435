"""Streamlit's server in a child process, with our theme: `python -m marey.app.server OPTIONS`."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from types import TracebackType
from typing import Final

from filelock import FileLock, Timeout

from marey.app.jobs import call_at_parent_exit
from marey.app.settings import Settings
from marey.app.theme import THEME
from marey.errors import UsageError
from marey.extras import install_command

MAX_UPLOAD: Final = 1024  # MB; Streamlit holds uploads in memory
_START_TIMEOUT: Final = 60.0  # s
_PORTS: Final = 20  # to try

_OPTIONS: Final = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": str(MAX_UPLOAD),
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "runner.magicEnabled": "false",
    "logger.level": "warning",
}


def is_local(host: str) -> bool:
    """Return True if only this machine can reach a network address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def claimed_port(host: str, first: int) -> Iterator[int]:
    """Reserve the first free port from `first` on while the `with` lasts.

    Streamlit listens seconds after its start: without the reservation, two servers that start together would find the
    same port free, and the second would take the answer of the first for its own.

    Raises:
        UsageError: no port is free, or the host is not an address of this machine.
    """
    for port in range(first, min(first + _PORTS, 65_536)):
        with ExitStack() as held:
            try:
                held.enter_context(FileLock(Path(gettempdir()) / f"marey-{_user()}-{port}.lock", timeout=0))
            except Timeout:
                continue
            except OSError:
                pass  # without a lock file, the port itself decides
            if _is_free(host, port):
                yield port
                return
    raise UsageError(f"no port from {first} to {first + _PORTS - 1} is free on {host}; name another with --port")


def _user() -> str:
    """Return a name of the user: other users may not open their lock files."""
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise UsageError(f"'{host}' is not an address of this machine: {error.strerror}") from error
        except OverflowError as error:
            raise UsageError(f"{port} is not a port") from error
        except OSError:
            return False
        return True


class Server:
    """Server of the page while a `with` lasts.

    Args:
        settings: of the app.
        host: network address to listen on.
        port: port to listen on.

    Raises:
        UsageError: Streamlit is not installed.
    """

    def __init__(self, settings: Settings, *, host: str, port: int) -> None:
        if find_spec("streamlit") is None:
            raise UsageError(f"the app needs Streamlit, which is not installed: {install_command('app')}")
        shown = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1", "::1") else host  # noqa: S104 - only compared
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
        options = {
            **_OPTIONS,
            **THEME,
            "server.address": host,
            "server.port": str(port),
            "browser.serverAddress": shown,
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        if settings.local:  # against DNS rebinding by other sites
            arguments += [f"--server.allowedHosts={name}" for name in ("localhost", host)]
        self._command = [sys.executable, "-m", "marey.app.server", *arguments]
        self._environment = {**os.environ, **settings.to_environment()}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(  # noqa: S603 - this module, in the same Python
            self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        try:
            self._await_start(self._process)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def wait(self) -> int:
        """Wait until the server ends; return its exit status."""
        return self._process.wait() if self._process is not None else 0

    def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise UsageError(f"Streamlit's server ended with status {process.returncode}; see its message above")
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):  # noqa: S310 - http, ours
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise UsageError(f"Streamlit's server does not answer at {self.url} within {_START_TIMEOUT:g} s")

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Run Streamlit with the options of the command line."""
    from streamlit.web import cli

    call_at_parent_exit(lambda: os.kill(os.getpid(), signal.SIGTERM))
    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("home.py")), *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
