from __future__ import annotations

import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from marey.app import app, theme
from marey.app.server import Server, claimed_port, is_local
from marey.app.settings import Settings
from marey.commands.registry import read_docstring
from marey.errors import UsageError
from marey.extras import install_command
from waiting import PATIENCE, wait_until


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("192.168.1.5", False),
        ("lab", False),
    ],
)
def test_only_loopback_hosts_are_local(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_a_taken_port_is_skipped() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with claimed_port("127.0.0.1", port) as found:
            assert found > port


def test_two_servers_that_start_together_get_different_ports() -> None:
    with claimed_port("127.0.0.1", 8900) as one, claimed_port("127.0.0.1", 8900) as other:
        assert one < other  # though nobody listens yet
    with claimed_port("127.0.0.1", one) as again:
        assert again == one


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 8501), ("127.0.0.1", 70_000), ("127.0.0.1", -1)])
def test_an_impossible_host_or_port_is_refused(host: str, port: int) -> None:
    with pytest.raises(UsageError), claimed_port(host, port):
        pass


def test_settings_reach_the_server_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(tmp_path / "ä models", tmp_path / "data", local=False)
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.from_environment() == settings


def test_the_server_without_streamlit_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marey.app.server.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=re.escape(install_command("app"))):
        Server(Settings(tmp_path, tmp_path, local=True), host="127.0.0.1", port=8501)


def test_the_command_names_wrong_arguments(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        app(tmp_path / "file")
    with pytest.raises(UsageError, match="neither 'open' nor 'none'"):
        app(tmp_path, browser="maybe")  # type: ignore[arg-type]


def test_the_command_has_a_help_text_for_each_option() -> None:
    _, helps = read_docstring(inspect.getdoc(app) or "")
    assert {"models", "data", "host", "port", "browser"} <= helps.keys()


def test_the_style_sheet_loads_nothing_from_the_network() -> None:
    assert "url(" not in theme.CSS
    assert "@import" not in theme.CSS


@pytest.mark.parametrize("local", [True, False])
def test_only_users_of_this_machine_can_name_its_files(
    local: bool, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    testing = pytest.importorskip("streamlit.testing.v1", reason="streamlit is not installed")
    for name, value in Settings(small_run, tmp_path, local=local).to_environment().items():
        monkeypatch.setenv(name, value)
    page = testing.AppTest.from_file(str(Path(theme.__file__).with_name("home.py")), default_timeout=PATIENCE).run()
    assert not page.error
    assert page.title[0].value == "Predict the action in a clip"
    assert [field.label for field in page.text_input] == (
        ["Path of a video", "URL of a video, a page or a stream"] if local else []
    )


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_server_ends_with_its_parent_process(how: signal.Signals, tmp_path: Path) -> None:
    pytest.importorskip("streamlit", reason="streamlit is not installed")
    command = [sys.executable, "-m", "marey", "app", str(tmp_path / "none"), "--data", str(tmp_path / "data")]
    process = subprocess.Popen(  # noqa: S603 - ours
        [*command, "--port", "8800", "--browser", "none"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert process.stderr is not None
    with process.stderr:
        line = next(line for line in process.stderr if "the page is at " in line)
        address = line.split("the page is at ")[1].split()[0]
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=PATIENCE) as answer:  # noqa: S310 - ours
            assert answer.status == 200
        process.send_signal(how)
        status = process.wait(PATIENCE)
    assert status == (0 if how == signal.SIGINT else -signal.SIGKILL)
    host, port = address.removeprefix("http://").split(":")

    def port_is_free() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) != 0

    wait_until(port_is_free)
