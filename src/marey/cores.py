"""Count CPU cores: of the machine, and those that this process may use."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_V2 = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
_V1 = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct")


def machine_cores() -> int:
    """Return the number of cores of the machine."""
    return os.cpu_count() or 1


def usable_cores(*, system: Path = Path("/")) -> int:
    """Return the number of cores that this process may use, at least 1.

    It is limited by the CPU affinity of the process, and by the CPU quotas of its control group and
    all parent groups (`cpu.max` of version 2, `cpu.cfs_quota_us` of version 1). A quota of 1.5
    cores counts as 2.

    Args:
        system: the folder with `proc` and `sys`.
    """
    return min([_affinity(), *(max(1, math.ceil(quota)) for quota in _quotas(system))])


def allowed_cores() -> tuple[int, ...]:
    """Return the numbers of the cores that this process may run on, ascending; none where the system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def _affinity() -> int:
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1  # respects PYTHON_CPU_COUNT
    return len(allowed_cores()) or machine_cores()


def _quotas(system: Path) -> Iterator[float]:
    """Yield the CPU quotas, in cores, that apply to this process."""
    for line in _read(system / "proc" / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0":
            places, read = _V2, _quota_v2
        elif "cpu" in controllers.split(","):
            places, read = _V1, _quota_v1
        else:
            continue
        # A container often sees its own group as the root, but reads the name that it has outside: such a
        # path has no file, and the root has one.
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
    """Return quota / period; None for "max", -1, or other text."""
    if not (quota.isdigit() and period.isdigit()) or int(period) == 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
