"""The optimisers compute what PyTorch's classes compute."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from marey.training.optimizer import OPTIMIZERS, Optimizer

THEIRS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adamw": lambda network: torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1, fused=True),
    "rmsprop": lambda network: torch.optim.RMSprop(network.parameters(), lr=0.1, alpha=0.9, eps=1e-7, weight_decay=0.1),
}


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, 3)


def descend(network: nn.Linear, number: int) -> None:
    """Compute the gradients of a loss that differs from step to step."""
    sum((number + 1) * values.square().sum() for values in network.parameters()).backward()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_steps_as_pytorchs_does(name: str) -> None:
    one, other = network(), network()
    ours, theirs = Optimizer(name, one, weight_decay=0.1), THEIRS[name](other)
    for number in range(4):
        descend(one, number)
        descend(other, number)
        theirs.param_groups[0]["lr"] = 0.1 * (number + 1)
        ours.step(0.1 * (number + 1))
        theirs.step()
        theirs.zero_grad()
    for mine, his in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, his)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_its_state(name: str) -> None:
    one, other = network(), network()
    whole, first = Optimizer(name, one, weight_decay=0.0), Optimizer(name, other, weight_decay=0.0)
    for number in range(2):
        descend(one, number)
        whole.step(0.1)
        descend(other, number)
        first.step(0.1)
    resumed = Optimizer(name, other, weight_decay=0.0)
    resumed.load_state_dict({key: [each.clone() for each in values] for key, values in first.state_dict().items()})
    descend(one, 2)
    whole.step(0.1)
    descend(other, 2)
    resumed.step(0.1)
    assert torch.equal(one.weight, other.weight)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_without_a_gradient_stays_as_it_is(name: str) -> None:
    only = network()
    before = only.bias.detach().clone()
    optimizer = Optimizer(name, only, weight_decay=0.1)
    only.weight.square().sum().backward()
    optimizer.step(0.1)
    assert torch.equal(only.bias, before)
    assert only.weight.grad is None
