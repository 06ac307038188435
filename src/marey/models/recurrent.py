"""Heads that read the frames of a clip one after the other."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from marey.models.head import Dropout, FeatureHead, Head, StepState, mean_of_predictions
from marey.models.init import keras_init_
from marey.models.registry import register_head

Recurrent = nn.LSTM | nn.GRU


class RecurrentHead(FeatureHead):
    """A recurrent layer read at the last frame (in both directions: at both ends), dropout, a linear layer.

    With `dense`, a layer of so many numbers (ReLU) and dropout stand before the last one.
    """

    def __init__(self, dim: int, classes: int, recurrent: Recurrent, dropout: float, dense: int = 0) -> None:
        super().__init__(dim, classes)
        self.recurrent = recurrent
        self.dropout = Dropout(dropout)
        self.dense = nn.Linear(_width(recurrent), dense) if dense else None
        self.linear = nn.Linear(dense or _width(recurrent), classes)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        return self._of_state(read_to_the_end(self.recurrent, summary, mask))

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """Return logits after one more frame, if the head is causal."""
        if not self.causal:
            return super().step(frame, state)
        return self._of_state(step(self.recurrent, self.standardise(frame), state))

    def _of_state(self, last: Tensor) -> Tensor:
        last = self.dropout(last)
        logits: Tensor = self.linear(last if self.dense is None else self.dropout(self.dense(last).relu()))
        return logits


@register_head("lstm")
class LSTMHead(RecurrentHead):
    """Long short-term memory (Hochreiter and Schmidhuber 1997).

    Args:
        dim: numbers a frame.
        classes: number of labels.
        hidden: numbers of the state.
        layers: one above the other.
        dense: numbers of a layer before the last; 0 for none.
        dropout: of the state that is read, and of the dense layer.
        between: dropout of what one layer gives the next; without effect in a single one.
    """

    causal = True

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        hidden: int = 128,
        layers: int = 1,
        dense: Annotated[int, Field(ge=0)] = 0,
        dropout: float = 0.5,
        between: float = 0.0,
    ) -> None:
        recurrent = nn.LSTM(dim, hidden, layers, batch_first=True, dropout=between if layers > 1 else 0.0)
        super().__init__(dim, classes, recurrent, dropout, dense)


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
    """An LSTM with a prediction at every frame; their average is the output (Donahue et al. 2015)."""

    causal = True

    def __init__(self, dim: int, classes: int, *, hidden: int = 256, dropout: float = 0.5) -> None:
        super().__init__(dim, classes)
        self.recurrent = nn.LSTM(dim, hidden, batch_first=True)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden, classes)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return log-probabilities, (B, classes)."""
        states, there = read(self.recurrent, summary, mask)
        return mean_of_predictions(self.linear(self.dropout(states)), there)

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """Return the moving average of its probabilities."""
        return state.mean_with(self.linear(step(self.recurrent, self.standardise(frame), state)))


@register_head("bilstm-dense")
class BiLSTMDenseHead(Head):
    """The head of VGG16 + BiLSTM: LayerNorm, BiLSTM(128), dropout, Dense(128, ReLU, L2 0.01), dropout, Dense(classes).

    PyTorch's LSTM has a second vector of biases, 2 x 4 x `hidden` more parameters than Keras counts.

    Args:
        dim: numbers a frame.
        classes: number of labels.
        hidden: numbers of the state in each direction.
        layers: of the BiLSTM.
        pooling: "ends" reads the last state of each direction; "mean" and "max" pool the states of all frames, as
            `return_sequences` with global pooling does.
        dense: numbers of the layer before the last.
        l2: penalty on its weights.
        dropout: before and after it.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        hidden: int = 128,
        layers: int = 1,
        pooling: Literal["ends", "mean", "max"] = "ends",
        dense: int = 128,
        l2: float = 0.01,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(classes)
        self.normalise = nn.LayerNorm(dim, eps=1e-3)
        self.recurrent = nn.LSTM(dim, hidden, layers, batch_first=True, bidirectional=True)
        self.dense = nn.Linear(2 * hidden, dense)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(dense, classes)
        self.l2 = l2
        self.pooling = pooling
        keras_init_(self)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        summed_up = self.dropout(self._pool_states(self.normalise(summary), mask))
        logits: Tensor = self.linear(self.dropout(self.dense(summed_up).relu()))
        return logits

    def _pool_states(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return one vector a clip: (B, T, D) to (B, 2 x hidden)."""
        if self.pooling == "ends":
            return read_to_the_end(self.recurrent, values, mask)
        states, there = read(self.recurrent, values, mask)
        if self.pooling == "max":
            return states.masked_fill(~there.unsqueeze(-1), -1.0).amax(1)  # no state is below -1
        weight = there.unsqueeze(-1).to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1)

    def penalty(self) -> Tensor:
        """Return the sum of the dense layer's squared weights, `l2` times."""
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
        keras_init_(self)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        return self._of_state(read_to_the_end(self.recurrent, summary, mask))

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """Return logits after one more frame."""
        return self._of_state(step(self.recurrent, frame, state))

    def _of_state(self, last: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.dropout(self.dense(last).relu()))
        return logits


def step(recurrent: Recurrent, frame: Tensor, state: StepState) -> Tensor:
    """Return the layer's output after one more frame: (B, D) to (B, H)."""
    states, state.recurrent = recurrent(frame.unsqueeze(1), state.recurrent)
    last: Tensor = states[:, -1]
    return last


def read(recurrent: Recurrent, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states at the frames of the mask, in their order: (B, T, H), and the mask of these states."""
    packed, there = _packed(features, mask)
    states, _ = recurrent(packed)
    padded, _ = pad_packed_sequence(states, batch_first=True, total_length=mask.shape[1])
    return padded, there


def read_to_the_end(recurrent: Recurrent, features: Tensor, mask: Tensor) -> Tensor:
    """Return the state at the last frame, and at the first one of a bidirectional layer: (B, H)."""
    packed, _ = _packed(features, mask)
    _, state = recurrent(packed)
    last = state[0] if isinstance(recurrent, nn.LSTM) else state
    ends = last[-2:] if recurrent.bidirectional else last[-1:]
    return torch.cat(list(ends), dim=1)


def _packed(features: Tensor, mask: Tensor) -> tuple[nn.utils.rnn.PackedSequence, Tensor]:
    """Pack sequences: the frames of the mask move to the front, in their order."""
    order = (~mask).to(torch.int8).argsort(dim=1, stable=True)
    moved = features.gather(1, order.unsqueeze(-1).expand_as(features))
    packed = pack_padded_sequence(moved, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
    return packed, mask.gather(1, order)


def _width(recurrent: Recurrent) -> int:
    return recurrent.hidden_size * (2 if recurrent.bidirectional else 1)
