"""Choice of an engine: by name, or the fastest on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Final

import torch

from marey.encoders.backbone import FrozenBackbone
from marey.encoders.engine import Engine, engine_name
from marey.encoders.engine_benchmark import (
    Benchmarks,
    EngineBenchmark,
    agrees,
    benchmark_inputs,
    fastest,
    load_benchmark,
    measure,
    save_benchmark,
)
from marey.encoders.onnxruntime_engine import OnnxRuntimeEngine
from marey.encoders.openvino_engine import start_openvino
from marey.encoders.pytorch_engine import CudaEngine, PyTorchEngine
from marey.errors import UsageError

_OTHERS: Final[dict[str, Callable[[FrozenBackbone], Engine]]] = {
    "openvino": start_openvino,
    "onnxruntime": OnnxRuntimeEngine,
}
_LARGEST_TRIAL: Final = 100e9  # floating-point operations of the benchmark's inputs


@dataclass(frozen=True)
class EngineHandle:
    """An engine at work.

    Attributes:
        engine: the engine.
        cache_tag: part of the cache key of its features: empty where they agree with PyTorch's, else its name.
        trial: benchmark of it and of others; empty where there is nothing to choose.
    """

    engine: Engine
    cache_tag: str = ""
    trial: Benchmarks = field(default_factory=dict)


def installed_engines() -> tuple[str, ...]:
    """Return the names of engines for the CPU that are installed, PyTorch first."""
    return ("pytorch", *(name for name in _OTHERS if find_spec(name) is not None))


def start_engine(network: FrozenBackbone, *, device: torch.device, engine: str | None) -> EngineHandle:
    """Start an engine for a frozen network.

    Args:
        network: float32, on the CPU; taken over.
        device: where it runs.
        engine: by name, as `engine_name` has it.

    Raises:
        UnknownNameError: there is no engine of that name.
        UsageError: it is not installed, or cannot run the network; or it does not run on the device.
    """
    name = engine_name(engine)
    gpu = device.type == "cuda"
    if gpu and name not in ("auto", "cuda", "pytorch"):
        raise UsageError(f"the engine {name} runs on the CPU, and the device is {device}: add --device cpu")
    if not gpu and name == "cuda":
        raise UsageError(f"the engine cuda needs a GPU, and the device is {device}: add --device cuda")
    if gpu:
        return _checked(network, "cuda", CudaEngine(network, device))
    if name in _OTHERS:
        return _checked(network, name, _OTHERS[name](network))
    if name == "auto" and len(installed_engines()) > 1:
        return _automatic(network)
    return EngineHandle(PyTorchEngine(network))


def _automatic(network: FrozenBackbone) -> EngineHandle:
    """Return the fastest engine; where it is unknown, after a benchmark."""
    names, precision = installed_engines(), network.spec.precision
    trial = load_benchmark(network)
    if not set(names) <= trial.keys():
        engines, trial = _try(network, names)
        save_benchmark(network, trial)
        return EngineHandle(engines[fastest(trial, precision)], trial=trial)
    name = fastest({each: trial[each] for each in names}, precision)
    if name != "pytorch":
        with suppress(UsageError):  # it ran when it was tried: what has changed since need not stop anyone
            return EngineHandle(_OTHERS[name](network), trial=trial)
    return EngineHandle(PyTorchEngine(network), trial=trial)


def _try(network: FrozenBackbone, names: Sequence[str]) -> tuple[dict[str, Engine], Benchmarks]:
    """Start engines and measure them; those that cannot be started have their reason in the benchmark."""
    from torch.utils.flop_counter import FlopCounterMode

    inputs = benchmark_inputs(network)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        reference = network(inputs)
    work = counter.get_total_flops()
    engines: dict[str, Engine] = {}
    trial: Benchmarks = {}
    for name in names[1:]:
        try:
            if work > _LARGEST_TRIAL:  # counted: a busy moment must not decide for good
                raise UsageError(f"not tried: {len(inputs)} inputs are {work / 1e9:,.0f} GFLOP; name it to use it")
            engines[name] = _OTHERS[name](network)
        except UsageError as error:
            trial[name] = EngineBenchmark(fault=str(error))
    engines["pytorch"] = PyTorchEngine(network)  # last, because it takes the network over
    return engines, trial | (
        measure(engines, inputs, reference) if len(engines) > 1 else {"pytorch": EngineBenchmark()}
    )


def _checked(network: FrozenBackbone, name: str, engine: Engine) -> EngineHandle:
    """Return an engine that was named; its agreement with PyTorch is measured once."""
    trial = load_benchmark(network)
    if name not in trial or trial[name].fault:
        inputs = benchmark_inputs(network)
        with torch.inference_mode():
            reference = network(inputs)
        trial |= measure({name: engine}, inputs, reference)
        save_benchmark(network, trial)
    return EngineHandle(engine, "" if agrees(trial[name], network.spec.precision) else name, trial)
