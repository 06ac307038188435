"""Convolutions over space and time, then recurrent layers."""

from __future__ import annotations

from torch import Tensor, nn

from marey.models.head import Dropout
from marey.models.networks.network import EndToEndModel, Shape
from marey.models.registry import register_head


@register_head("c3d-lstm-gru")
class C3DLSTMGRU(EndToEndModel):
    """3D convolutions (Tran et al. 2015), an LSTM over their outputs, a GRU, and a dense layer.

    The convolutions see 3 frames and 3 x 3 pixels; pooling is in space only first, and over time as well from the
    second layer on, as in C3D.
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
        self.lstm = nn.LSTM(inside * height * width, lstm, batch_first=True)
        self.gru = nn.GRU(lstm, gru, batch_first=True)
        self.linear = nn.Linear(gru, classes)

    def forward_clip(self, pixels: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        volumes = self.convolutions(pixels.transpose(1, 2)).transpose(1, 2)
        states, _ = self.lstm(self.dropout(volumes.flatten(2)))
        states, _ = self.gru(states)
        logits: Tensor = self.linear(self.dropout(states[:, -1]))
        return logits
