"""Which engines agree with PyTorch, and which is fastest here: measured once, remembered for the machine."""

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

from marey.atomic import write_whole
from marey.cores import usable_cores
from marey.data.hashing import values_hash
from marey.encoders.cache import cache_home
from marey.encoders.engine import Engine, one_core
from marey.encoders.frozen import FrozenNetwork

TOLERANCE: Final = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest difference from PyTorch's float32 features, in parts of their standard deviation, at which engines agree."""

_PACKAGES: Final = ("torch", "timm", "openvino", "onnxruntime")
_PICTURES: Final = 2  # a round
_ROUNDS: Final = 4  # the first of which warms up
_ENOUGH: Final = 3.0  # s after which no further round is begun


@dataclass(frozen=True, slots=True)
class Measured:
    """What a trial found of an engine.

    Attributes:
        rate: inputs, pictures or clips, for each second that it kept a core busy; 0 where it was not run.
        error: largest difference from PyTorch's float32 features, in parts of their standard deviation.
        fault: why it is no choice, whatever its figures; empty where nothing speaks against it.
    """

    rate: float = 0.0
    error: float = 0.0
    fault: str = ""


Trial = dict[str, Measured]
"""What was measured of each engine, by its name."""


def agrees(found: Measured, precision: str) -> bool:
    """Whether an engine's features may stand for PyTorch's."""
    return not found.fault and found.error <= TOLERANCE[precision]


def fastest(trial: Mapping[str, Measured], precision: str) -> str:
    """The fastest engine among those that agree; PyTorch where there is no other."""
    rates = {name: found.rate for name, found in trial.items() if agrees(found, precision)}
    return max(rates, key=lambda name: rates[name], default="pytorch")


def trial_inputs(network: FrozenNetwork) -> Tensor:
    """What engines are tried on, uint8 (N, *shape): soft spots of colour."""
    count = 1 if len(network.shape) == 4 else _PICTURES
    height, width = network.shape[-2:]
    chance = torch.Generator().manual_seed(0)
    spots = torch.rand(count * math.prod(network.shape[:-3]), 3, 6, 6, generator=chance) * 255
    soft = torch.nn.functional.interpolate(spots, size=(height, width), mode="bilinear")
    return soft.to(torch.uint8).view(count, *network.shape)


def measure(engines: Mapping[str, Engine], inputs: Tensor, reference: Tensor) -> Trial:
    """Run engines in turns, on one core, by the time that they keep it busy: on all cores together they do the same.

    What else runs on the machine lengthens the time of the day, and this hardly.

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


def _judged(rate: float, error: float) -> Measured:
    if math.isfinite(error):
        return Measured(rate, error)
    return Measured(rate, fault="its features, or PyTorch's, are not finite or all the same")


def _error(found: Tensor, reference: Tensor) -> float:
    return float((found - reference).abs().max() / reference.std())


def recall(network: FrozenNetwork) -> Trial:
    """What is remembered of the engines for a network on this machine; nothing where that cannot be read."""
    try:
        values = json.loads(_place(network).read_text(encoding="utf-8"))["engines"]
        found = {name: Measured(**value) for name, value in values.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found if all(_is_sound(measured) for measured in found.values()) else {}


def remember(network: FrozenNetwork, trial: Trial) -> None:
    """Write down what was measured; where nothing can be written, it is measured again next time."""
    path = _place(network)
    values = {"about": _about(network), "engines": {name: asdict(found) for name, found in trial.items()}}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(values, indent=1))


def _is_sound(found: Measured) -> bool:
    numbers = all(isinstance(value, int | float) and value >= 0 for value in (found.rate, found.error))
    return numbers and isinstance(found.fault, str)


def _place(network: FrozenNetwork) -> Path:
    return cache_home() / "engines" / f"{values_hash(_about(network))}.json"


def _about(network: FrozenNetwork) -> dict[str, Any]:
    """The machine, the versions and the network that a trial holds for."""
    spec = network.spec
    return {
        "processor": processor(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "cores": usable_cores(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "network": spec.name,
        "weights": network.hash,
        "grid": spec.grid,
        "shape": network.shape,
        "precision": spec.precision,
    }


def processor() -> str:
    """Model of the processor, and the instructions that PyTorch uses on it."""
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
