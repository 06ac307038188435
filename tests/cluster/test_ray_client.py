"""Work over a Ray Client: a process outside the cluster that reaches it by one port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pyarrow.parquet import read_table

from waiting import wait_until

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = pytest.mark.long


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def address() -> Iterator[str]:
    """The Ray Client of a cluster of one node of two cores, on this machine."""
    folder = tempfile.mkdtemp(prefix="marey-")  # sockets need a short path
    port = free_port()
    options = ["--head", f"--port={free_port()}", f"--ray-client-server-port={port}", "--node-ip-address=127.0.0.1"]
    options += ["--min-worker-port=0", "--max-worker-port=0", "--include-dashboard=false", f"--temp-dir={folder}"]
    options += ["--num-cpus=2", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
    node = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "ray.scripts.scripts", "start", *options],
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},  # it listens on the loopback address alone
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: answers(port))
        yield f"ray://127.0.0.1:{port}"
    finally:
        node.terminate()
        node.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_ray_client_gives_the_features_and_predictions_of_one_process(
    address: str, small_set: Path, small_run: Path, small_changes: list[str], tmp_path: Path
) -> None:
    changes = [part for change in small_changes for part in ("--set", change)]

    def marey(*command: str | Path, cache: str) -> None:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "marey", *map(str, command)],
            env={**os.environ, "MAREY_CACHE": str(tmp_path / cache), "RAY_AUTH_MODE": "disabled"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "ray" not in done.stderr.lower(), done.stderr  # it keeps its remarks to itself

    def entries(cache: str) -> dict[str, bytes]:
        found = (tmp_path / cache / "features").rglob("*.safetensors")
        return {path.name: path.read_bytes() for path in found}

    extract: list[str | Path] = ["extract", small_set, "--recipe", "default-0.1", *changes]
    marey(*extract, cache="here")
    marey(*extract, "--on", address, cache="there")
    assert entries("here")
    assert entries("there") == entries("here")
    predict: list[str | Path] = ["predict", small_run, small_set, "--out"]
    marey(*predict, tmp_path / "here.parquet", cache="here")
    marey(*predict, tmp_path / "there.parquet", "--on", address, cache="there")
    assert read_table(tmp_path / "there.parquet") == read_table(tmp_path / "here.parquet")
