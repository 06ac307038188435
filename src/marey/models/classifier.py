"""One head a stream, and what they say together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from marey.models.head import Head, StepState
from marey.models.registry import create_head

States = dict[str, StepState]
"""What each head keeps of a source that is read frame by frame, by the head's name."""


class HeadSpec(BaseModel):
    """Which head is trained on the features.

    Attributes:
        name: a registered name.
        fusion: "late" trains one head a stream and averages their log-probabilities, as two-stream networks do
            (Simonyan and Zisserman 2014); "early" trains one head on the features of all streams side by side.
        weights: what a network that is fine-tuned begins from: "random", "pretrained", or the path of a file.
        options: of the head; those that are left out take their defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fusion: Literal["late", "early"] = "late"
    weights: str = "random"
    options: Annotated[dict[str, int | float], Field(default_factory=dict)]


class Classifier(nn.Module):
    """From the features of all streams to log-probabilities.

    Args:
        spec: the head.
        shapes: stream name to what is got of a clip: (D,) a frame, or (T, C, H, W) of all pictures.
        classes: number of labels.
    """

    def __init__(self, spec: HeadSpec, shapes: Mapping[str, tuple[int, ...]], classes: int) -> None:
        super().__init__()
        self.streams = tuple(shapes)
        self.fusion = spec.fusion
        options: Mapping[str, Any] = spec.options
        each = list(shapes.values()) if spec.fusion == "late" else [_together(list(shapes.values()))]
        self.heads: nn.ModuleList = nn.ModuleList(create_head(spec.name, shape, classes, options) for shape in each)
        self._names = self.streams if spec.fusion == "late" else ("together",)

    def prepare(self, features: Mapping[str, Tensor]) -> None:
        """Learn the scale of the features from those of the training clips, stream name to (N, T, D)."""
        self.prepare_condensed(self.condense(features))

    def prepare_condensed(self, condensed: Mapping[str, Tensor]) -> None:
        """The same from what `condense` gave of the training clips."""
        for name, head in self._named_heads():
            head.prepare_condensed(condensed[name])

    def load_pretrained(self, weights: str) -> None:
        """Begin from weights that were trained elsewhere, see `Head.load_pretrained`."""
        for _, head in self._named_heads():
            head.load_pretrained(weights)

    def penalty(self) -> Tensor | None:
        """What is added to the loss for the weights as they are; None for nothing."""
        found = [penalty for _, head in self._named_heads() if (penalty := head.penalty()) is not None]
        return torch.stack(found).sum() if found else None

    def summarise(self, features: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """What the trained layers of each head see, by the head's name: (B, ...)."""
        return self.finish(self.condense(features, mask), mask)

    def condense(self, features: Mapping[str, Tensor], mask: Tensor | None = None) -> dict[str, Tensor]:
        """What each head says of clips without having seen others, by the head's name: (B, ...)."""
        return {name: head.condense(values, mask) for name, head, values in self._inputs(features)}

    def finish(self, condensed: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """From there to what the trained layers of each head see."""
        return {name: head.finish(condensed[name], mask) for name, head in self._named_heads()}

    def head_logits(self, summaries: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """What each head says by itself to what `summarise` gave: (heads, B, classes)."""
        return torch.stack([head.classify(summaries[name], mask) for name, head in self._named_heads()])

    @property
    def causal(self) -> bool:
        """Whether a source can be read frame by frame, each frame once."""
        return all(head.causal for _, head in self._named_heads())

    def begin(self, memory: int) -> States:
        """Nothing is known of a source yet.

        Args:
            memory: frames over which heads average that say something to each.
        """
        return {name: StepState(memory) for name, _ in self._named_heads()}

    def step(self, features: Mapping[str, Tensor], states: States) -> Tensor:
        """Log-probabilities before calibration after one frame more, (B, classes); the states are taken further.

        Args:
            features: stream name to float32 (B, D), or uint8 (B, C, H, W).
            states: as `begin` gave them.

        Raises:
            UsageError: a head is not causal.
        """
        given = {stream: values.unsqueeze(1) for stream, values in features.items()}
        return fuse(torch.stack([head.step(value[:, 0], states[name]) for name, head, value in self._inputs(given)]))

    def forward(self, features: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """Log-probabilities before calibration.

        Args:
            features: stream name to float32 (B, T, D), or uint8 (B, T, C, H, W).
            mask: bool (B, T), true where there is a frame; all of them by default.

        Returns:
            float32 (B, classes).
        """
        if mask is None:
            first = next(iter(features.values()))
            mask = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device)
        return fuse(self.head_logits(self.summarise(features, mask), mask))

    def _named_heads(self) -> Iterator[tuple[str, Head]]:
        for name, head in zip(self._names, self.heads, strict=True):
            assert isinstance(head, Head)  # noqa: S101 - ModuleList has lost the type
            yield name, head

    def _inputs(self, features: Mapping[str, Tensor]) -> Iterator[tuple[str, Head, Tensor]]:
        values = [features[stream] for stream in self.streams]
        if self.fusion == "early":
            values = [torch.cat(values, dim=-1 if values[0].ndim == 3 else -3)]
        for (name, head), value in zip(self._named_heads(), values, strict=True):
            yield name, head, value


def _together(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Features stand side by side; pictures lie on each other, their colours side by side."""
    if len(shapes[0]) == 1:
        return (sum(dim for (dim,) in shapes),)
    frames, _, *size = shapes[0]
    return (frames, sum(shape[1] for shape in shapes), *size)


def fuse(head_logits: Tensor) -> Tensor:
    """The mean of the heads' log-probabilities, normalised: (heads, B, classes) to (B, classes)."""
    return head_logits.log_softmax(-1).mean(0).log_softmax(-1)
