"""Engines by name, and the one that is taken where none is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from marey.encoders.engine import Engine
from marey.encoders.frozen import FrozenNetwork
from marey.encoders.onnxruntime_engine import OnnxRuntimeEngine
from marey.encoders.openvino_engine import start_openvino
from marey.encoders.pytorch_engine import CudaEngine, PyTorchEngine
from marey.encoders.trial import Measured, Trial, agrees, fastest, measure, recall, remember, trial_inputs
from marey.errors import UnknownNameError, UsageError

ENGINES: Final = ("auto", "pytorch", "openvino", "onnxruntime", "cuda")
"""By the names that they are asked for: "auto" is the fastest of those that are installed and agree with PyTorch."""

_OTHERS: Final[dict[str, Callable[[FrozenNetwork], Engine]]] = {
    "openvino": start_openvino,
    "onnxruntime": OnnxRuntimeEngine,
}
_LARGEST_TRIAL: Final = 100e9  # floating-point operations of the inputs that engines are tried on


@dataclass(frozen=True)
class Running:
    """An engine at work.

    Attributes:
        engine: it.
        cache_tag: what its features are kept under: empty where they agree with PyTorch's, else its name.
        trial: what was measured of it and of others; nothing where there is nothing to choose.
    """

    engine: Engine
    cache_tag: str = ""
    trial: Trial = field(default_factory=dict)


def engine_name(asked: str | None) -> str:
    """What was asked for: by name, else in the variable MAREY_ENGINE, else "auto".

    Raises:
        UnknownNameError: there is no engine of that name.
    """
    name = asked or os.environ.get("MAREY_ENGINE") or "auto"
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    return name


def installed_engines() -> tuple[str, ...]:
    """Engines for the processor that could be used here, PyTorch first."""
    return ("pytorch", *(name for name in _OTHERS if find_spec(name) is not None))


def start_engine(network: FrozenNetwork, *, device: torch.device, engine: str | None) -> Running:
    """Put a frozen network to work.

    Args:
        network: float32, on the processor; taken over.
        device: where it runs.
        engine: by name, as `engine_name` has it.

    Raises:
        UnknownNameError: there is no engine of that name.
        UsageError: it is not installed, or cannot run the network; or it does not run on the device.
    """
    name = engine_name(engine)
    gpu = device.type == "cuda"
    if gpu and name not in ("auto", "cuda", "pytorch"):
        raise UsageError(f"the engine {name} runs on the processor, and the device is {device}: add --device cpu")
    if not gpu and name == "cuda":
        raise UsageError(f"the engine cuda needs a GPU, and the device is {device}: add --device cuda")
    if gpu:
        return _checked(network, "cuda", CudaEngine(network, device))
    if name in _OTHERS:
        return _checked(network, name, _OTHERS[name](network))
    if name == "auto" and len(installed_engines()) > 1:
        return _automatic(network)
    return Running(PyTorchEngine(network))


def _automatic(network: FrozenNetwork) -> Running:
    """The fastest engine; where that is not known, after a trial."""
    names, precision = installed_engines(), network.spec.precision
    trial = recall(network)
    if not set(names) <= trial.keys():
        engines, trial = _try(network, names)
        remember(network, trial)
        return Running(engines[fastest(trial, precision)], trial=trial)
    name = fastest({each: trial[each] for each in names}, precision)
    if name != "pytorch":
        with suppress(UsageError):  # it ran when it was tried: what has changed since need not stop anyone
            return Running(_OTHERS[name](network), trial=trial)
    return Running(PyTorchEngine(network), trial=trial)


def _try(network: FrozenNetwork, names: Sequence[str]) -> tuple[dict[str, Engine], Trial]:
    """Start engines and measure them; those that cannot be started have their reason in the trial."""
    inputs = trial_inputs(network)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        reference = network(inputs)
    work = counter.get_total_flops()
    engines: dict[str, Engine] = {}
    trial: Trial = {}
    for name in names[1:]:
        try:
            if work > _LARGEST_TRIAL:  # counted: a busy moment must not decide for good
                raise UsageError(f"not tried: {len(inputs)} inputs are {work / 1e9:,.0f} GFLOP; name it to use it")
            engines[name] = _OTHERS[name](network)
        except UsageError as error:
            trial[name] = Measured(fault=str(error))
    engines["pytorch"] = PyTorchEngine(network)  # last, because it takes the network over
    return engines, trial | (measure(engines, inputs, reference) if len(engines) > 1 else {"pytorch": Measured()})


def _checked(network: FrozenNetwork, name: str, engine: Engine) -> Running:
    """An engine that was named, and whether it agrees; that is measured once."""
    trial = recall(network)
    if name not in trial or trial[name].fault:
        inputs = trial_inputs(network)
        with torch.inference_mode():
            reference = network(inputs)
        trial |= measure({name: engine}, inputs, reference)
        remember(network, trial)
    return Running(engine, "" if agrees(trial[name], network.spec.precision) else name, trial)
