"""What every head is: features of a clip in, logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
        self.mean.copy_(values.mean(0))
        deviation = values.std(0, correction=0)
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
        keep = chance.view(torch.uint8)[:count].view(values.shape) >= dropped
        return values * keep * (256 / (256 - dropped))


class Head(nn.Module):
    """A trained network from the features of one stream to logits: (B, T, D) and a mask (B, T) to (B, classes).

    T may differ from call to call. The mask is true where there is a frame, and at least once a clip; what stands
    elsewhere has no influence.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.dim = dim
        self.classes = classes
        self.standardise = Standardise(dim)

    def prepare(self, features: Tensor) -> None:
        """Learn the scale of the features from those of the training clips, (N, T, D), before training."""
        self.standardise.fit(features.flatten(0, 1))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        logits: Tensor = self.classify(self.summarise(features, mask), mask)
        return logits

    def summarise(self, features: Tensor, mask: Tensor) -> Tensor:
        """What the trained layers see of clips, (B, ...); nothing in it is trained, so training works it out once.

        By default the standardised features, (B, T, D), zero where the mask is false.
        """
        # Filled and not multiplied: zero times infinity is no number.
        standard: Tensor = self.standardise(features)
        return standard.masked_fill(~mask.unsqueeze(-1), 0.0)

    def classify(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Logits of what `summarise` gave, (B, classes)."""
        raise NotImplementedError  # pragma: no cover


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the frames that there are: (B, T, D), (B, T) to (B, D). No frame gives zeros."""
    weights = mask.to(values.dtype).unsqueeze(-1)
    return (values * weights).sum(1) / weights.sum(1).clamp_min(1)
