"""Dropout that is handed its chance, drawn for each classifier from a generator of its own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from marey.models.head import Dropout


class Chance:
    """What dropout leaves out in each of several classifiers, a byte an element, as `Dropout` would draw it.

    Each epoch has a seed, and within it the places where classifiers drop out draw one after the other: so what a
    classifier draws depends neither on those beside it nor on where a training was interrupted.

    Args:
        device: where it is drawn.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._places: list[tuple[int, tuple[int, ...]]] = []
        self._noting = True
        self._given: list[Tensor] = []
        self._sources: list[_Source] = []

    def begin(self, seeds: Sequence[int], counts: Sequence[Sequence[int]]) -> None:
        """Begin an epoch.

        Args:
            seeds: of each classifier.
            counts: of each classifier, the clips of each step.
        """
        # A processor's generator gives the same numbers however they are asked for: what several begin with is drawn
        # once, as many as the longest of them takes.
        shared: dict[int, Tensor] = {}
        if self._device == "cpu":
            for seed, number in Counter(seeds).items():
                if number > 1:
                    most = max(self._words(steps) for other, steps in zip(seeds, counts, strict=True) if other == seed)
                    shared[seed] = _drawn(torch.Generator().manual_seed(seed), most)
        self._sources = [_Source(seed, self._device, shared.get(seed)) for seed in seeds]

    def draw(self, counts: Sequence[int]) -> list[Tensor]:
        """What the next step is multiplied by, for each place where classifiers drop out.

        Args:
            counts: clips of each classifier.

        Returns:
            (K, B, ...) each, B the largest count; anything finite where a classifier has no clip.
        """
        found = []
        for dropped, shape in self._places:
            keep = torch.empty(len(counts), max(counts), *shape, device=self._device)
            for place, (count, source) in enumerate(zip(counts, self._sources, strict=True)):
                keep[place, count:] = 0
                chance = source.take(_words(count, shape)).view(torch.uint8)[: count * math.prod(shape)]
                # Written as numbers: PyTorch converts truth values one by one, six times as slowly.
                torch.ge(chance.view(count, *shape), dropped, out=keep[place, :count])
            found.append(keep.mul_(256 / (256 - dropped)))
        return found

    def give(self, keeps: Sequence[Tensor]) -> None:
        """What the classifier that is computed next multiplies by, place by place."""
        self._given = list(keeps)

    def drop(self, values: Tensor, dropped: int) -> Tensor:
        """Leave out what chance has chosen; while places are being noted, nothing."""
        if self._noting:
            self._places.append((dropped, tuple(values.shape[1:])))
            return values
        return values * self._given.pop(0)

    def noted(self) -> None:
        """All places are known."""
        self._noting = False

    def _words(self, steps: Sequence[int]) -> int:
        return sum(_words(count, shape) for count in steps for _, shape in self._places)


class GivenDropout(nn.Module):
    """Stands where a `Dropout` stood."""

    def __init__(self, share: float, chance: Chance) -> None:
        super().__init__()
        self._dropped = min(255, round(share * 256))
        self._chance = chance

    @classmethod
    def replace_in(cls, network: nn.Module, chance: Chance) -> None:
        """Put one in the place of each `Dropout` of a network."""
        for name, module in list(network.named_modules()):
            if isinstance(module, Dropout):
                network.set_submodule(name, cls(module.share, chance))

    def forward(self, values: Tensor) -> Tensor:
        """(...) to (...)."""
        return self._chance.drop(values, self._dropped) if self.training and self._dropped else values


class _Source:
    """The random words of one classifier in one epoch: from what was drawn for several, or from its own generator."""

    def __init__(self, seed: int, device: str, shared: Tensor | None) -> None:
        self._generator = torch.Generator(device).manual_seed(seed)
        self._shared = shared
        self._taken = 0

    def take(self, count: int) -> Tensor:
        if self._shared is None:
            return _drawn(self._generator, count)
        self._taken += count
        return self._shared[self._taken - count : self._taken]


def _drawn(generator: torch.Generator, count: int) -> Tensor:
    words = torch.empty(count, dtype=torch.int64, device=generator.device)
    return words.random_(-(2**63), None, generator=generator)


def _words(count: int, shape: Sequence[int]) -> int:
    """How many words of eight bytes a place draws for so many clips."""
    return -(-count * math.prod(shape) // 8)
