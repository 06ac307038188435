from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from marey.evaluation.cost import count_flops


def asked(module: nn.Module, values: Tensor) -> Callable[[], None]:
    @torch.inference_mode()
    def call() -> None:
        module.eval()(values)

    return call


def test_a_multiplication_and_an_addition_are_two_operations() -> None:
    assert count_flops(asked(nn.Linear(30, 20), torch.zeros(7, 30))) == 2 * 7 * 30 * 20
    convolution = nn.Conv2d(3, 8, 3, padding=1)
    assert count_flops(asked(convolution, torch.zeros(1, 3, 10, 12))) == 2 * 10 * 12 * 8 * 3 * 9


@pytest.mark.parametrize(("cell", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_networks_are_counted_step_by_step(
    cell: type[nn.LSTM] | type[nn.GRU], gates: int, both: bool
) -> None:
    network = cell(30, 20, batch_first=True, bidirectional=both)
    steps = (1 + both) * 2 * 5
    assert count_flops(asked(network, torch.zeros(2, 5, 30))) == 2 * steps * gates * 20 * (30 + 20)


def test_attention_is_counted_and_the_fused_path_is_put_back() -> None:
    width, length = 16, 6
    layer = nn.TransformerEncoderLayer(width, 4, dim_feedforward=32, batch_first=True)
    projections = length * width * (4 * width + 2 * 32)
    attention = 2 * length * length * width
    assert count_flops(asked(layer, torch.zeros(1, length, width))) == 2 * (projections + attention)
    assert torch.backends.mha.get_fastpath_enabled()
