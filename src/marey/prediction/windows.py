"""Windows that slide over a source: each instant is encoded once, however many windows it lies in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from marey.encoders import Contract, Encoder, Features
from marey.errors import UsageError
from marey.models import ActionModel
from marey.prediction.instants import Instant

LONGEST_DEFAULT: Final = 2.0  # s: a longer window than this would swallow what is short
_OVERLAP: Final = 4  # windows that a network which reads them whole sees of each instant, by default


@dataclass(frozen=True, slots=True)
class Grid:
    """The instants that all windows share.

    A window's instants lie `spacing` grid steps apart, and windows begin `stride` steps apart:

        period      |-|
        instants     x x x x x x x x x x
        window 0     x   x   x   x              spacing 2, count 4
        window 1       x   x   x   x            stride 1

    Attributes:
        period: seconds from one instant to the next.
        count: instants of a window.
        spacing: steps from one instant of a window to the next.
        stride: steps from one window to the next.
    """

    period: float
    count: int
    spacing: int
    stride: int

    @property
    def span(self) -> int:
        """Steps that a window covers."""
        return self.count * self.spacing

    @property
    def window(self) -> float:
        """Seconds that a window covers."""
        return self.span * self.period

    @property
    def reach(self) -> int:
        """Instants from a window's first to its last."""
        return (self.count - 1) * self.spacing + 1


def plan_grid(
    contract: Contract, *, window: float | None, typical: float | None, stride: float | None, whole: bool
) -> Grid:
    """The grid for windows of a length and a stride in seconds, rounded so that windows share their instants.

    A stride that is longer than the distance of a window's instants becomes a multiple of that. A shorter one is kept,
    and the window becomes a multiple of it; where the window is the sampling's own, the stride gives way.

    Args:
        contract: of the model.
        window: seconds; None for `typical`, but at most two.
        typical: seconds of the clips that the model learned from; None where nobody knows.
        stride: seconds; None for a window's own spacing, and where windows are read whole for a quarter of it.
        whole: whether each window costs as much as the first, since nothing of it can be shared.

    Raises:
        UsageError: a window for a model whose sampling has its own length, or windows for one that looks at key frames.
    """
    if contract.sampling.frames == "keyframes":
        raise UsageError(
            "this model looks at key frames, which lie seconds apart, and windows look at every moment of a video; "
            "label whole clips with it, or train with sampling.frames=exact"
        )
    count = contract.sampling.count
    if contract.sampling.rate is not None:
        own = count / contract.sampling.rate
        if window is not None and abs(window - own) > 1e-6:
            raise UsageError(
                f"window={window:g}: this model samples {contract.sampling.rate:g} instants a second, {count} of them, "
                f"and its window is {own:g} s; leave window out"
            )
        window = own
    elif window is None:
        window = min(typical or LONGEST_DEFAULT, LONGEST_DEFAULT)
    apart = window / count
    if stride is None:
        stride = window / _OVERLAP if whole else apart
    if stride < apart:
        spacing = max(1, round(apart / stride))
        return Grid(apart / spacing if contract.sampling.rate is not None else stride, count, spacing, 1)
    return Grid(apart, count, 1, max(1, round(stride / apart)))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says to one window.

    Attributes:
        first: the grid index of its first instant.
        last: of its last instant.
        probabilities: float64 (classes,).
    """

    first: int
    last: int
    probabilities: Tensor


class Payloads:
    """What is kept of each instant: its features, or its pictures where the encoder reads whole windows.

    A picture that is made of the same frames as the one before, as when a source stands still or frames were dropped,
    is not encoded again.

    Args:
        encoder: the frozen network.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._last: dict[str, tuple[tuple[int, ...], Tensor]] = {}

    def of(self, instants: Sequence[Instant]) -> list[Features]:
        """Stream name to (D,), or to uint8 (C, H, W), of each instant, all encoded together."""
        wanted: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        for instant in instants:
            for stream, seen in instant.seen.items():
                if self._last.get(stream, (None,))[0] != seen:
                    wanted[stream, seen] = instant.pictures[stream]
        encoded: dict[tuple[str, tuple[int, ...]], Tensor] = {
            (stream, seen): values for stream, (seen, values) in self._last.items()
        }
        if wanted:
            pictures = torch.stack(list(wanted.values()))
            values = self._encoder.encode_clips(pictures.unsqueeze(0))[0] if self._encoder.per_picture else pictures
            encoded.update(zip(wanted, values, strict=True))
        found = [{stream: encoded[stream, seen] for stream, seen in instant.seen.items()} for instant in instants]
        if instants:
            self._last = {stream: (seen, found[-1][stream]) for stream, seen in instants[-1].seen.items()}
        return found


class Windows:
    """A ring of what is known of the latest instants, and the model's answer to each window that is complete.

    Args:
        model: head and contract.
        encoder: its encoder.
        grid: where windows lie.
    """

    def __init__(self, model: ActionModel, encoder: Encoder, grid: Grid) -> None:
        self._model = model
        self._encoder = encoder
        self._grid = grid
        self._payloads = Payloads(encoder)
        self._ring: deque[Features] = deque(maxlen=grid.reach)
        self._next = 0  # grid index of the next instant

    def add(self, instants: Sequence[Instant]) -> list[Answer]:
        """The answers to the windows that end with these instants, which follow those before."""
        ready: list[tuple[int, Features]] = []
        for payload in self._payloads.of(instants):
            self._ring.append(payload)
            first = self._next - self._grid.reach + 1
            if first >= 0 and first % self._grid.stride == 0:
                chosen = [self._ring[place] for place in range(0, self._grid.reach, self._grid.spacing)]
                ready.append((first, self._features(chosen)))
            self._next += 1
        if not ready:
            return []
        found = self._model.batch_probabilities([features for _, features in ready])
        return [
            Answer(first, first + self._grid.reach - 1, probabilities)
            for (first, _), probabilities in zip(ready, found, strict=True)
        ]

    def _features(self, chosen: Sequence[Features]) -> Features:
        stacked = {stream: torch.stack([payload[stream] for payload in chosen]) for stream in chosen[0]}
        if self._encoder.per_picture:
            return stacked
        return {stream: self._encoder.encode_clips(pictures.unsqueeze(0))[0] for stream, pictures in stacked.items()}


class Carried:
    """A causal head that takes one step an instant; what it knows of the past is its state, and no instant is kept.

    Args:
        model: head and contract.
        encoder: its encoder, which encodes each picture by itself.

    Raises:
        UsageError: the head or the encoder reads whole windows.
    """

    def __init__(self, model: ActionModel, encoder: Encoder) -> None:
        if not can_carry(model, encoder):
            raise UsageError(
                f"memory='carried': the head '{model.config.head.name}' on {model.config.contract.encoder.name} reads "
                "whole windows and has no state to carry; leave memory at 'window'"
            )
        self._model = model
        self._payloads = Payloads(encoder)
        self._states = model.classifier.begin(model.config.contract.sampling.count)
        self._next = 0

    def add(self, instants: Sequence[Instant]) -> list[Answer]:
        """The answers after each of these instants, which follow those before."""
        found = []
        for payload in self._payloads.of(instants):
            found.append(Answer(self._next, self._next, self._model.step(payload, self._states)))
            self._next += 1
        return found


def can_carry(model: ActionModel, encoder: Encoder) -> bool:
    """Whether a source can be read with a state that is carried from instant to instant."""
    return model.classifier.causal and encoder.per_picture
