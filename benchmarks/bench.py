"""Measure marey against its targets: `python benchmarks/bench.py [--only NAME] [--data DIR] [--repeat N]`.

Prints a table and writes benchmarks/results/<date>.json: the machine, each figure with its runs, and under `ratios`,
name to value (the median), target, holds and spread ((largest - smallest) / median).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from rich.table import Table

import memory
import service
import startup
import training
from measure import Line, Setting, machine
from samples import find_clips

BENCHMARKS: Final[dict[str, Callable[[Setting], list[Line]]]] = {
    "import": startup.measure,
    "memory_length": memory.measure_length,
    "memory_1080p": memory.measure_hd,
    "memory_clips": memory.measure_clips,
    "train": training.measure,
    "service": service.measure,
}
PART_OF: Final = dict.fromkeys(training.RATIOS, "train") | dict.fromkeys(service.RATIOS, "service")  # together
REPEAT: Final = 3
REPEAT_COLD: Final = 1  # a cold run takes a minute, and there are several in one measurement
RESULTS: Final = Path(__file__).with_name("results")


def main() -> None:
    """Run what was asked for; print it and write it down."""
    parser = argparse.ArgumentParser(description="Measure marey against its targets.")
    parser.add_argument(
        "--only", choices=(*BENCHMARKS, *PART_OF), metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of class folders (UT-Interaction set 1)")
    parser.add_argument(
        "--repeat",
        type=_count,
        metavar="N",
        help=f"runs of each measurement (by default {REPEAT}, and {REPEAT_COLD} of those over the whole data set)",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="where the results are written")
    asked = parser.parse_args()
    repeat, repeat_cold = asked.repeat or REPEAT, asked.repeat or REPEAT_COLD
    names = [PART_OF.get(asked.only, asked.only)] if asked.only else list(BENCHMARKS)

    console = Console()
    began, about = datetime.now(UTC), machine()
    lines: list[Line] = []
    with TemporaryDirectory(prefix="marey-bench-") as folder:
        data, described = find_clips(asked.data, Path(folder))
        console.print(f"{about['cpu']}, {about['cores']} cores, {about['threads']} threads; {described}")
        for name in names:
            started = time.monotonic()
            lines += BENCHMARKS[name](Setting(data, Path(folder), repeat, repeat_cold))
            console.print(f"{name}: measured in {time.monotonic() - started:.0f} s")
    console.print(_table(lines))
    stem = f"{began:%Y-%m-%d}" + (f"-{asked.only}" if asked.only else "")
    path = asked.out / f"{stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"began": began.isoformat(timespec="seconds"), "machine": about, "data": described}
    path.write_text(json.dumps({**facts, **_figures(lines)}, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {path}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs, which is 1 or more")
    return int(text)


def _figures(lines: Sequence[Line]) -> dict[str, Any]:
    ratios = {
        line.name: {"value": line.value, "target": line.target, "holds": line.holds, "spread": line.spread}
        for line in lines
        if line.target is not None
    }
    figures = {
        line.name: {"unit": line.unit, "median": line.value, "spread": line.spread, "runs": line.runs} for line in lines
    }
    return {"ratios": ratios, "figures": figures}


def _table(lines: Sequence[Line]) -> Table:
    table = Table("figure", "median", "unit", "spread", "runs", "target", "")
    for line in lines:
        target, verdict = "", ""
        if line.target is not None:
            target = f"{'>=' if line.at_most is None else '<='} {line.target:g}"
            verdict = "[green]holds[/]" if line.holds else "[red]missed[/]"
        spread = "" if line.spread is None else f"{line.spread:.0%}"
        table.add_row(line.name, f"{line.value:.3f}", line.unit, spread, str(len(line.runs)), target, verdict)
    return table


if __name__ == "__main__":
    main()
