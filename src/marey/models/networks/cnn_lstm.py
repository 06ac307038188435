"""A small convolutional network a frame and an LSTM over the frames, trained from scratch."""

from __future__ import annotations

from torch import Tensor, nn

from marey.models.head import Dropout, InputDropout, StepState
from marey.models.init import keras_init_
from marey.models.networks.network import EndToEndModel, PerFrame, Shape
from marey.models.recurrent import step
from marey.models.registry import register_head


@register_head("cnn-lstm")
class CNNLSTM(EndToEndModel):
    """Three convolutions a frame, each with batch normalisation and pooling, then an LSTM and two dense layers.

    As tuned on KTH: 10 gray frames of 80 x 80, 320, 128 and 128 filters, an LSTM of 96 and a dense layer of 64. With
    six classes that is 4,547,014 parameters in the counting of Keras, 1,152 of them statistics of batch
    normalisation; PyTorch's LSTM has a second vector of biases, 4 x 96 more. It is initialised as in Keras.

    Args:
        shape: of a clip's frames, (T, C, H, W).
        classes: number of labels.
        filters: of the first convolution.
        narrow: of the second and the third.
        hidden: numbers of the LSTM's state.
        dense: of the layer before the last.
        dropout: of the feature map of each frame.
        input_dropout: of the LSTM's inputs, the same numbers in all frames of a clip.
        output_dropout: before the last layer.
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
        dropout: float = 0.2,
        input_dropout: float = 0.2,
        output_dropout: float = 0.0,
    ) -> None:
        super().__init__(shape, classes)
        _, channels, height, width = shape
        self.frames = PerFrame(
            nn.Sequential(
                *_stage(channels, filters, padding=0),
                *_stage(filters, narrow, padding=1),
                *_stage(narrow, narrow, padding=1),
                nn.Flatten(),
                Dropout(dropout),
            )
        )
        cells = ((height - 2) // 8) * ((width - 2) // 8)
        self.input_dropout = InputDropout(input_dropout)
        self.recurrent = nn.LSTM(narrow * cells, hidden, batch_first=True)
        self.classifier = nn.Sequential(
            nn.Linear(hidden, dense), nn.ReLU(), Dropout(output_dropout), nn.Linear(dense, classes)
        )
        keras_init_(self)

    def forward_clip(self, pixels: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        states, _ = self.recurrent(self.input_dropout(self.frames(pixels)))
        logits: Tensor = self.classifier(states[:, -1])
        return logits

    def forward_frame(self, pixels: Tensor, state: StepState) -> Tensor:
        """Return logits after one more frame, (B, classes)."""
        logits: Tensor = self.classifier(step(self.recurrent, self.frames.network(pixels), state))
        return logits


def _stage(channels: int, filters: int, *, padding: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, filters, 3, padding=padding),
        nn.ReLU(),
        nn.BatchNorm2d(filters, eps=1e-3),
        nn.MaxPool2d(2),
    )
