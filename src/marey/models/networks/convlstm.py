"""Convolutional LSTM (Shi et al. 2015): its state is an image."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from marey.models.head import Dropout
from marey.models.networks.network import EndToEndModel, Shape
from marey.models.registry import register_head


class ConvLSTM2D(nn.Module):
    """One layer: (B, T, C, H, W) to the states at all timestamps, (B, T, filters, H, W).

    Without the paper's peephole connections, as in Keras's layer of this name. The inputs of the gates are
    normalised over the batch (Laurent et al. 2016), so that a small figure before a wide background moves them.
    """

    def __init__(self, channels: int, filters: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.filters = filters
        padding = kernel // 2
        self.of_input = nn.Conv2d(channels, 4 * filters, kernel, padding=padding, bias=False)
        self.normalise = nn.BatchNorm2d(4 * filters)
        self.of_state = nn.Conv2d(filters, 4 * filters, kernel, padding=padding, bias=False)
        nn.init.orthogonal_(self.of_state.weight)
        with torch.no_grad():
            self.normalise.bias[filters : 2 * filters] = 1  # the forget gate starts open (Jozefowicz et al. 2015)

    def forward(self, clips: Tensor) -> Tensor:
        """Return the states: (B, T, C, H, W) to (B, T, filters, H, W)."""
        gates = self.normalise(self.of_input(clips.flatten(0, 1)))  # of all timestamps at once
        gates = gates.unflatten(0, clips.shape[:2])
        state = cell = gates.new_zeros(len(clips), self.filters, *clips.shape[-2:])
        states = []
        for inputs in gates.unbind(1):
            enter, forget, write, leave = (inputs + self.of_state(state)).chunk(4, dim=1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * write.tanh()
            state = leave.sigmoid() * cell.tanh()
            states.append(state)
        return torch.stack(states, dim=1)


@register_head("convlstm")
class ConvLSTM(EndToEndModel):
    """Layers of ConvLSTM2D with pooling in space between them, then a dense layer on the mean of the last states.

    Small frames and few filters, because every filter has a state image at every timestamp; their number doubles after
    each pooling.
    """

    def __init__(
        self, shape: Shape, classes: int, *, filters: int = 8, layers: int = 4, kernel: int = 3, dropout: float = 0.2
    ) -> None:
        super().__init__(shape, classes)
        _, channels, height, width = shape
        sizes = [channels, *(filters * 2**number for number in range(layers))]
        self.layers = nn.ModuleList(ConvLSTM2D(inside, outside, kernel=kernel) for inside, outside in pairwise(sizes))
        self.normalise = nn.ModuleList(nn.BatchNorm3d(size) for size in sizes[1:])
        self.downsample = nn.MaxPool3d((1, 2, 2), ceil_mode=True)
        self.dropout = Dropout(dropout)
        for _ in range(layers):
            height, width = -(-height // 2), -(-width // 2)
        self.linear = nn.Linear(sizes[-1] * height * width, classes)

    def forward_clip(self, pixels: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        values = pixels
        for layer, normalise in zip(self.layers, self.normalise, strict=True):
            images = normalise(layer(values).transpose(1, 2))
            values = self.dropout(self.downsample(images)).transpose(1, 2)
        logits: Tensor = self.linear(values.mean(1).flatten(1))
        return logits
