"""The cluster that `--on` names, and what is said before one is looked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import CallMarey
from marey import commands
from marey.cluster import check_on
from marey.cluster.connection import connect
from marey.errors import UsageError


@pytest.mark.parametrize("on", ["spark", "ray:", "ray://", "10.0.0.1:6379"])
def test_what_names_no_cluster_is_refused(on: str) -> None:
    with pytest.raises(UsageError, match="write ray, or ray://HOST:PORT"):
        check_on(on)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"actors": 2}, "add --on ray"),
        ({"gpu_share": 0.5}, "add --on ray"),
        ({"on": "ray", "actors": 0}, "at least one has to do the work"),
        ({"on": "ray", "gpu_share": 2.0}, "from 0.05 to 1"),
        ({"on": "ray", "device": "tpu"}, "no device is called 'tpu'"),
        ({"on": "ray", "out": "features.npz"}, "name a folder"),
    ],
)
def test_options_of_a_cluster_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(UsageError, match=message):
        commands.extract("no clips", **options)  # type: ignore[call-overload]


def test_without_ray_its_installation_is_named() -> None:
    code = "import sys; sys.modules['ray'] = None\nfrom marey.cluster import check_on; check_on('ray')"
    hidden = "from importlib.machinery import PathFinder as P\nfind = P.find_spec\n"
    hidden += "P.find_spec = lambda name, *rest: None if name == 'ray' else find(name, *rest)\n"
    code = hidden + code.partition("\n")[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert "UsageError: --on ray needs Ray, which is not installed" in done.stderr
    assert "[ray]" in done.stderr


@pytest.mark.long
def test_a_cluster_that_does_not_answer_ends_without_a_traceback(
    small_set: Path, small_changes: list[str], call_marey: CallMarey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path))
    changes = [part for change in small_changes for part in ("--set", change)]
    done = call_marey("extract", small_set, "--recipe", "default-0.1", *changes, "--on", "ray://127.0.0.1:9")
    assert done.code == 3
    assert "no Ray cluster answers at ray://127.0.0.1:9" in done.err
    with connect("ray://local", cores=1) as connection:  # the same process goes on with another one
        assert connection.own
