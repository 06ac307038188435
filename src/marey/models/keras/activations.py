"""Activation functions by Keras's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor
from torch.nn import functional

from marey.errors import did_you_mean

OLD_HARD_SIGMOID: Final = "hard_sigmoid of Keras 2"
"""Keras 3 has another slope under the old name."""

ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "elu": functional.elu,
    "gelu": functional.gelu,
    "hard_sigmoid": lambda values: (values / 6 + 0.5).clamp(0, 1),
    OLD_HARD_SIGMOID: lambda values: (0.2 * values + 0.5).clamp(0, 1),
    "leaky_relu": lambda values: functional.leaky_relu(values, 0.2),
    "linear": lambda values: values,
    "relu": Tensor.relu,
    "relu6": functional.relu6,
    "selu": functional.selu,
    "sigmoid": Tensor.sigmoid,
    "silu": functional.silu,
    "softmax": lambda values: values.softmax(-1),
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "swish": functional.silu,
    "tanh": Tensor.tanh,
}
"""Name -> function."""


def activation_of(name: str) -> Callable[[Tensor], Tensor]:
    """Return an activation function.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"no activation is called '{name}'; {did_you_mean(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]
