"""What a network's numbers are before it has learnt anything."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

_Network = TypeVar("_Network", bound=nn.Module)


@torch.no_grad()
def start_as_in_keras(network: _Network) -> _Network:
    """Give a network the initial values of Keras, for systems that were published in it.

    Weights are uniform, within sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010); those from state to state are
    orthogonal; biases are 0, and 1 for the gates by which an LSTM forgets (Jozefowicz et al. 2015). PyTorch draws a
    recurrent layer's weights within 1 / sqrt(units) whatever the number of its inputs: with 10,368 of them and 96
    units the gates stand at +-6 from the first step on, and next to nothing passes through them.

    Args:
        network: its convolutions, linear and recurrent layers are changed in place.

    Returns:
        The same network.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LSTM | nn.GRU):
            _start_recurrent(module)
    return network


def _start_recurrent(layer: nn.LSTM | nn.GRU) -> None:
    for name, values in layer.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(values)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(values)
        else:
            nn.init.zeros_(values)
            if name.startswith("bias_ih") and isinstance(layer, nn.LSTM):
                values[layer.hidden_size : 2 * layer.hidden_size] = 1  # gates stand in the order in, forget, cell, out
