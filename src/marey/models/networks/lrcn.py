"""Long-term recurrent convolutional networks (Donahue et al. 2015), small enough to be trained from scratch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from marey.models.head import Dropout, StepState, mean_of_predictions
from marey.models.networks.network import EndToEndModel, PerFrame, Shape
from marey.models.recurrent import step
from marey.models.registry import register_head


@register_head("lrcn-small")
class SmallLRCN(EndToEndModel):
    """A convolutional network a frame, an LSTM over the frames, a prediction at each; their average is the output.

    The averaging is the paper's. Its network a frame was AlexNet, trained on ImageNet; this one has four convolutions
    of 16 to 64 filters, as usual without pretraining.
    """

    causal = True

    def __init__(self, shape: Shape, classes: int, *, width: int = 16, hidden: int = 64, dropout: float = 0.25) -> None:
        super().__init__(shape, classes)
        _, channels, height, across = shape
        stages = ((channels, width, 4), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 4 * width, 2))
        layers: list[nn.Module] = []
        for inside, outside, pool in stages:
            layers += [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
            layers += [nn.MaxPool2d(pool), Dropout(dropout)]
        self.frames = PerFrame(nn.Sequential(*layers, nn.Flatten()))
        self.recurrent = nn.LSTM(4 * width * (height // 32) * (across // 32), hidden, batch_first=True)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden, classes)

    def forward_clip(self, pixels: Tensor) -> Tensor:
        """Return log-probabilities, (B, classes)."""
        states, _ = self.recurrent(self.frames(pixels))
        everywhere = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        return mean_of_predictions(self.linear(self.dropout(states)), everywhere)

    def forward_frame(self, pixels: Tensor, state: StepState) -> Tensor:
        """Return the moving average of its probabilities, (B, classes)."""
        return state.mean_with(self.linear(step(self.recurrent, self.frames.network(pixels), state)))
