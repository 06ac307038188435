"""What bfloat16, int8 and keyframes cost in accuracy, on UT-Interaction set 1 and on the embedded set: many minutes.

It is run by name only: `python benchmarks/bench.py --only modes`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from marey.commands import train
from marey.commands.quantize import quantize
from marey.encoders import load_encoder
from marey.errors import UsageError
from marey.synthetic import make
from marey.training import load_recipe
from measure import Line, Setting, cache_in

_LONGEST: Final = 3600.0  # s: what would take longer is left out
_MODES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "float32": ("auto", ()),
    "bfloat16": ("auto", ("encoder.precision=bfloat16",)),
    "single frames, exact": ("frame-average", ()),
    "single frames, keyframes": ("frame-average", ("sampling.frames=keyframes",)),
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """A data set, and how it is split.

    Attributes:
        name: in the table.
        data: a folder or a manifest.
        folds: as `marey train` takes them.
        clips: how many.
    """

    name: str
    data: Path
    folds: str | None
    clips: int


def measure(setting: Setting) -> list[Line]:
    """Train and test once in each mode, seed 0; what differs from float32 stands beside it."""
    embedded = setting.work / "embedded"
    made = make(embedded)
    protocols = (
        Protocol(setting.data.name, setting.data, "group", sum(1 for _ in setting.data.glob("*/*.*"))),
        Protocol("embedded", embedded / "manifest.csv", None, len(made.clips)),
    )
    with cache_in(setting.work / "modes"):
        return [line for protocol in protocols for line in _measure(protocol, setting)]


def _measure(protocol: Protocol, setting: Setting) -> list[Line]:
    lines = []
    runs = setting.work / "runs" / protocol.name
    for mode, (recipe, changes) in _MODES.items():
        name = f"accuracy, {protocol.name}, {mode}"
        expected = _expected_seconds(recipe, changes, protocol.clips)
        if expected > _LONGEST:
            setting.left_out[name] = f"encoding would take {expected / 60:.0f} minutes on this machine"
            continue
        began = time.monotonic()
        metrics = train(
            str(protocol.data), recipe=recipe, out=runs / mode, folds=protocol.folds, set=list(changes)
        ).metrics
        low, high = metrics.interval.accuracy or (0.0, 1.0)
        took = (time.monotonic() - began) / 60
        note = f"95 % interval [{low:.3f}, {high:.3f}], macro-F1 {metrics.macro_f1:.3f}, {took:.1f} minutes"
        lines.append(Line(name, (metrics.accuracy,), "", note=note))
    return [*lines, *_measure_int8(runs / "float32", protocol, setting)]


def _measure_int8(run: Path, protocol: Protocol, setting: Setting) -> list[Line]:
    """Measure the run in float32 with its encoder in int8, each fold calibrated on its own training clips."""
    name = f"accuracy, {protocol.name}, int8"
    try:
        found = quantize(run, str(protocol.data), out=run.with_name("int8"))
    except UsageError as error:
        setting.left_out[name] = str(error)
        return []
    speed = found.int8.clips_per_second / found.float32.clips_per_second
    note = (
        f"{found.difference:+.3f} to float32 on the same {found.clips} clips, {found.changed} with another label; "
        f"{speed:.2f} times the clips a second, {found.int8.megabytes:.1f} MB for {found.float32.megabytes:.1f}"
    )
    return [Line(name, (found.int8.accuracy,), "", note=note)]


def _expected_seconds(recipe: str, changes: tuple[str, ...], clips: int) -> float:
    """How long the encoder will take, from one clip."""
    chosen = load_recipe(recipe, changes=changes)
    encoder = load_encoder(chosen.encoder, frames=chosen.sampling.count)
    pictures = torch.zeros(1, chosen.sampling.count, 3, *encoder.size, dtype=torch.uint8)
    encoder.encode_clips(pictures)
    began = time.perf_counter()
    encoder.encode_clips(pictures)
    return (time.perf_counter() - began) * clips * len(chosen.streams) * len(chosen.views.readings)
