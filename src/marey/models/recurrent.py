"""Heads that read the frames of a clip one after the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from marey.models.head import Dropout, FeatureHead, Head, StepState, mean_of_predictions
from marey.models.init import start_as_in_keras
from marey.models.registry import register_head

Recurrent = nn.LSTM | nn.GRU


class RecurrentHead(FeatureHead):
    """A recurrent layer read at the last frame (in both directions: at both ends), dropout, a linear layer."""

    def __init__(self, dim: int, classes: int, recurrent: Recurrent, dropout: float) -> None:
        super().__init__(dim, classes)
        self.recurrent = recurrent
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(_width(recurrent), classes)

    def classify(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        logits: Tensor = self.linear(self.dropout(read_to_the_end(self.recurrent, summary, mask)))
        return logits

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """What it says after this frame, if it reads in the order of time."""
        if not self.causal:
            return super().step(frame, state)
        logits: Tensor = self.linear(step(self.recurrent, self.standardise(frame), state))
        return logits


@register_head("lstm")
class LSTMHead(RecurrentHead):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    causal = True

    def __init__(self, dim: int, classes: int, *, hidden: int = 128, layers: int = 1, dropout: float = 0.5) -> None:
        super().__init__(dim, classes, nn.LSTM(dim, hidden, layers, batch_first=True), dropout)


@register_head("bilstm")
class BiLSTMHead(RecurrentHead):
    """LSTM in both directions (Graves and Schmidhuber 2005)."""

    def __init__(self, dim: int, classes: int, *, hidden: int = 128, layers: int = 1, dropout: float = 0.5) -> None:
        recurrent = nn.LSTM(dim, hidden, layers, batch_first=True, bidirectional=True)
        super().__init__(dim, classes, recurrent, dropout)


@register_head("gru")
class GRUHead(RecurrentHead):
    """Gated recurrent unit (Cho et al. 2014)."""

    causal = True

    def __init__(self, dim: int, classes: int, *, hidden: int = 128, layers: int = 1, dropout: float = 0.5) -> None:
        super().__init__(dim, classes, nn.GRU(dim, hidden, layers, batch_first=True), dropout)


@register_head("lrcn")
class LRCNHead(FeatureHead):
    """An LSTM with a prediction at every frame; their average is the answer (Donahue et al. 2015)."""

    causal = True

    def __init__(self, dim: int, classes: int, *, hidden: int = 256, dropout: float = 0.5) -> None:
        super().__init__(dim, classes)
        self.recurrent = nn.LSTM(dim, hidden, batch_first=True)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden, classes)

    def classify(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Log-probabilities, (B, classes)."""
        states, there = read(self.recurrent, summary, mask)
        return mean_of_predictions(self.linear(self.dropout(states)), there)

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """The rolling average of its predictions."""
        return state.mean_with(self.linear(step(self.recurrent, self.standardise(frame), state)))


@register_head("bilstm-dense")
class BiLSTMDenseHead(Head):
    """The head of VGG16 + BiLSTM: LayerNorm, BiLSTM(128), dropout, Dense(128, ReLU, L2 0.01), dropout, Dense(classes).

    PyTorch's LSTM has a second vector of biases, 2 x 4 x `hidden` more parameters than Keras counts.
    """

    def __init__(
        self, dim: int, classes: int, *, hidden: int = 128, dense: int = 128, l2: float = 0.01, dropout: float = 0.5
    ) -> None:
        super().__init__(classes)
        self.normalise = nn.LayerNorm(dim, eps=1e-3)
        self.recurrent = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.dense = nn.Linear(2 * hidden, dense)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(dense, classes)
        self.l2 = l2
        start_as_in_keras(self)

    def classify(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        ends = self.dropout(read_to_the_end(self.recurrent, self.normalise(summary), mask))
        logits: Tensor = self.linear(self.dropout(self.dense(ends).relu()))
        return logits

    def penalty(self) -> Tensor:
        """The sum of the dense layer's squared weights, `l2` times."""
        return self.l2 * self.dense.weight.square().sum()


@register_head("lstm-dense")
class LSTMDenseHead(Head):
    """The head of VGG16 + LSTM: LSTM(1200) on the flattened feature map, Dense(1024, ReLU), dropout, Dense(classes).

    On 3 x 2 x 512 numbers a frame and six classes that is 21,746,374 parameters in the counting of Keras, and
    36,461,062 with VGG16's convolutions; PyTorch's LSTM has a second vector of biases, 4 x `hidden` more.
    """

    causal = True

    def __init__(self, dim: int, classes: int, *, hidden: int = 1200, dense: int = 1024, dropout: float = 0.5) -> None:
        super().__init__(classes)
        self.recurrent = nn.LSTM(dim, hidden, batch_first=True)
        self.dense = nn.Linear(hidden, dense)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(dense, classes)
        start_as_in_keras(self)

    def classify(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        return self._of_state(read_to_the_end(self.recurrent, summary, mask))

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """What it says after this frame."""
        return self._of_state(step(self.recurrent, frame, state))

    def _of_state(self, last: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.dropout(self.dense(last).relu()))
        return logits


def step(recurrent: Recurrent, frame: Tensor, state: StepState) -> Tensor:
    """The layer's output after one frame more: (B, D) to (B, H)."""
    states, state.recurrent = recurrent(frame.unsqueeze(1), state.recurrent)
    last: Tensor = states[:, -1]
    return last


def read(recurrent: Recurrent, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The states at the frames that there are, in their order: (B, T, H), and which of those T places are filled."""
    packed, there = _packed(features, mask)
    states, _ = recurrent(packed)
    padded, _ = pad_packed_sequence(states, batch_first=True, total_length=mask.shape[1])
    return padded, there


def read_to_the_end(recurrent: Recurrent, features: Tensor, mask: Tensor) -> Tensor:
    """The state at the last frame that there is, and at the first one where the layer reads backwards too: (B, H)."""
    packed, _ = _packed(features, mask)
    _, state = recurrent(packed)
    last = state[0] if isinstance(recurrent, nn.LSTM) else state
    ends = last[-2:] if recurrent.bidirectional else last[-1:]
    return torch.cat(list(ends), dim=1)


def _packed(features: Tensor, mask: Tensor) -> tuple[nn.utils.rnn.PackedSequence, Tensor]:
    """Frames that were dropped may lie anywhere: those that there are move to the front, in their order."""
    order = (~mask).to(torch.int8).argsort(dim=1, stable=True)
    moved = features.gather(1, order.unsqueeze(-1).expand_as(features))
    packed = pack_padded_sequence(moved, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
    return packed, mask.gather(1, order)


def _width(recurrent: Recurrent) -> int:
    return recurrent.hidden_size * (2 if recurrent.bidirectional else 1)
