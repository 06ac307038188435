"""The average of heads that were trained with several seeds: a head itself, or one linear layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor, nn

from marey.models.head import Head, StepState

PREFIX: Final = "members."
"""Of the tensors of linear members in `model.safetensors`."""


class Members(Head):
    """Heads of one kind, trained on the same clips with other seeds: the mean of their log-probabilities.

    An ensemble (Lakshminarayanan et al. 2017) with the geometric mean of the probabilities, as streams are fused. What
    of the heads is fixed, or fitted to the training clips, is the same in all, and is computed by the first.

    Args:
        heads: at least one.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__(heads[0].classes)
        self.members = nn.ModuleList(heads)
        self.causal = heads[0].causal

    @property
    def each(self) -> tuple[Head, ...]:
        """The heads."""
        return tuple(head for head in self.members if isinstance(head, Head))

    @property
    def typical(self) -> Tensor | None:
        """The mean of the training features, see `Head.typical`."""
        return self.each[0].typical

    def fit_normalizer(self, condensed: Tensor) -> None:
        """Fit the fixed parts to condensed training clips, (N, ...)."""
        for head in self.each:
            head.fit_normalizer(condensed)

    def pool(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return the fixed part of each clip, (B, ...)."""
        return self.each[0].pool(features, mask)

    def normalize(self, condensed: Tensor, mask: Tensor) -> Tensor:
        """Return the input of the trained layers from condensed clips, (B, ...)."""
        return self.each[0].normalize(condensed, mask)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of the log-probabilities, (B, classes)."""
        return self.member_logits(summary, mask).log_softmax(-1).mean(0)

    def member_logits(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return the logits of each member, (members, B, classes)."""
        return torch.stack([head.forward_head(summary, mask) for head in self.each])

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """Return the mean of the members' log-probabilities after one more frame; each has a state of its own."""
        if state.recurrent is None:
            state.recurrent = [StepState(state.memory) for _ in self.each]
        logits = [head.step(frame, own) for head, own in zip(self.each, state.recurrent, strict=True)]
        return torch.stack(logits).log_softmax(-1).mean(0)


@dataclass(frozen=True)
class LinearMembers:
    """The linear layers that were averaged into one, which show how much the seed changes the answers.

    Attributes:
        weights: float32 (members, classes, D), one a head of the classifier.
        biases: float32 (members, classes), likewise.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @classmethod
    def of(cls, heads: Sequence[Sequence[nn.Linear]]) -> Self:
        """Return the layers of each head, one a member."""
        weights = tuple(torch.stack([layer.weight.detach() for layer in layers]) for layers in heads)
        return cls(weights, tuple(torch.stack([layer.bias.detach() for layer in layers]) for layers in heads))

    def logits(self, summaries: Iterable[Tensor]) -> list[Tensor]:
        """Return the logits of each head and member from the input of each head, (B, D): (members, B, classes) each."""
        given = zip(summaries, self.weights, self.biases, strict=True)
        return [torch.einsum("bd,mkd->mbk", values, weight) + bias[:, None] for values, weight, bias in given]

    def state(self) -> dict[str, Tensor]:
        """Return its tensors, named as in `model.safetensors`."""
        pairs = enumerate(zip(self.weights, self.biases, strict=True))
        return {f"{PREFIX}{number}.{name}": values for number, both in pairs for name, values in _named(both)}

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], *, layers: Sequence[nn.Linear], members: int) -> Self:
        """Return it from its tensors.

        Args:
            state: names to tensors.
            layers: the average, one a head.
            members: their number.

        Raises:
            KeyError: one is missing.
            RuntimeError: their shapes are not those of the layers.
        """
        found = [(state[f"{PREFIX}{n}.weight"], state[f"{PREFIX}{n}.bias"]) for n in range(len(layers))]
        for (weight, bias), layer in zip(found, layers, strict=True):
            if weight.shape != (members, *layer.weight.shape) or bias.shape != (members, *layer.bias.shape):
                raise RuntimeError(f"the tensors of {PREFIX}* are not those of {members} linear heads")
        return cls(tuple(weight for weight, _ in found), tuple(bias for _, bias in found))


def _named(both: tuple[Tensor, Tensor]) -> list[tuple[str, Tensor]]:
    return [("weight", both[0].contiguous()), ("bias", both[1].contiguous())]


def average_heads(members: Sequence[Sequence[Head]]) -> tuple[list[Head], LinearMembers | None]:
    """Return one head in place of several for each stream.

    Heads that are one linear layer become one linear layer with the mean weights, which gives the same probabilities
    at the cost of one: the mean of log-probabilities differs from the mean of the logits by a number a clip.

    Args:
        members: the heads of each stream, one a member.

    Returns:
        A head a stream; and, where they are linear, the layers that were averaged.
    """
    layers = [[layer for head in heads if (layer := head.only_layer) is not None] for heads in members]
    if any(len(found) < len(heads) for found, heads in zip(layers, members, strict=True)):
        return [Members(heads) for heads in members], None
    averaged, kept = [deepcopy(heads[0]) for heads in members], LinearMembers.of(layers)
    with torch.no_grad():
        for head, weight, bias in zip(averaged, kept.weights, kept.biases, strict=True):
            layer = head.only_layer
            assert layer is not None  # noqa: S101 - asked before
            layer.weight.copy_(weight.double().mean(0))
            layer.bias.copy_(bias.double().mean(0))
    return averaged, kept
