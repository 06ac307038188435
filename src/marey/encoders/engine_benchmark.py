"""Benchmark of engines: agreement with PyTorch and speed, measured once a machine and kept in the cache."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from marey.atomic import write_atomic
from marey.cores import usable_cores
from marey.data.hashing import values_hash
from marey.encoders.backbone import FrozenBackbone
from marey.encoders.cache import cache_home
from marey.encoders.engine import Engine, one_core

TOLERANCE: Final = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest allowed difference from PyTorch's float32 features, in parts of their standard deviation."""

_PACKAGES: Final = ("torch", "timm", "openvino", "onnxruntime")
_IMAGES: Final = 2  # a round
_ROUNDS: Final = 4  # the first of which warms up
_ENOUGH: Final = 3.0  # s after which no further round is begun


@dataclass(frozen=True, slots=True)
class EngineBenchmark:
    """Measurements of one engine.

    Attributes:
        rate: inputs, images or clips, a second of CPU time; 0 where it was not run.
        error: largest difference from PyTorch's float32 features, in parts of their standard deviation.
        fault: the reason why it cannot be chosen; empty where there is none.
    """

    rate: float = 0.0
    error: float = 0.0
    fault: str = ""


Benchmarks = dict[str, EngineBenchmark]
"""Measurements by the name of the engine."""


def agrees(found: EngineBenchmark, precision: str) -> bool:
    """Return True if an engine's features equal PyTorch's within `TOLERANCE`."""
    return not found.fault and found.error <= TOLERANCE[precision]


def fastest(trial: Mapping[str, EngineBenchmark], precision: str) -> str:
    """Return the name of the fastest engine among those that agree; PyTorch where there is no other."""
    rates = {name: found.rate for name, found in trial.items() if agrees(found, precision)}
    return max(rates, key=lambda name: rates[name], default="pytorch")


def benchmark_inputs(network: FrozenBackbone) -> Tensor:
    """Return inputs for the benchmark, uint8 (N, *shape): smooth random colours."""
    count = 1 if len(network.shape) == 4 else _IMAGES
    height, width = network.shape[-2:]
    generator = torch.Generator().manual_seed(0)
    spots = torch.rand(count * math.prod(network.shape[:-3]), 3, 6, 6, generator=generator) * 255
    soft = torch.nn.functional.interpolate(spots, size=(height, width), mode="bilinear")
    return soft.to(torch.uint8).view(count, *network.shape)


def measure(engines: Mapping[str, Engine], inputs: Tensor, reference: Tensor) -> Benchmarks:
    """Run engines in turns on one core, and take their CPU time: other work on the machine hardly changes it.

    Args:
        engines: by name.
        inputs: uint8 (N, ...).
        reference: PyTorch's float32 features of them.
    """
    with one_core():
        errors = {name: _error(engine.run(inputs), reference) for name, engine in engines.items()}
        seconds = dict.fromkeys(engines, math.inf)
        began = time.monotonic()
        for turn in range(1, _ROUNDS):
            if turn > 1 and time.monotonic() - began > _ENOUGH:
                break
            for name, engine in engines.items():
                before = time.process_time()
                engine.run(inputs)
                seconds[name] = min(seconds[name], time.process_time() - before)
    return {name: _judged(len(inputs) / max(seconds[name], 1e-9), errors[name]) for name in engines}


def _judged(rate: float, error: float) -> EngineBenchmark:
    if math.isfinite(error):
        return EngineBenchmark(rate, error)
    return EngineBenchmark(rate, fault="its features, or PyTorch's, are not finite or all the same")


def _error(found: Tensor, reference: Tensor) -> float:
    return float((found - reference).abs().max() / reference.std())


def load_benchmark(network: FrozenBackbone) -> Benchmarks:
    """Return the stored benchmark of a network on this machine; empty where there is none."""
    try:
        values = json.loads(_place(network).read_text(encoding="utf-8"))["engines"]
        found = {name: EngineBenchmark(**value) for name, value in values.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found if all(_is_sound(measured) for measured in found.values()) else {}


def save_benchmark(network: FrozenBackbone, trial: Benchmarks) -> None:
    """Store a benchmark; where nothing can be written, it is measured again next time."""
    path = _place(network)
    values = {"about": _about(network), "engines": {name: asdict(found) for name, found in trial.items()}}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(values, indent=1))


def _is_sound(found: EngineBenchmark) -> bool:
    numbers = all(isinstance(value, int | float) and value >= 0 for value in (found.rate, found.error))
    return numbers and isinstance(found.fault, str)


def _place(network: FrozenBackbone) -> Path:
    return cache_home() / "engines" / f"{values_hash(_about(network))}.json"


def _about(network: FrozenBackbone) -> dict[str, Any]:
    """Return the machine, the versions and the network that a benchmark is valid for."""
    spec = network.spec
    return {
        "processor": cpu_model(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "cores": usable_cores(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "network": spec.name,
        "weights": network.hash,
        "grid": spec.grid,
        "shape": network.shape,
        "precision": spec.precision,
    }


def cpu_model() -> str:
    """Return the model of the CPU, and the instruction set that PyTorch uses on it."""
    names: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = names[0] if names else platform.processor() or platform.machine()
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
