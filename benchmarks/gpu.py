"""What a GPU brings, and whether it says the same: features, speed beside the roofline, files to labels, training.

The CPU of the same machine is measured beside it, with all of its cores. It needs what marey needs, timm and
torchvision; nothing is downloaded, all weights are random. On an H100 with 16 cores it is made for 8 minutes.
`bench.py --only gpu --device cpu --quick` goes the same way on a CPU, in small, and proves no more than that it runs.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

import gpu_files
import gpu_networks
from marey import commands
from marey.commands.steps.predictions import Predictions
from marey.encoders import Encoder, EncoderSpec, load_encoder
from marey.evaluation import read_predictions
from measure import Line, Setting, cache_in, seconds

_NETWORKS: Final = ("efficientnet-lite0", "resnet50")
_FRAMES: Final = 512
_ACTORS: Final = 12
_EPOCHS: Final = 3  # of a network on frames
_TRAINED: Final = {"lrcn-small": (), "c3d-lstm-gru": (), "mvit-v2-s": ("head.weights=random",)}
_ALONE: Final = "cpu"
_AGREEMENT: Final = 1e-3  # of a probability, of one model on two devices
RATIOS: Final = (*gpu_networks.RATIOS, *gpu_files.RATIOS, "gpu_agreement")


def measure(setting: Setting) -> list[Line]:
    """Measure features, networks, files to labels, and trainings of a head and of networks on frames."""
    if setting.device == "cuda" and not torch.cuda.is_available():
        setting.left_out["gpu"] = "there is no GPU that PyTorch sees; --device cpu --quick tries the same on the CPU"
        return []
    devices = tuple(dict.fromkeys((_ALONE, setting.device)))
    lines = []
    with cache_in(setting.work / "engines"):
        for name in _NETWORKS:
            lines += _encoding(name, devices, setting)
        lines += gpu_networks.measure_networks(setting)
        lines += gpu_files.measure_files(setting)
    clips = setting.work / "clips"
    commands.data.make(clips, actors=4 if setting.quick else _ACTORS, scenarios="d1")
    lines += _training_of_a_head(clips, devices, setting.work)
    for recipe, changes in _TRAINED.items():
        if not (setting.quick and changes):
            lines += _training_of_a_network(clips, recipe, changes, setting)
    return lines


def _encoding(name: str, devices: Sequence[str], setting: Setting) -> list[Line]:
    """Frames a second on the devices, and how far the features of each are from those of the CPU."""
    encoders: dict[str, Encoder] = {}
    for device in devices:
        for precision in ("float32", "bfloat16"):
            spec = EncoderSpec(name=name, weights="random", precision=precision)
            encoders[f"{device}, {precision}"] = load_encoder(spec, device=device, engine="auto")
    reference = encoders["cpu, float32"]
    frames = torch.randint(0, 256, (1, 64 if setting.quick else _FRAMES, 3, *reference.size), dtype=torch.uint8)
    few = frames[:, :32]
    features = reference.encode_clips(few)
    lines = []
    rates: dict[str, tuple[float, ...]] = {}
    for way, encoder in encoders.items():
        shown = frames if way.startswith("cuda") else few
        found = encoder.encode_clips(shown)[:, : few.shape[1]]
        times = [seconds(partial(encoder.encode_clips, shown)) for _ in range(setting.repeat)]
        rates[way] = tuple(shown.shape[1] / each for each in times)
        error = float((found - features).abs().max() / features.std())
        lines.append(Line(f"{name}, {way}", rates[way], "frames/s", note=f"engine {encoder.engine}"))
        lines.append(Line(f"{name}, {way}, largest difference from the CPU", (error,), "of a deviation"))
    best = statistics.median(rates["cpu, float32"])
    return [*lines, Line(f"gpu_{name}", tuple(rate / best for rate in rates[f"{devices[-1]}, float32"]), "x")]


def _training_of_a_head(clips: Path, devices: Sequence[str], work: Path) -> list[Line]:
    """Time a cold training by four folds on each device; compare their answers, and those of each model on both."""
    lines, times, said = [], {}, {}
    for device in devices:
        with cache_in(work / f"cache-{device}"):
            out = work / f"head-{device}"
            times[device] = seconds(partial(_train, clips, out, device, folds="4"))
        parts = json.loads((out / "run.json").read_text(encoding="utf-8"))["times"]
        accuracy = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["accuracy"]
        note = f"accuracy {accuracy:.3f}"
        lines.append(Line(f"train, default recipe, {device}", (times[device],), note=note))
        lines += [Line(f"train, default recipe, {device}, {part}", (parts[part],)) for part in ("reading", "training")]
        _, rows = read_predictions(out / "predictions.csv")
        said[device] = torch.tensor([row.probabilities for row in rows], dtype=torch.float64)
    one, other = said[devices[0]], said[devices[-1]]
    same = (one.argmax(1) == other.argmax(1)).double().mean()
    lines.append(Line("train, largest difference of a probability", (float((one - other).abs().max()),), ""))
    lines.append(Line("train, clips with the same label", (float(same),), ""))
    for device in devices:  # a model that was trained on it
        answers = [_answers(work / f"head-{device}", clips, where, work) for where in devices]
        apart = float((answers[0] - answers[-1]).abs().max())
        name = "gpu_agreement" if device == devices[-1] else f"agreement of the model of {device}"
        lines.append(Line(name, (apart,), "", at_most=_AGREEMENT, note="largest difference of a probability"))
    return [*lines, Line("gpu_train", (times[devices[0]] / times[devices[-1]],), "x")]


def _answers(run: Path, clips: Path, device: str, work: Path) -> Tensor:
    """Return the probabilities of a model for all clips, encoded on a device."""
    with cache_in(work / f"answers-{device}"):
        found = commands.predict(str(run), str(clips), device=device)
    if not isinstance(found, Predictions):
        raise SystemExit(f"no predictions of clips: {found}")
    rows = [
        [value for _, value in sorted(zip(each.labels, each.probabilities, strict=True))] for each in found.predictions
    ]
    return torch.tensor(rows, dtype=torch.float64)


def _training_of_a_network(clips: Path, recipe: str, changes: Sequence[str], setting: Setting) -> list[Line]:
    """Seconds of a few epochs on decoded clips, in the cache already, on the CPU and in both precisions on the GPU."""
    times: dict[tuple[str, str], float] = {}
    epochs = 1 if setting.quick or changes else _EPOCHS
    every = [f"training.epochs={epochs}", "training.min_steps=0", "training.retrain=none", *changes]
    ways = [(_ALONE, "float32"), (setting.device, "float32"), (setting.device, "bfloat16")]
    if changes:  # minutes an epoch on a CPU
        ways = ways[1:]
    with cache_in(setting.work / "cache-network"):
        for device, precision in (ways[-1], *dict.fromkeys(ways)):  # the first one fills the cache
            out = setting.work / f"{recipe}-{device}-{precision}"
            _train(clips, out, device, recipe=recipe, set=[*every, f"training.precision={precision}"])
            run = json.loads((out / "run.json").read_text(encoding="utf-8"))
            times[device, precision] = run["times"]["training"]
    lines = [
        Line(f"{recipe}, {epochs} epochs, {device}, {precision}", (took,))
        for (device, precision), took in times.items()
    ]
    faster = times[ways[0]] / times[ways[-1]]
    return [*lines, Line(f"gpu_{recipe}", (faster,), "x", note=f"{', '.join(ways[0])} : {', '.join(ways[-1])}")]


def _train(clips: Path, out: Path, device: str, **options: Any) -> None:
    commands.train(str(clips), out=out, device=device, if_exists="restart", **options)
