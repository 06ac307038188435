"""Parameters and layers of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Number of parameters, counted as Keras counts them.

    An LSTM of PyTorch has two vectors of biases where one would do; the second, 4 x `hidden` a layer and direction, is
    left out, so that counts can be compared with published tables.

    Attributes:
        weights: trained ones, frozen or not.
        statistics: means and variances of batch normalisation.
    """

    weights: int
    statistics: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.statistics


@dataclass(frozen=True, slots=True)
class Layer:
    """A row of the table of layers.

    Attributes:
        name: path in the network.
        kind: name of its class.
        output: shape of its output, the first axis the batch.
        parameters: their number.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int


def count_parameters(network: nn.Module) -> ParameterCount:
    """Count the parameters of a network."""
    weights = statistics = 0
    for module in network.modules():
        second = "bias_hh" if isinstance(module, nn.LSTM) else "\0"
        weights += sum(
            values.numel() for name, values in module.named_parameters(recurse=False) if not name.startswith(second)
        )
        statistics += sum(values.numel() for name, values in module.named_buffers(recurse=False) if name in _STATISTICS)
    return ParameterCount(weights, statistics)


def list_layers(network: nn.Module, run: Callable[[], object]) -> tuple[Layer, ...]:
    """Return the layers of a network in the order of their calls, without identities.

    Args:
        network: the network.
        run: calls it once.
    """
    found: list[Layer] = []

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            values = output[0] if isinstance(output, tuple) else output
            shape = tuple(values.shape) if isinstance(values, Tensor) else ()
            found.append(Layer(name, type(module).__name__, shape, count_parameters(module).total))

        return hook

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in network.named_modules()
        if not any(True for _ in module.children()) and not isinstance(module, nn.Identity)
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(found)
