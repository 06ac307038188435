"""A small convolutional network a frame and an LSTM over the frames, trained from nothing."""

from __future__ import annotations

from torch import Tensor, nn

from marey.models.head import Dropout, StepState
from marey.models.init import start_as_in_keras
from marey.models.networks.network import Network, PerFrame, Shape
from marey.models.recurrent import step
from marey.models.registry import register_head


@register_head("cnn-lstm")
class CNNLSTM(Network):
    """Three convolutions a frame, each with batch normalisation and pooling, then an LSTM and two dense layers.

    As tuned on KTH: 10 grey frames of 80 x 80, 320, 128 and 128 filters, an LSTM of 96 and a dense layer of 64. With
    six classes that is 4,547,014 parameters in the counting of Keras, 1,152 of them statistics of batch
    normalisation; PyTorch's LSTM has a second vector of biases, 4 x 96 more. It starts as it did in Keras.
    """

    causal = True

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        filters: int = 320,
        narrow: int = 128,
        hidden: int = 96,
        dense: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(shape, classes)
        _, colours, height, width = shape
        self.frames = PerFrame(
            nn.Sequential(
                *_stage(colours, filters, padding=0),
                *_stage(filters, narrow, padding=1),
                *_stage(narrow, narrow, padding=1),
                nn.Flatten(),
                Dropout(dropout),
            )
        )
        cells = ((height - 2) // 8) * ((width - 2) // 8)
        self.recurrent = nn.LSTM(narrow * cells, hidden, batch_first=True)
        self.classifier = nn.Sequential(
            nn.Linear(hidden, dense), nn.ReLU(), Dropout(dropout), nn.Linear(dense, classes)
        )
        start_as_in_keras(self)

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        states, _ = self.recurrent(self.frames(pixels))
        logits: Tensor = self.classifier(states[:, -1])
        return logits

    def of_frame(self, pixels: Tensor, state: StepState) -> Tensor:
        """Logits after one frame more, (B, classes)."""
        logits: Tensor = self.classifier(step(self.recurrent, self.frames.network(pixels), state))
        return logits


def _stage(colours: int, filters: int, *, padding: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(colours, filters, 3, padding=padding),
        nn.ReLU(),
        nn.BatchNorm2d(filters, eps=1e-3),
        nn.MaxPool2d(2),
    )
