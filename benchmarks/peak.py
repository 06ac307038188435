"""Extract a data set and print the peak of this process's memory in bytes: `python peak.py DATA`."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from marey.commands import extract


def peak_memory() -> int:
    """Bytes of resident memory at most, so far.

    On Linux `ru_maxrss` of a child begins with the size of the process that started it, so the kernel's own mark for
    this program is read there.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    extraction = extract(sys.argv[1])
    if extraction.failed or not extraction.images:
        sys.exit(f"nothing was measured: {extraction.images} pictures encoded, failed: {extraction.failed}")
    sys.stdout.write(f"{peak_memory()}\n")
