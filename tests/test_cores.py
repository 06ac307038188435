"""Usable cores by affinity and by the quotas of control groups."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import marey
from marey.cores import machine_cores, usable_cores

PROJECT = Path(__file__).resolve().parents[1]
linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen on Linux only")
two_cores = pytest.mark.skipif(usable_cores() < 2, reason="a quota cannot reduce one core")


def machine(root: Path, cgroup: str, **files: str) -> Path:
    """Write the files of Linux control groups into a folder: `place__file` stands for place/file."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, content in files.items():
        *folders, file = name.split("__")
        path = (root / "sys" / "fs" / "cgroup").joinpath(*folders, file.replace("_", ".", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def print_of(code: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_usable_cores_without_a_quota_are_those_of_the_affinity(tmp_path: Path) -> None:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine_cores()
    assert usable_cores(system=tmp_path) == allowed
    unlimited = machine(tmp_path / "v2", "0::/a\n", a__cpu_max="max 100000\n")
    assert usable_cores(system=unlimited) == allowed
    unlimited = machine(tmp_path / "v1", "1:cpu,cpuacct:/\n", cpu__cpu_cfs_quota_us="-1\n")
    assert usable_cores(system=unlimited) == allowed


@two_cores
@pytest.mark.parametrize("quota", ["100000 100000", "5000 100000", "50000 50000"])
def test_a_quota_of_one_core_or_less_leaves_one(tmp_path: Path, quota: str) -> None:
    assert usable_cores(system=machine(tmp_path, "0::/a/b\n", a__b__cpu_max=quota)) == 1


@two_cores
def test_a_quota_between_one_and_two_cores_is_rounded_up(tmp_path: Path) -> None:
    assert usable_cores(system=machine(tmp_path, "0::/\n", cpu_max="150000 100000\n")) == 2


@two_cores
def test_a_quota_of_a_parent_group_applies(tmp_path: Path) -> None:
    above = machine(tmp_path, "0::/a/b\n", a__b__cpu_max="max 100000\n", a__cpu_max="100000 100000\n")
    assert usable_cores(system=above) == 1


@two_cores
def test_a_container_that_reads_its_outer_name_uses_its_own_root(tmp_path: Path) -> None:
    inside = machine(tmp_path, "0::/docker/0123\n", cpu_max="100000 100000\n")
    assert usable_cores(system=inside) == 1


@two_cores
@pytest.mark.parametrize("place", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_control_groups_version_1_applies(tmp_path: Path, place: str) -> None:
    root = machine(tmp_path, "12:pids:/\n4:cpu,cpuacct:/a\n0::/\n")
    group = root / "sys" / "fs" / "cgroup" / place / "a"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("100000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(system=root) == 1


@pytest.mark.parametrize("content", ["", "max", "100000", "a b", "100000 0", "\xff"])
def test_invalid_quotas_are_ignored(tmp_path: Path, content: str) -> None:
    root = machine(tmp_path, "0::/\nnothing\n")
    (root / "sys" / "fs" / "cgroup").mkdir(parents=True)
    (root / "sys" / "fs" / "cgroup" / "cpu.max").write_bytes(content.encode("latin-1"))
    assert usable_cores(system=root) == usable_cores(system=tmp_path / "none")


@pytest.mark.long
@linux
def test_affinity_applies_whenever_it_is_set() -> None:
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from marey.cores import usable_cores
from marey.service import default_layout
print(usable_cores(), default_layout("cpu").decoders)
"""
    assert print_of(code) == "1 1"


@pytest.mark.long
@linux
def test_pytorch_gets_no_more_threads_than_there_are_usable_cores() -> None:
    code = """
import os, torch
torch.get_num_threads()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from marey.encoders import EncoderSpec, load_encoder
load_encoder(EncoderSpec(name="pixels"))
print(torch.get_num_threads())
"""
    assert print_of(code) == "1"


def test_cores_are_counted_in_one_place() -> None:
    counted = re.compile(r"cpu_count|sched_getaffinity")
    for folder in (Path(marey.__file__).parent, PROJECT / "benchmarks", PROJECT / "scripts"):
        found = {path.name for path in folder.rglob("*.py") if counted.search(path.read_text(encoding="utf-8"))}
        assert found <= {"cores.py"}
