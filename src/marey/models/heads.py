"""Heads that read all frames at once, from the mean to the transformer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from marey.models.head import (
    Dropout,
    FeatureHead,
    Standardise,
    StepState,
    masked_mean,
    masked_moments,
    mean_of_predictions,
)
from marey.models.registry import register_head


@register_head("mean")
class MeanHead(FeatureHead):
    """The mean over time and a linear layer: a baseline without temporal order."""

    def __init__(self, dim: int, classes: int, *, dropout: float = 0.5) -> None:
        super().__init__(dim, classes)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(dim, classes)

    def pool(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return mean and variance over time, (B, 2, D)."""
        return torch.stack(masked_moments(super().pool(features, mask), mask), dim=1)

    def fit_normalizer(self, condensed: Tensor) -> None:
        """Fit the scale of the features to mean and variance of each training clip, (N, 2, D)."""
        self.standardise.fit_moments(*_together(condensed[:, 0], condensed[:, 1]))

    def normalize(self, condensed: Tensor, mask: Tensor) -> Tensor:
        """Return the standardised mean, (B, D)."""
        standard: Tensor = self.standardise(condensed[:, 0])
        return standard

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        logits: Tensor = self.linear(self.dropout(summary))
        return logits


@register_head("frame-average")
class FrameAverageHead(FeatureHead):
    """Each frame classified by itself, probabilities averaged: a baseline without time."""

    causal = True

    def __init__(self, dim: int, classes: int, *, dropout: float = 0.5) -> None:
        super().__init__(dim, classes)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(dim, classes)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return log-probabilities, (B, classes)."""
        return mean_of_predictions(self.linear(self.dropout(summary)), mask)

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """Return the moving average of the frames' probabilities."""
        return state.mean_with(self.linear(self.standardise(frame)))


@register_head("pyramid")
class PyramidHead(FeatureHead):
    """Mean and deviation over the clip and the means of its parts, each standardised; then a linear layer.

    A temporal pyramid with one level below the whole (after Lazebnik et al. 2006): the parts keep the coarse temporal
    order, the deviation the amount of motion. It is linear, to learn from a few dozen clips.
    """

    def __init__(self, dim: int, classes: int, *, parts: int = 3, dropout: float = 0.5) -> None:
        super().__init__(dim, classes)
        self.parts = parts
        pooled = dim * (2 + parts)
        self.pooled = Standardise(pooled)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(pooled, classes)
        nn.init.zeros_(self.linear.weight)  # starts from equal probabilities, whatever the seed
        nn.init.zeros_(self.linear.bias)

    def pool(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return mean and variance over the clip and the means of its parts: (B, T, D) to (B, 2 + parts, D)."""
        features = super().pool(features, mask)
        mean, variance = masked_moments(features, mask)
        there = mask if mask is not None else torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        # A frame belongs to the part that its rank among the frames of the mask falls into.
        place = there.cumsum(1) - 1
        part = place * self.parts // there.sum(1, keepdim=True)
        parts = []
        for number in range(self.parts):
            inside = there & (part == number)
            # With fewer frames than parts some are empty: they get the mean of the whole clip.
            some = inside.any(1, keepdim=True)
            parts.append(torch.where(some, masked_mean(features, inside), mean))
        return torch.stack([mean, variance, *parts], dim=1)

    def fit_normalizer(self, condensed: Tensor) -> None:
        """Fit the scale of the features and of their statistics over time."""
        self.standardise.fit_moments(*_together(condensed[:, 0], condensed[:, 1]))
        self.pooled.fit(self._standard(condensed))

    def normalize(self, condensed: Tensor, mask: Tensor) -> Tensor:
        """Return standardised statistics over time, with deviation for variance: (B, (2 + parts) D)."""
        standard: Tensor = self.pooled(self._standard(condensed))
        return standard

    def _standard(self, condensed: Tensor) -> Tensor:
        """Return the statistics of standardised features from those of raw features."""
        deviation = (condensed[:, 1] * self.standardise.scale.square() + 1e-8).sqrt()
        mean, parts = self.standardise(condensed[:, 0]), self.standardise(condensed[:, 2:])
        return torch.cat([mean, deviation, parts.flatten(1)], dim=1)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        logits: Tensor = self.linear(self.dropout(summary))
        return logits


@register_head("tcn")
class TemporalConvolutionHead(FeatureHead):
    """Residual convolutions over time with doubled dilation in each layer (Lea et al. 2017), then the mean.

    The dilation ends at 512 frames, so that memory is bounded for any number of layers.
    """

    def __init__(self, dim: int, classes: int, *, hidden: int = 128, layers: int = 3, dropout: float = 0.3) -> None:
        super().__init__(dim, classes)
        self.project = nn.Linear(dim, hidden)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(hidden, hidden, 3, padding=apart, dilation=apart),
                nn.ReLU(),
                Dropout(dropout),
                nn.Conv1d(hidden, hidden, 1),
            )
            for apart in (2 ** min(level, 9) for level in range(layers))
        )
        self.linear = nn.Linear(hidden, classes)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        there = mask.unsqueeze(1)
        values = self.project(summary).transpose(1, 2) * there
        for layer in self.layers:
            values = (values + layer(values)) * there
        logits: Tensor = self.linear(masked_mean(values.transpose(1, 2), mask))
        return logits


@register_head("attention")
class AttentionHead(FeatureHead):
    """Attention with learned queries over the frames (attentive probe: Bardes et al. 2024).

    The position of each frame is added to it, as sines and cosines, so that another order is another answer.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        hidden: int = 128,
        heads: int = 4,
        queries: int = 2,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(dim, classes)
        self.project = nn.Sequential(nn.Linear(dim, hidden), nn.LayerNorm(hidden))
        self.queries = nn.Parameter(torch.randn(queries, hidden) * 0.02)
        self.attention = nn.MultiheadAttention(hidden, heads, dropout=dropout, batch_first=True)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(queries * hidden, classes)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        values = self.project(summary) + positions(mask, self.queries.shape[1])
        queries = self.queries.expand(len(values), -1, -1)
        found, _ = self.attention(queries, values, values, key_padding_mask=~mask, need_weights=False)
        logits: Tensor = self.linear(self.dropout(found.flatten(1)))
        return logits


@register_head("transformer")
class TransformerHead(FeatureHead):
    """Self-attention over the frames (Vaswani et al. 2017), then the mean.

    The position of each frame is added to it, as sines and cosines, so that another order is another answer.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        hidden: int = 128,
        heads: int = 4,
        layers: int = 2,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(dim, classes)
        self.project = nn.Sequential(nn.Linear(dim, hidden), nn.LayerNorm(hidden))
        layer = nn.TransformerEncoderLayer(
            hidden, heads, 2 * hidden, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.linear = nn.Linear(hidden, classes)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        values = self.project(summary) + positions(mask, self.linear.in_features)
        values = self.encoder(values, src_key_padding_mask=~mask)
        logits: Tensor = self.linear(masked_mean(values, mask))
        return logits


@register_head("step")
class TemporalEmbeddingProbe(FeatureHead):
    """Self-attention over the frames with learned positions, read at one token of the clip.

    The probe of Ponbagavathi and Roitberg (2025), "STEP": one layer of attention without the layers between, so that
    it has a fraction of the parameters of a transformer. Its positions begin as sines and cosines and are learned; for
    clips of another length they are interpolated.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        hidden: int = 128,
        heads: int = 4,
        places: int = 16,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(dim, classes)
        self.project = nn.Sequential(nn.Linear(dim, hidden), nn.LayerNorm(hidden))
        self.token = nn.Parameter(torch.randn(hidden) * 0.02)
        self.places = nn.Parameter(positions(torch.ones(1, places), hidden)[0].clone())
        self.attention = nn.MultiheadAttention(hidden, heads, dropout=dropout, batch_first=True)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden, classes)

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        values = self.project(summary) + self._positions(mask.shape[1])
        values = torch.cat([self.token.expand(len(values), 1, -1), values], dim=1)
        unused = nn.functional.pad(~mask, (1, 0))
        found, _ = self.attention(values[:, :1], values, values, key_padding_mask=unused, need_weights=False)
        logits: Tensor = self.linear(self.dropout(found[:, 0]))
        return logits

    def _positions(self, length: int) -> Tensor:
        table = self.places.T.unsqueeze(0)
        return nn.functional.interpolate(table, length, mode="linear", align_corners=True)[0].T


def _together(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of all frames from those of clips of one length: (N, D) to (D,)."""
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


def positions(mask: Tensor, dim: int) -> Tensor:
    """Return sines and cosines of the position in the clip, from 0 to 1 for any T: (B, T) to (B, T, dim)."""
    place = torch.linspace(0, 1, mask.shape[1], device=mask.device)
    half = (dim + 1) // 2
    frequency = torch.exp(torch.linspace(0, math.log(100.0), half, device=mask.device))
    angle = math.pi * place.unsqueeze(-1) * frequency
    table = torch.cat([angle.sin(), angle.cos()], dim=-1)[:, :dim]
    return table.expand(len(mask), -1, -1)
