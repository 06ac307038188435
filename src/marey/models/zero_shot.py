"""Labels without training: the cosine of a clip with the words of each label."""

from __future__ import annotations

from typing import ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from marey.models.head import Head, masked_mean
from marey.models.registry import register_head

ZERO_SHOT: Final = "zero-shot"
"""Name of the head that has nothing to train."""


@register_head(ZERO_SHOT)
class ZeroShotHead(Head):
    """Cosines of a clip with sentences, scaled as the network's training scaled them (Radford et al. 2021).

    The vectors of the frames, each of length one, are averaged over the clip, and the mean is brought to length one.
    Of X-CLIP (Ni et al. 2022) the first vector is the video's, and the others change the sentences.

    Args:
        dim: D of the vectors.
        classes: number of labels.
        prompts: sentences with {label} in them, separated by "|"; the vectors of several are averaged.

    Raises:
        ValueError: a sentence without {label}.
    """

    trains: ClassVar[bool] = False
    words: Tensor

    def __init__(self, dim: int, classes: int, *, prompts: str = "a video of a person {label}") -> None:
        super().__init__(classes)
        self.templates = tuple(part.strip() for part in prompts.split("|"))
        without = [part for part in self.templates if "{label}" not in part]
        if without:
            raise ValueError(f"the prompt '{without[0]}' has no {{label}} in it")
        self.register_buffer("words", torch.zeros(classes, dim))
        self.scale, self.bias = 1.0, 0.0
        self.prompts: nn.Module | None = None

    def sentences(self, label: str) -> list[str]:
        """Return the sentences of a label."""
        return [template.replace("{label}", label) for template in self.templates]

    def set_words(self, vectors: Tensor, *, scale: float, bias: float, prompts: nn.Module | None) -> None:
        """Set the vectors of the labels, (classes, D), and how cosines become logits; see `WordEmbeddings`."""
        self.words.copy_(vectors)
        self.scale, self.bias, self.prompts = scale, bias, prompts

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        return self.cosines(summary, mask) * self.scale + self.bias

    def cosines(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the cosine of each clip with each label: (B, T, D), (B, T) to (B, classes)."""
        if self.prompts is None:
            clips = normalize(masked_mean(normalize(features, dim=-1), mask), dim=-1)
            return clips @ normalize(self.words, dim=-1).T
        words = self.words.expand(len(features), -1, -1)
        words = normalize(words + self.prompts(words, features[:, 1:]), dim=-1)
        return torch.einsum("bd,bkd->bk", normalize(features[:, 0], dim=-1), words)
