"""The CPU cores that this process may use: in a container, or under `taskset`, fewer than the machine has."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_V2 = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
_V1 = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct")


def machine_cores() -> int:
    """Return the number of cores that the machine has."""
    return os.cpu_count() or 1


def usable_cores(*, system: Path = Path("/")) -> int:
    """Return the number of cores that this process may use, at least 1.

    The affinity of the process counts, and the quota of CPU time of its control group and of all groups above it
    (`cpu.max` of version 2, `cpu.cfs_quota_us` of version 1). A quota of 1.5 cores counts as 2: all of it is used.

    Args:
        system: the folder that holds `proc` and `sys`.
    """
    return min([_affinity(), *(max(1, math.ceil(quota)) for quota in _quotas(system))])


def _affinity() -> int:
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1  # the user's PYTHON_CPU_COUNT is in it
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine_cores()


def _quotas(system: Path) -> Iterator[float]:
    """Yield the quotas in cores that hold for this process; none where there is no limit, or no control group."""
    for line in _read(system / "proc" / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0":
            places, read = _V2, _quota_v2
        elif "cpu" in controllers.split(","):
            places, read = _V1, _quota_v1
        else:
            continue
        # A container often sees its own group as the root, and is told its name outside: names that are not there
        # have no file, and the root has one.
        group = PurePosixPath(name.lstrip("/"))
        for place in places:
            for folder in dict.fromkeys((group, *group.parents)):
                quota = read(system / place / folder)
                if quota is not None:
                    yield quota


def _quota_v2(folder: Path) -> float | None:
    return _ratio(*_read(folder / "cpu.max").split())


def _quota_v1(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip())


def _ratio(quota: str = "", period: str = "") -> float | None:
    """Return quota / period; None for "max", -1, or what is no number."""
    if not (quota.isdigit() and period.isdigit()) or int(period) == 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
