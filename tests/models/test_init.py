"""What a network's numbers are before it has learnt anything."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from marey.models import create_head
from marey.models.init import start_as_in_keras


def test_weights_and_biases_are_those_of_keras() -> None:
    torch.manual_seed(0)
    convolution, linear = start_as_in_keras(nn.Conv2d(3, 40, 3)), start_as_in_keras(nn.Linear(200, 100))
    lstm, gru = start_as_in_keras(nn.LSTM(500, 30)), start_as_in_keras(nn.GRU(9, 7))
    of_lstm, of_gru = dict(lstm.named_parameters()), dict(gru.named_parameters())
    for weight, inputs, outputs in (
        (convolution.weight, 3 * 9, 40 * 9),
        (linear.weight, 200, 100),
        (of_lstm["weight_ih_l0"], 500, 4 * 30),
        (of_gru["weight_ih_l0"], 9, 3 * 7),
    ):
        bound = (6 / (inputs + outputs)) ** 0.5
        assert 0.9 * bound < weight.abs().max() <= bound
    between = of_lstm["weight_hh_l0"]
    torch.testing.assert_close(between.T @ between, torch.eye(30))
    assert of_lstm["bias_ih_l0"].tolist() == [0] * 30 + [1] * 30 + [0] * 60  # an LSTM begins by keeping what it has
    for zeros in (convolution.bias, linear.bias, of_lstm["bias_hh_l0"], of_gru["bias_ih_l0"], of_gru["bias_hh_l0"]):
        assert zeros is not None
        assert not zeros.any()


def test_both_directions_begin_alike() -> None:
    layer = start_as_in_keras(nn.LSTM(6, 5, bidirectional=True))
    parts = dict(layer.named_parameters())
    assert parts["bias_ih_l0_reverse"].tolist() == parts["bias_ih_l0"].tolist()
    back = parts["weight_hh_l0_reverse"]
    torch.testing.assert_close(back.T @ back, torch.eye(5))


@pytest.mark.parametrize(
    ("name", "shape"), [("cnn-lstm", (10, 1, 80, 80)), ("lstm-dense", (3072,)), ("bilstm-dense", (512,))]
)
def test_the_gates_of_a_published_system_are_not_shut_from_the_start(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    recurrent = create_head(name, shape, 6).get_submodule("recurrent")
    assert isinstance(recurrent, nn.LSTM)
    inputs = torch.randn(20, recurrent.input_size)
    weight = recurrent.get_parameter("weight_ih_l0")
    assert (inputs @ weight.T).std() < 2  # PyTorch's own draw puts those of cnn-lstm at 6
