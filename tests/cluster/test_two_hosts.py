"""Work on two hosts: network namespaces with a link between them, where actors, a node and the caller are killed.

The second host does not see the cache folder of the first, so its features come back through Ray.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from marey import commands
from marey.synthetic import FRAME_RATE, draw
from marey.video import write_video
from waiting import wait_until

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("own_extensions")]

PORT = 6399
CHANGES = ("encoder.name=fragile", "encoder.weights=random", "sampling.count=4")
PLUGIN = Path(__file__).with_name("fragile.py")


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


class Hosts:
    """Two hosts of a Ray cluster, of one core each.

    Attributes:
        hold: the folder in which the encoder waits.
        cache: of features, which only the first host sees.
    """

    def __init__(self, folder: Path) -> None:
        self.hold, self.cache = folder / "hold", folder / "cache"
        self.hold.mkdir()
        self.cache.mkdir()
        self.names = tuple(f"marey-{os.getpid()}-{letter}" for letter in "ab")
        self._temp = tempfile.mkdtemp(prefix="marey-")  # sockets need a short path
        self._started: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "MAREY_CACHE": str(self.cache),
            "MAREY_PLUGINS": str(PLUGIN),
            "MAREY_TEST_HOLD": str(self.hold),
            "RAY_ADDRESS": f"10.231.7.1:{PORT}",
            "RAY_AUTH_MODE": "disabled",  # nobody else is on their network
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
        }

    def start(self) -> None:
        """Make the hosts and their link, and start Ray on both."""
        first, second = self.names
        for name in self.names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", "ve0", "netns", first, "type", "veth", "peer", "name", "ve1", "netns", second)
        for number, (name, link) in enumerate(zip(self.names, ("ve0", "ve1"), strict=True), start=1):
            run("ip", "-n", name, "address", "add", f"10.231.7.{number}/24", "dev", link)
            run("ip", "-n", name, "link", "set", link, "up")
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", "--block"]
        small = ["--object-store-memory=100000000", "--disable-usage-stats"]
        head = ["--head", f"--port={PORT}", "--node-ip-address=10.231.7.1", "--include-dashboard=false"]
        self._spawn(first, [*ray, *small, *head, f"--temp-dir={self._temp}"])
        hidden = f'mount -t tmpfs none "{self.cache}" && exec "$@"'
        other = [f"--address=10.231.7.1:{PORT}", "--node-ip-address=10.231.7.2", *small[:1]]
        wait_until(lambda: self._answers(first))
        self._spawn(second, ["unshare", "--mount", "sh", "-c", hidden, "sh", *ray, *other])

    def _answers(self, name: str) -> bool:
        probe = f"import socket; socket.create_connection(('10.231.7.1', {PORT}), 1)"
        command = ["ip", "netns", "exec", name, sys.executable, "-c", probe]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603

    def _spawn(self, name: str, command: list[str]) -> None:
        environment = {key: value for key, value in self.environment.items() if key != "RAY_ADDRESS"}
        self._started.append(
            subprocess.Popen(  # noqa: S603
                ["ip", "netns", "exec", name, *command],  # noqa: S607
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def call(self, data: Path) -> subprocess.Popen[str]:
        """Start `marey extract` on the first host."""
        changes = [part for change in CHANGES for part in ("--set", change)]
        command = ["extract", str(data), "--recipe", "default-0.1", *changes, "--on", "ray", "--actors", "2", "--json"]
        return subprocess.Popen(  # noqa: S603
            ["ip", "netns", "exec", self.names[0], sys.executable, "-m", "marey", *command],  # noqa: S607
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def processes(self, name: str) -> set[int]:
        """The processes of a host."""
        listed = subprocess.run(["ip", "netns", "pids", name], check=False, capture_output=True, text=True)  # noqa: S603, S607
        return {int(line) for line in listed.stdout.split()}

    def held(self) -> set[int]:
        """The actors that wait, clips in hand."""
        waiting = {int(path.name) for path in self.hold.iterdir() if path.name.isdigit()}
        return {process for process in waiting if Path(f"/proc/{process}").exists()}

    def kill(self, program: str, name: str) -> None:
        """Kill a program of Ray on a host."""
        for process in self.processes(name):
            with suppress(OSError):
                if Path(f"/proc/{process}/comm").read_text().strip() == program:
                    os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        """End all processes of both hosts, and remove them."""
        for name in self.names:
            for process in self.processes(name):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)  # noqa: S603, S607
        for started in self._started:
            started.wait()
        shutil.rmtree(self._temp, ignore_errors=True)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    try:
        run("ip", "netns", "add", f"marey-{os.getpid()}")
        run("ip", "netns", "delete", f"marey-{os.getpid()}")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace can be made: {error}")
    made = Hosts(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "clips"
    for number in range(13):
        action = ("boxing", "walking")[number % 2]
        (root / action).mkdir(exist_ok=True, parents=True)
        frames = draw(action, actor=number % 6 + 1, duration=0.4 + 0.04 * number)  # all are different
        write_video(root / action / f"{number:02d}.mp4", frames, frame_rate=FRAME_RATE)
    return root


@pytest.fixture
def expected(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What one process makes."""
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "alone"))
    monkeypatch.setenv("MAREY_PLUGINS", str(PLUGIN))
    commands.extract(str(data), recipe="default-0.1", set=CHANGES)
    return entries(tmp_path / "alone")


def entries(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (cache / "features").rglob("*.safetensors")}


def finished(caller: subprocess.Popen[str]) -> dict[str, object]:
    out, err = caller.communicate(timeout=300)
    assert caller.returncode == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def wait_for(caller: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
    """Wait for what holds while a caller works."""

    def stopped_or_holds() -> bool:
        assert caller.poll() is None, caller.communicate()
        return holds()

    wait_until(stopped_or_holds)


def test_an_actor_and_a_node_that_die_lose_what_they_had_in_hand_alone(
    hosts: Hosts, data: Path, expected: dict[str, bytes]
) -> None:
    (hosts.hold / "hold").write_text("3")
    caller = hosts.call(data)
    wait_for(caller, lambda: len(hosts.held()) == 2)
    on_first = hosts.held() & hosts.processes(hosts.names[0])
    assert len(on_first) == 1  # one on each host
    os.kill(on_first.pop(), signal.SIGKILL)
    wait_for(caller, lambda: len(hosts.held()) == 2)  # another took its place
    hosts.kill("raylet", hosts.names[1])
    (hosts.hold / "hold").unlink()
    found = finished(caller)
    assert (found["clips"], found["failed"]) == (13, {})
    assert entries(hosts.cache) == expected


def test_a_caller_that_is_killed_loses_nothing_that_is_written_and_the_next_one_does_the_rest(
    hosts: Hosts, data: Path, expected: dict[str, bytes]
) -> None:
    (hosts.hold / "hold").write_text("3")
    caller = hosts.call(data)
    wait_for(caller, lambda: len(hosts.held()) == 2)
    wait_for(caller, lambda: len(entries(hosts.cache)) >= 4)
    caller.kill()
    caller.communicate()
    written = {path: path.stat().st_mtime_ns for path in (hosts.cache / "features").rglob("*.safetensors")}
    (hosts.hold / "hold").unlink()
    found = finished(hosts.call(data))
    assert (found["clips"], found["failed"]) == (13, {})
    assert entries(hosts.cache) == expected
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert found["images"] < 13 * 4 * 4  # type: ignore[operator]


def test_a_head_that_dies_ends_the_caller_and_loses_nothing_that_is_written(
    hosts: Hosts, data: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (hosts.hold / "hold").write_text("3")
    caller = hosts.call(data)
    wait_for(caller, lambda: len(hosts.held()) == 2)
    wait_for(caller, lambda: len(entries(hosts.cache)) >= 4)
    hosts.kill("gcs_server", hosts.names[0])
    _, err = caller.communicate(timeout=300)
    assert caller.returncode != 0
    assert "GCS" in err
    written = {path: path.stat().st_mtime_ns for path in (hosts.cache / "features").rglob("*.safetensors")}
    hosts.stop()
    (hosts.hold / "hold").unlink()
    monkeypatch.setenv("MAREY_CACHE", str(hosts.cache))
    found = commands.extract(str(data), recipe="default-0.1", set=CHANGES)
    assert (found.clips, found.failed) == (13, {})
    assert found.done_before >= 2  # of two views each
    assert entries(hosts.cache) == expected
    assert {path: path.stat().st_mtime_ns for path in written} == written
