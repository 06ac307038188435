"""Convolutions over space and time, then recurrent layers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from marey.models.head import Dropout
from marey.models.networks.network import EndToEndModel, Shape
from marey.models.registry import register_head


@register_head("c3d-lstm-gru")
class C3DLSTMGRU(EndToEndModel):
    """3D convolutions (Tran et al. 2015), an LSTM over their outputs, a GRU, and a dense layer.

    The convolutions see 3 frames and 3 x 3 pixels; pooling is in space only first, and over time as well in the second
    and the third layer, as in C3D: of 16 frames, the recurrent layers read 4 steps. Where all four layers pool over
    time as well, which published drawings of such networks show, one step is left of 16 frames: the LSTM and the GRU
    read a sequence of one, and are dense layers.

    Args:
        shape: of a clip's frames, (T, C, H, W).
        classes: number of labels.
        filters: of the first convolution; twice as many in each further one, up to eight times.
        layers: convolutions, each with a pooling.
        lstm: numbers of the LSTM's state.
        gru: numbers of the GRU's state.
        bidirectional: reads forwards and backwards in both recurrent layers.
        pooling: "flatten" gives the LSTM the whole feature map of a time step; "average" its mean over the image, many
            times fewer weights.
        dropout: before the recurrent layers and after them.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        filters: int = 16,
        layers: int = 4,
        lstm: int = 128,
        gru: int = 64,
        bidirectional: bool = False,
        pooling: Literal["flatten", "average"] = "flatten",
        dropout: float = 0.3,
    ) -> None:
        super().__init__(shape, classes)
        _, channels, height, width = shape
        stages: list[nn.Module] = []
        inside = channels
        for number in range(layers):
            outside = filters * 2 ** min(number, 3)
            over_time = 2 if number in (1, 2) else 1
            stages += [nn.Conv3d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm3d(outside), nn.ReLU()]
            stages += [nn.MaxPool3d((over_time, 2, 2), ceil_mode=True)]
            inside = outside
            height, width = -(-height // 2), -(-width // 2)
        self.convolutions = nn.Sequential(*stages)
        self.dropout = Dropout(dropout)
        self.pooling = pooling
        sides = 2 if bidirectional else 1
        read = inside * height * width if pooling == "flatten" else inside
        self.lstm = nn.LSTM(read, lstm, batch_first=True, bidirectional=bidirectional)
        self.gru = nn.GRU(lstm * sides, gru, batch_first=True, bidirectional=bidirectional)
        self.linear = nn.Linear(gru * sides, classes)

    def forward_clip(self, pixels: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        volumes = self.convolutions(pixels.transpose(1, 2)).transpose(1, 2)
        steps = volumes.flatten(2) if self.pooling == "flatten" else volumes.mean((3, 4))
        states, _ = self.lstm(self.dropout(steps))
        _, last = self.gru(states)
        logits: Tensor = self.linear(self.dropout(torch.cat(list(last), dim=1)))
        return logits
