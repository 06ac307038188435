"""`marey train` beside the two limits that bound it: decoding and encoding, each alone.

A cold run has an empty cache of features, a warm one finds all of them. Runs are timed as function calls, imports
done and a first run gone before; and as commands, the way that a person has them.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

import torch

from marey.commands import train
from marey.commands.steps.prepare import pick_device
from marey.data import load_data
from marey.encoders import Contract, Encoder, FeatureCache, iterate_views, load_encoder, read_clip_views
from marey.training import Recipe, load_recipe, make_splits
from measure import Line, Setting, cache_in, run, seconds

RATIOS: Final = ("train_cold", "train_cold_folds", "train_warm", "train_warm_folds")

_PROTOCOLS: Final[dict[str, str | None]] = {"": None, "_folds": "group"}
_COLD_TARGET: Final = 1.5
_WARM_TARGET: Final = 5.0


def measure(setting: Setting) -> list[Line]:
    """Time training with an empty and a full cache, on one split and on a fold a group."""
    times: dict[str, list[float]] = defaultdict(list)
    warm_runs = max(1, setting.repeat // setting.repeat_cold)
    for number in range(setting.repeat_cold):
        work = setting.work / f"training-{number}"
        _time_commands(setting.data, work, times)
        with cache_in(work / "command"):
            train(str(setting.data), out=work / "settle")  # what only the first call of a process pays for
        limits = _time_limits(setting.data, work / "command_folds", times)
        for suffix, folds in _PROTOCOLS.items():
            limit = limits[suffix]
            with cache_in(work / f"function{suffix}"):
                cold = seconds(lambda: train(str(setting.data), out=work / f"cold{suffix}", folds=folds))  # noqa: B023
                times[f"function, cold{suffix}"].append(cold)
                times[f"train_cold{suffix}"].append(cold / limit)
                for again in range(warm_runs):
                    out = work / f"warm{suffix}-{again}"
                    warm = seconds(lambda: train(str(setting.data), out=out, folds=folds))  # noqa: B023
                    times[f"function, warm{suffix}"].append(warm)
                    times[f"head only{suffix}"].append(warm - times["cache only"][-1])
                    times[f"train_warm{suffix}"].append(cold / warm)
    return [_line(name, tuple(runs)) for name, runs in times.items()]


def _line(name: str, runs: tuple[float, ...]) -> Line:
    if name not in RATIOS:
        return Line(name, runs)
    if name.startswith("train_cold"):
        return Line(name, runs, "x", at_most=_COLD_TARGET)
    return Line(name, runs, "x", at_least=_WARM_TARGET)


def _time_commands(data: Path, work: Path, times: dict[str, list[float]]) -> None:
    """Cold and warm runs as processes of their own; the last cache stays in `work / "command"`."""
    for suffix, folds in reversed(_PROTOCOLS.items()):
        cache = work / f"command{suffix}"
        for state in ("cold", "warm"):
            command = [sys.executable, "-m", "marey", "train", str(data), "--out", str(work / f"{state}-run{suffix}")]
            if folds is not None:
                command += ["--folds", folds]
            began = time.perf_counter()
            run(command, environment={"MAREY_CACHE": str(cache)})
            times[f"command, {state}{suffix}"].append(time.perf_counter() - began)


def _time_limits(data: Path, cache: Path, times: dict[str, list[float]]) -> dict[str, float]:
    """Time decoding alone, encoding alone, and the look-up in a full cache.

    Returns:
        For each protocol the sum of the first two over the readings that it takes: clips that are only tested are
        read in one way.
    """
    recipe = load_recipe("auto")
    recipe = recipe.with_streams(recipe.selection.first)
    encoder = load_encoder(recipe.encoder, device=pick_device("auto"))
    contract = encoder.contract(sampling=recipe.sampling, streams=recipe.streams, fit=recipe.fit)
    manifest = load_data(str(data))
    views = recipe.views.readings
    decoding: list[float] = []  # of each clip once: all its readings come of it
    encoding: list[float] = []  # of one reading of each clip
    for clip in manifest.clips:
        began = time.perf_counter()
        read = read_clip_views(clip, contract, dict.fromkeys(views, tuple(contract.streams)))
        decoded = time.perf_counter()
        for pictures in read.values():
            encoder.encode_clips(torch.stack(list(pictures.values())))
        decoding.append(decoded - began)
        encoding.append((time.perf_counter() - decoded) / len(views))
    times["cache only"].append(_time_cache(data, cache, recipe, encoder, contract))
    limits = {}
    for suffix, folds in _PROTOCOLS.items():
        splits = make_splits(manifest, folds=folds, test=recipe.test, seed=recipe.seed).splits
        learnt_from = {index for split in splits for index in (*split.train, *split.val)}
        times[f"decode only{suffix}"].append(sum(decoding))
        times[f"encode only{suffix}"].append(sum(encoding) + (len(views) - 1) * sum(encoding[i] for i in learnt_from))
        limits[suffix] = times[f"decode only{suffix}"][-1] + times[f"encode only{suffix}"][-1]
    return limits


def _time_cache(data: Path, cache: Path, recipe: Recipe, encoder: Encoder, contract: Contract) -> float:
    readings = [(clip, recipe.views.readings) for clip in load_data(str(data)).clips]
    encoded = encoder.images
    began = time.perf_counter()
    list(iterate_views(readings, encoder, contract, cache=FeatureCache(cache)))
    took = time.perf_counter() - began
    if encoder.images != encoded:
        raise SystemExit(f"the cache in {cache} should be full, and {encoder.images - encoded} pictures were missing")
    return took
