"""Streamlit's server, in a process of its own: started with our look, and ended with whoever started it.

The process runs `python -m marey.app.server OPTIONS`.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
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

from marey.app.look import THEME
from marey.app.settings import Settings
from marey.errors import UsageError
from marey.extras import install_command

MAX_UPLOAD: Final = 1024  # MB; Streamlit holds uploads in memory
_PATIENCE: Final = 60.0  # s until the server has to answer
_TRIED: Final = 20  # ports

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
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def claimed_port(host: str, first: int) -> Iterator[int]:
    """The first port from `first` on that nobody listens on or is about to; nobody takes it while the `with` lasts.

    Streamlit listens seconds after it was started. Of two pages started at once, both would find a port free, and the
    second would take the first one's answer for its own.

    Raises:
        UsageError: there is none, or the host is not one of this machine.
    """
    for port in range(first, min(first + _TRIED, 65_536)):
        with ExitStack() as held:
            try:
                held.enter_context(FileLock(Path(gettempdir()) / f"marey-{_user()}-{port}.lock", timeout=0))
            except Timeout:
                continue
            except OSError:
                pass  # where no claim can be made, the port itself has to tell
            if _is_free(host, port):
                yield port
                return
    raise UsageError(f"no port from {first} to {first + _TRIED - 1} can be had on {host}; name another with --port")


def _user() -> str:
    """A name for whoever runs this: others may not open the claims of one."""
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise UsageError(f"'{host}' is no address of this machine: {error.strerror}") from error
        except OverflowError as error:
            raise UsageError(f"{port} is no port") from error
        except OSError:
            return False
        return True


class Server:
    """The page's server while a `with` lasts.

    Args:
        settings: of the page.
        host: address to listen on.
        port: likewise.

    Raises:
        UsageError: Streamlit is not installed.
    """

    def __init__(self, settings: Settings, *, host: str, port: int) -> None:
        if find_spec("streamlit") is None:
            raise UsageError(f"the page needs Streamlit, which is not installed: {install_command('app')}")
        shown = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1", "::1") else host  # noqa: S104 - only compared
        self.address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
        options = {
            **_OPTIONS,
            **THEME,
            "server.address": host,
            "server.port": str(port),
            "browser.serverAddress": shown,
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        if settings.local:  # another site that takes a name for this address must not get in (DNS rebinding)
            arguments += [f"--server.allowedHosts={name}" for name in ("localhost", host)]
        self._command = [sys.executable, "-m", "marey.app.server", *arguments]
        self._environment = {**os.environ, **settings.to_environment()}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(  # noqa: S603 - this module, in the same Python
            self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        try:
            self._await_answer(self._process)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def wait(self) -> int:
        """Until the server ends by itself; its exit status."""
        return self._process.wait() if self._process is not None else 0

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise UsageError(f"Streamlit's server ended with status {process.returncode}; it says why above")
            try:
                with urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=2):  # noqa: S310 - http, ours
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise UsageError(f"Streamlit's server does not answer at {self.address} within {_PATIENCE:g} s")

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _end_with_parent() -> None:
    """End when whoever started the server is no more: its end of our standard input closes then."""
    while os.read(sys.stdin.fileno(), 1):  # no buffer, whose lock would be held when Python ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run Streamlit with the options of the command line."""
    from streamlit.web import cli

    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("home.py")), *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
