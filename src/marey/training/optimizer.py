"""Optimisers on PyTorch's functional kernels.

`torch.optim` imports the compiler of PyTorch, which takes as long as importing PyTorch: longer than training a dozen
heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.rmsprop import rmsprop


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A functional optimiser of PyTorch.

    Attributes:
        update: takes parameters, gradients, three lists of what is remembered of each, steps, and settings.
        remembered: names of those of the three lists that are used, of the shapes of the parameters, zero at first.
    """

    update: Callable[..., Any]
    remembered: tuple[str, ...]


OPTIMIZERS: Final = {
    # Loshchilov and Hutter 2019; weight decay is apart from the gradient
    "adamw": _Kernel(
        partial(adamw, fused=True, amsgrad=False, beta1=0.9, beta2=0.999, eps=1e-8, maximize=False),
        ("means", "squares"),
    ),
    # Tieleman and Hinton 2012, with the constants of Keras; weight decay is part of the gradient
    "rmsprop": _Kernel(
        partial(rmsprop, alpha=0.9, eps=1e-7, momentum=0.0, centered=False, maximize=False),
        ("squares",),
    ),
}
"""Optimisers by the name that a recipe gives as `training.solver`."""


class Optimizer:
    """Trained parameters, and what an optimiser remembers of each.

    Args:
        name: one of `OPTIMIZERS`.
        module: its parameters that require a gradient are trained.
        weight_decay: strength of the pull to zero.
    """

    def __init__(self, name: str, module: nn.Module, *, weight_decay: float) -> None:
        self._kernel = OPTIMIZERS[name]
        self._parameters: list[Tensor] = [each for each in module.parameters() if each.requires_grad]
        self._weight_decay = weight_decay
        self._memory = {
            remembered: [torch.zeros_like(each) for each in self._parameters] for remembered in self._kernel.remembered
        }
        self._steps = [torch.zeros((), device=each.device) for each in self._parameters]

    def step(self, learning_rate: float) -> None:
        """Update the parameters by their gradients, and clear these."""
        used = [place for place, each in enumerate(self._parameters) if each.grad is not None]
        parameters = [self._parameters[place] for place in used]
        memory = [[values[place] for place in used] for values in self._memory.values()]
        with torch.no_grad():
            self._kernel.update(
                parameters,
                [each.grad for each in parameters],
                *memory,
                *([] for _ in range(3 - len(memory))),
                [self._steps[place] for place in used],
                lr=learning_rate,
                weight_decay=self._weight_decay,
            )
        for each in parameters:
            each.grad = None

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return what a resumed training needs."""
        return {**self._memory, "steps": self._steps}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Take over the state of a checkpoint."""
        for name, own in self.state_dict().items():
            for values, kept in zip(own, state[name], strict=True):
                values.copy_(kept)
