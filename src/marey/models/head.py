"""What every head is: features of a clip in, logits out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from marey.errors import UsageError

Takes = Literal["features", "pictures"]
"""What a head is given: what an encoder made of the pictures, or the pictures themselves."""


class Standardise(nn.Module):
    """Each number less its mean over the training clips, divided by its deviation; both kept with the model.

    Features of a frozen network differ in scale by orders of magnitude, and motion features lie close together:
    without this a small head spends its training on the scale.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Take mean and deviation from the training set: values (N, D)."""
        mean = values.mean(0)
        self.fit_moments(mean, (values - mean).square_().mean(0))

    @torch.no_grad()
    def fit_moments(self, mean: Tensor, variance: Tensor) -> None:
        """Take them as they are: (D,) both."""
        self.mean.copy_(mean)
        deviation = variance.sqrt()
        # A number that hardly varies carries noise, and must not be blown up to the size of the others.
        floor = deviation.mean().clamp_min(1e-6) * 1e-2
        self.scale.copy_(1 / deviation.clamp_min(floor))

    def forward(self, values: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return (values - self.mean) * self.scale


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that draws eight numbers at a time.

    On a processor `nn.Dropout` draws one number after the other, which took half of the time of training a linear head
    on ten thousand features. Here each element costs a byte of chance, so the share is a multiple of 1/256.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"dropout={share}: it is a share, at least 0 and less than 1")
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """(...) to (...)."""
        dropped = min(255, round(self.share * 256))
        if not self.training or dropped == 0:
            return values
        count = values.numel()
        chance = torch.empty(-(-count // 8), dtype=torch.int64, device=values.device).random_(-(2**63), None)
        # As numbers at once: multiplying by truth values is ten times as slow on a processor.
        keep = torch.empty_like(values, requires_grad=False)
        torch.ge(chance.view(torch.uint8)[:count].view(values.shape), dropped, out=keep)
        return values * keep.mul_(256 / (256 - dropped))


@dataclass(slots=True)
class StepState:
    """What a head keeps of a source that it reads frame by frame.

    Attributes:
        memory: over how many frames a head averages that says something to each: as many as a clip had in training.
        recurrent: the state of its recurrent layer; None before the first frame.
        recent: what it said to the latest frames, (B, classes) each.
    """

    memory: int
    recurrent: Any = None
    recent: deque[Tensor] = field(default_factory=deque)

    def mean_with(self, logits: Tensor) -> Tensor:
        """Probabilities of this frame and of those before it, averaged, as log-probabilities: (B, classes)."""
        self.recent.append(logits.softmax(-1))
        if len(self.recent) > self.memory:
            self.recent.popleft()
        return torch.stack(list(self.recent)).mean(0).clamp_min(torch.finfo(logits.dtype).tiny).log()


class Head(nn.Module):
    """A trained network from one stream of a clip to logits: (B, T, ...) and a mask (B, T) to (B, classes).

    It has three parts: `condense` knows no other clip, and is worked out once for all trainings; `finish` knows the
    training clips (`prepare`), and is worked out once a training; `classify` is what is trained.

    On features, (B, T, D), T may differ from call to call. The mask is true where there is a frame, and at least once
    a clip; what stands elsewhere has no influence.

    Attributes:
        takes: "features" of an encoder, or the "pictures" themselves.
        causal: whether it can read a source frame by frame, and know at each what it would have said to all until then.
        classes: number of labels.
    """

    takes: ClassVar[Takes] = "features"
    causal: ClassVar[bool] = False

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def prepare(self, features: Tensor) -> None:
        """Learn what is fixed from the training clips, (N, T, ...), before training."""
        self.prepare_condensed(self.condense(features, None))

    def prepare_condensed(self, condensed: Tensor) -> None:
        """The same from what `condense` gave of them, (N, ...): by default nothing."""

    def load_pretrained(self, weights: str) -> None:
        """Begin from weights that were trained elsewhere: "pretrained" ones, or those in a file.

        Raises:
            UsageError: there are none for this head.
            WeightsError: they cannot be had.
        """
        raise UsageError(f"there are no weights to begin from for a {type(self).__name__}: leave head.weights=random")

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        logits: Tensor = self.classify(self.summarise(features, mask), mask)
        return logits

    def summarise(self, features: Tensor, mask: Tensor) -> Tensor:
        """What the trained layers see of clips, (B, ...); nothing in it is trained, so training works it out once."""
        return self.finish(self.condense(features, mask), mask)

    def condense(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """What can be said of each clip without having seen others, (B, ...); without a mask every frame is there."""
        return features if mask is None else blank(features, mask)

    def finish(self, condensed: Tensor, mask: Tensor) -> Tensor:
        """From there to what the trained layers see, (B, ...)."""
        return condensed

    def classify(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Logits of what `summarise` gave, (B, classes)."""
        raise NotImplementedError  # pragma: no cover

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """Logits after one frame more of a source, (B, ...) without an axis of time; the state is taken further.

        Raises:
            UsageError: the head is not causal.
        """
        raise UsageError(f"a {type(self).__name__} reads whole windows, and keeps no state from frame to frame")

    def penalty(self) -> Tensor | None:
        """What is added to the loss for the weights as they are; None for nothing."""
        return None


class FeatureHead(Head):
    """A head that standardises the features first, D numbers a frame."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__(classes)
        self.dim = dim
        self.standardise = Standardise(dim)

    def prepare_condensed(self, condensed: Tensor) -> None:
        """Learn the scale of the features from those of the training clips, (N, T, D)."""
        self.standardise.fit(condensed.flatten(0, 1))

    def finish(self, condensed: Tensor, mask: Tensor) -> Tensor:
        """The standardised features, (B, T, D), zero where the mask is false."""
        standard: Tensor = self.standardise(condensed)
        return standard * mask.unsqueeze(-1).to(standard.dtype)


def blank(features: Tensor, mask: Tensor) -> Tensor:
    """Features (B, T, D) with zeros where there is no frame. Zero times infinity is no number: they are filled in."""
    return features.masked_fill(~mask.unsqueeze(-1), 0.0)


def moments(features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance over the frames that there are: (B, T, D) to (B, D) both."""
    if mask is None:
        mean = features.mean(1)
        return mean, (features - mean.unsqueeze(1)).square_().mean(1)
    mean = masked_mean(features, mask)
    return mean, masked_mean((features - mean.unsqueeze(1)) ** 2, mask)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the frames that there are: (B, T, D), (B, T) to (B, D). No frame gives zeros."""
    weights = mask.to(values.dtype).unsqueeze(-1)
    return (values * weights).sum(1) / weights.sum(1).clamp_min(1)


def mean_of_predictions(logits: Tensor, mask: Tensor) -> Tensor:
    """What the frames say together, their probabilities averaged: (B, T, classes) to log-probabilities (B, classes)."""
    return masked_mean(logits.softmax(-1), mask).clamp_min(torch.finfo(logits.dtype).tiny).log()
