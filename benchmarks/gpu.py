"""What a GPU brings, and whether it says the same: encoding, a whole training of a head, and networks on frames.

The CPU of the same machine is measured beside it, with all of its cores.
"""

from __future__ import annotations

import json
import statistics
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import torch

from marey import commands
from marey.encoders import Encoder, EncoderSpec, load_encoder
from marey.evaluation import read_predictions
from measure import Line, Setting, cache_in, seconds

_NETWORKS: Final = ("efficientnet-lite0", "resnet50")
_FRAMES: Final = 512
_ACTORS: Final = 12
_EPOCHS: Final = 3  # of a network on frames
_NETWORK: Final = "lrcn-small"

Device = Literal["cpu", "cuda"]


def measure(setting: Setting) -> list[Line]:
    """Measure frames a second, a cold training with the default recipe, and seconds an epoch of a network on frames."""
    if not torch.cuda.is_available():
        setting.left_out["gpu"] = "there is no GPU that PyTorch sees"
        return []
    lines = []
    with cache_in(setting.work / "engines"):
        for name in _NETWORKS:
            lines += _encoding(name, max(5, setting.repeat))
    clips = setting.work / "clips"
    commands.data.make(clips, actors=_ACTORS, scenarios="d1")
    lines += _training_of_a_head(clips, setting.work)
    return lines + _training_of_a_network(clips, setting.work)


def _encoding(name: str, repeat: int) -> list[Line]:
    """Frames a second on both devices, and how far the features of the GPU are from those of the CPU."""
    encoders: dict[str, Encoder] = {}
    for device in ("cpu", "cuda"):
        for precision in ("float32", "bfloat16"):
            spec = EncoderSpec(name=name, weights="random", precision=precision)
            encoders[f"{device}, {precision}"] = load_encoder(spec, device=device, engine="auto")
    reference = encoders["cpu, float32"]
    frames = torch.randint(0, 256, (1, _FRAMES, 3, *reference.size), dtype=torch.uint8)
    few = frames[:, :32]
    features = reference.encode_clips(few)
    lines = []
    rates: dict[str, tuple[float, ...]] = {}
    for way, encoder in encoders.items():
        shown = frames if way.startswith("cuda") else few
        found = encoder.encode_clips(shown)[:, : few.shape[1]]
        times = [seconds(partial(encoder.encode_clips, shown)) for _ in range(repeat)]
        rates[way] = tuple(shown.shape[1] / each for each in times)
        error = float((found - features).abs().max() / features.std())
        lines.append(Line(f"{name}, {way}", rates[way], "frames/s", note=f"engine {encoder.engine}"))
        lines.append(Line(f"{name}, {way}, largest difference from the CPU", (error,), "of a deviation"))
    best = statistics.median(rates["cpu, float32"])
    return [*lines, Line(f"gpu_{name}", tuple(rate / best for rate in rates["cuda, float32"]), "x")]


def _training_of_a_head(clips: Path, work: Path) -> list[Line]:
    """Time a cold training by four folds on each device, and compare their probabilities."""
    lines, times, said = [], {}, {}
    for device in ("cpu", "cuda"):
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
    differ = (said["cpu"] - said["cuda"]).abs().max()
    same = (said["cpu"].argmax(1) == said["cuda"].argmax(1)).double().mean()
    lines.append(Line("train, largest difference of a probability", (float(differ),), ""))
    lines.append(Line("train, clips with the same label", (float(same),), ""))
    return [*lines, Line("gpu_train", (times["cpu"] / times["cuda"],), "x")]


def _training_of_a_network(clips: Path, work: Path) -> list[Line]:
    """Seconds of a few epochs on decoded clips, in the cache already, on the CPU and in both precisions on the GPU."""
    lines, times = [], {}
    changes = [f"training.epochs={_EPOCHS}", "training.retrain=none"]
    ways: tuple[tuple[Device, str], ...] = (("cpu", "float32"), ("cuda", "float32"), ("cuda", "bfloat16"))
    with cache_in(work / "cache-network"):
        for device, precision in (("cpu", "float32"), *ways):  # the first one fills the cache
            out = work / f"network-{device}-{precision}"
            _train(clips, out, device, recipe=_NETWORK, set=[*changes, f"training.precision={precision}"])
            run = json.loads((out / "run.json").read_text(encoding="utf-8"))
            times[device, precision] = run["times"]["training"]
    for (device, precision), taken in times.items():
        lines.append(Line(f"{_NETWORK}, {_EPOCHS} epochs, {device}, {precision}", (taken,)))
    return [*lines, Line("gpu_network", (times["cpu", "float32"] / times["cuda", "float32"],), "x")]


def _train(clips: Path, out: Path, device: str, **options: Any) -> None:
    commands.train(str(clips), out=out, device=device, if_exists="restart", **options)
