"""Measure marey against its targets: `python benchmarks/bench.py [--only NAME] [--data DIR] [--repeat N]`.

Prints a table and writes benchmarks/results/<date>.json: the machine, each figure with its runs, what could not be
measured here and why, and under `ratios`, name to value (the median), target, holds and spread ((largest - smallest) /
median). The file is written anew after each benchmark, so that what ends half way has left its figures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from rich.table import Table

import choice
import cluster
import damage
import dark
import decoding
import diagnosis
import engines
import explain
import extraction
import few_shot
import gpu
import heads
import labels
import memory
import modes
import search
import seeds
import service
import sliding
import startup
import training
import vgg
from measure import Line, Setting, machine
from samples import find_clips

BENCHMARKS: Final[dict[str, Callable[[Setting], list[Line]]]] = {
    "import": startup.measure,
    "decode": decoding.measure,
    "engines": engines.measure,
    "labels": labels.measure,
    "sliding": sliding.measure,
    "clips": extraction.measure_clips,
    "processes": extraction.measure_processes,
    "memory_length": memory.measure_length,
    "memory_1080p": memory.measure_hd,
    "memory_clips": memory.measure_clips,
    "train": training.measure,
    "vgg": vgg.measure,
    "heads": heads.measure,
    "service": service.measure,
}
BY_NAME: Final[dict[str, Callable[[Setting], list[Line]]]] = {  # not unless they are asked for
    "choice": choice.measure,
    "cluster": cluster.measure,
    "damage": damage.measure,
    "dark": dark.measure,
    "diagnosis": diagnosis.measure,
    "explain": explain.measure,
    "few-shot": few_shot.measure_shots,
    "find": search.measure,
    "gpu": gpu.measure,
    "new-class": few_shot.measure_new_class,
    "modes": modes.measure,
    "seeds": seeds.measure,
}
PART_OF: Final = {  # ratios that are measured together
    ratio: name
    for name, ratios in (
        ("decode", decoding.RATIOS),
        ("engines", engines.RATIOS),
        ("labels", labels.RATIOS),
        ("sliding", sliding.RATIOS),
        ("clips", extraction.CLIPS_RATIOS),
        ("processes", extraction.PROCESSES_RATIOS),
        ("train", training.RATIOS),
        ("vgg", vgg.RATIOS),
        ("heads", heads.RATIOS),
        ("service", service.RATIOS),
        ("cluster", cluster.RATIOS),
        ("gpu", gpu.RATIOS),
    )
    for ratio in ratios
}
REPEAT: Final = 5
REPEAT_COLD: Final = 1  # a cold run takes a minute, and there are several in one measurement
RESULTS: Final = Path(__file__).with_name("results")


def main() -> None:
    """Run what was asked for; print it and write it down."""
    known = {**BENCHMARKS, **BY_NAME}
    parser = argparse.ArgumentParser(description="Measure marey against its targets.")
    parser.add_argument("--only", choices=(*known, *PART_OF), metavar="NAME", help=f"one of {', '.join(known)}")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of class folders (UT-Interaction set 1)")
    parser.add_argument(
        "--repeat",
        type=_count,
        metavar="N",
        help=f"runs of each measurement (by default {REPEAT}, and {REPEAT_COLD} of those over the whole data set)",
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="what gpu measures")
    parser.add_argument("--quick", action="store_true", help="gpu: the least of everything, to try the way")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="where the results are written")
    asked = parser.parse_args()
    repeat, repeat_cold = asked.repeat or REPEAT, asked.repeat or REPEAT_COLD
    names = [PART_OF.get(asked.only, asked.only)] if asked.only else list(BENCHMARKS)

    console = Console()
    began, about = datetime.now(UTC), machine()
    path = asked.out / (f"{began:%Y-%m-%d}" + (f"-{asked.only}" if asked.only else "") + ".json")
    lines: list[Line] = []
    with TemporaryDirectory(prefix="marey-bench-") as folder:
        data, described = find_clips(asked.data, Path(folder))
        setting = Setting(data, Path(folder), repeat, repeat_cold, asked.device, asked.quick)
        facts = {"began": began.isoformat(timespec="seconds"), "machine": about, "data": described}
        console.print(f"{about['cpu']}, {about['cores']} cores, {about['threads']} threads; {described}")
        for name in names:
            started = time.monotonic()
            lines += known[name](setting)
            console.print(f"{name}: measured in {time.monotonic() - started:.0f} s")
            _write(path, {**facts, **figures(lines, setting.left_out)})
    console.print(_table(lines))
    for line in lines:
        if line.note:
            console.print(f"{line.name}: {line.note}", highlight=False)
    for what, why in setting.left_out.items():
        console.print(f"{what}: not measured: {why}", style="yellow", highlight=False)
    console.print(f"written to {path}")


def figures(lines: Sequence[Line], left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the results of some lines as the file keeps them.

    Args:
        lines: what was measured.
        left_out: what was not, and why.
    """
    ratios = {
        line.name: {"value": line.value, "target": line.target, "holds": line.holds, "spread": line.spread}
        for line in lines
        if line.target is not None
    }
    measured = {
        line.name: {
            "unit": line.unit,
            "median": line.value,
            "spread": line.spread,
            "runs": line.runs,
            **({"note": line.note} if line.note else {}),
        }
        for line in lines
    }
    return {"ratios": ratios, "figures": measured, "left_out": dict(left_out)}


def _write(path: Path, results: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs, which is 1 or more")
    return int(text)


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
