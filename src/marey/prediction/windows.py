"""Inference over a source: sliding windows whose frames are encoded once, or a recurrent state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor

from marey.encoders import Contract, Encoder, Features, feature_streams
from marey.errors import UsageError
from marey.models import ActionModel
from marey.prediction.frame_sampler import Sample

Seen: TypeAlias = "Mapping[str, tuple[int, ...]]"
LONGEST_DEFAULT: Final = 2.0  # s: a longer window would miss short actions
_OVERLAP: Final = 4  # windows that overlap at each timestamp by default, where a network reads them whole


@dataclass(frozen=True, slots=True)
class Grid:
    """The timestamps that all windows share.

    A window's timestamps lie `spacing` grid steps apart, and windows begin `stride` steps apart:

        period      |-|
        timestamps   x x x x x x x x x x
        window 0     x   x   x   x              spacing 2, count 4
        window 1       x   x   x   x            stride 1

    Attributes:
        period: seconds from one timestamp to the next.
        count: timestamps of a window.
        spacing: steps from one timestamp of a window to the next.
        stride: steps from one window to the next.
    """

    period: float
    count: int
    spacing: int
    stride: int

    @property
    def span(self) -> int:
        """Grid steps that a window covers."""
        return self.count * self.spacing

    @property
    def window(self) -> float:
        """Seconds that a window covers."""
        return self.span * self.period

    @property
    def reach(self) -> int:
        """Timestamps from a window's first to its last."""
        return (self.count - 1) * self.spacing + 1


def plan_grid(
    contract: Contract, *, window: float | None, typical: float | None, stride: float | None, whole: bool
) -> Grid:
    """Return the grid for windows of a length and a stride in seconds, rounded so that windows share timestamps.

    A stride longer than the spacing of a window's timestamps becomes a multiple of it. A shorter one is kept, and the
    window becomes a multiple of the stride; where the sampling fixes the window, the stride is rounded instead.

    Args:
        contract: of the model.
        window: seconds; None for `typical`, but at most two.
        typical: seconds of the clips that the model was trained on; None where it is not known.
        stride: seconds; None for the spacing of a window's timestamps, or a quarter of the window if `whole`.
        whole: whether a network reads whole windows, so that they share no features.

    Raises:
        UsageError: a window for a model whose sampling fixes it, or windows for a model that reads key frames.
    """
    if contract.sampling.frames == "keyframes":
        raise UsageError(
            "this model reads key frames, which lie seconds apart, and a sliding window needs all times of a video; "
            "label whole clips with it, or train with sampling.frames=exact"
        )
    count = contract.sampling.count
    if contract.sampling.rate is not None:
        own = count / contract.sampling.rate
        if window is not None and abs(window - own) > 1e-6:
            raise UsageError(
                f"window={window:g}: this model samples {contract.sampling.rate:g} frames a second, {count} of them, "
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
class WindowOutput:
    """The probabilities of one window.

    Attributes:
        first: the grid index of its first timestamp.
        last: of its last timestamp.
        probabilities: float64 (classes,).
        unfamiliarity: how unlike the training clips it is, above 1 for unknown; None where the model cannot tell.
    """

    first: int
    last: int
    probabilities: Tensor
    unfamiliarity: float | None = None

    def with_unknown(self) -> Tensor:
        """Return the probabilities with "unknown" as the last class, (classes + 1,): all or nothing is its."""
        if self.unfamiliarity is not None and self.unfamiliarity > 1:
            return torch.cat([torch.zeros_like(self.probabilities), torch.ones(1, dtype=torch.float64)])
        return torch.cat([self.probabilities, torch.zeros(1, dtype=torch.float64)])


class FeatureBuffer:
    """The features of each sample, or its images where the encoder reads whole windows.

    An image made of the same frames as the one before, as when a source stands still or frames were dropped, is not
    encoded again.

    Args:
        encoder: the frozen network.
        own: names of the streams that make their features themselves, of whole windows.
    """

    def __init__(self, encoder: Encoder, own: Iterable[str] = ()) -> None:
        self._encoder = encoder
        self._own = frozenset(own)
        self._last: dict[str, tuple[tuple[int, ...], Tensor]] = {}

    def of(self, samples: Sequence[Sample]) -> list[Features]:
        """Return stream name to (D,), or to what whole windows are encoded from, of each sample, as one batch."""
        missing: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        for sample in samples:
            for stream, seen in sample.seen.items():
                if self._last.get(stream, (None,))[0] != seen:
                    missing[stream, seen] = sample.images[stream]
        encoded: dict[tuple[str, tuple[int, ...]], Tensor] = {
            (stream, seen): values for stream, (seen, values) in self._last.items()
        }
        if missing:
            encoded.update(missing)
            seen_by_encoder = [key for key in missing if key[0] not in self._own]
            if self._encoder.per_image and seen_by_encoder:
                images = torch.stack([missing[key] for key in seen_by_encoder])
                encoded.update(zip(seen_by_encoder, self._encoder.encode_clips(images.unsqueeze(0))[0], strict=True))
        found = [{stream: encoded[stream, seen] for stream, seen in sample.seen.items()} for sample in samples]
        if samples:
            self._last = {stream: (seen, found[-1][stream]) for stream, seen in samples[-1].seen.items()}
        return found


class WindowInference:
    """A ring buffer of the features of the latest samples, and the model's output for each complete window.

    A window of the same frames as the window before, while a source stands still, has its output.

    Args:
        model: head and contract.
        encoder: its encoder.
        grid: the windows.
    """

    def __init__(self, model: ActionModel, encoder: Encoder, grid: Grid) -> None:
        self._model = model
        self._encoder = encoder
        self._grid = grid
        self._own = feature_streams(model.config.contract.streams)
        self._features = FeatureBuffer(encoder, self._own)
        self._ring: deque[tuple[Seen, Features]] = deque(maxlen=grid.reach)
        self._next = 0  # grid index of the next sample
        self._seen: list[Seen] = []  # of the latest window
        self._answer: tuple[Tensor, float | None] = (torch.empty(0), None)

    def add(self, samples: Sequence[Sample]) -> list[WindowOutput]:
        """Return the outputs of the windows that end with these samples, which follow those before."""
        ready: list[tuple[int, Features | None]] = []  # None: made of the same frames as the window before
        latest, answer = self._seen, self._answer
        for sample, features in zip(samples, self._features.of(samples), strict=True):
            self._ring.append((sample.seen, features))
            first = self._next - self._grid.reach + 1
            if first >= 0 and first % self._grid.stride == 0:
                chosen = [self._ring[place] for place in range(0, self._grid.reach, self._grid.spacing)]
                seen = [each for each, _ in chosen]
                ready.append((first, None if seen == latest else self._stacked([each for _, each in chosen])))
                latest = seen
            self._next += 1
        if not ready:
            return []
        new = [features for _, features in ready if features is not None]
        found: Iterator[tuple[Tensor, float | None]] = iter(self._answers(new) if new else ())
        outputs = []
        for first, window in ready:
            if window is not None:
                answer = next(found)
            outputs.append(WindowOutput(first, first + self._grid.reach - 1, *answer))
        self._seen, self._answer = latest, answer
        return outputs

    def _answers(self, windows: Sequence[Features]) -> list[tuple[Tensor, float | None]]:
        """Return probabilities, (classes,), and the unfamiliarity of each window, where the model can tell it."""
        found, strange = self._model.batch_answers(windows)
        return list(zip(found, [None] * len(windows) if strange is None else strange.tolist(), strict=True))

    def _stacked(self, chosen: Sequence[Features]) -> Features:
        stacked = {stream: torch.stack([features[stream] for features in chosen]) for stream in chosen[0]}
        return {stream: self._encoded(stream, values) for stream, values in stacked.items()}

    def _encoded(self, stream: str, values: Tensor) -> Tensor:
        """Return the features of a stream in a window, (T, D); without an encoder of windows they are known."""
        if stream in self._own:
            return self._own[stream].encode(values)
        return values if self._encoder.per_image else self._encoder.encode_clips(values.unsqueeze(0))[0]


class RecurrentInference:
    """A causal head that takes one step a sample; it keeps a state, and no samples.

    Args:
        model: head and contract.
        encoder: its encoder, which encodes each image by itself.

    Raises:
        UsageError: the head or the encoder reads whole windows.
    """

    def __init__(self, model: ActionModel, encoder: Encoder) -> None:
        if not is_streamable(model, encoder):
            raise UsageError(
                f"inference='recurrent': the head '{model.config.head.name}' on {model.config.contract.encoder.name} "
                "reads whole windows and keeps no state; use inference='window'"
            )
        self._model = model
        self._features = FeatureBuffer(encoder)
        self._states = model.classifier.initial_state(model.config.contract.sampling.count)
        self._next = 0

    def add(self, samples: Sequence[Sample]) -> list[WindowOutput]:
        """Return the output after each of these samples, which follow those before."""
        found = []
        for features in self._features.of(samples):
            found.append(WindowOutput(self._next, self._next, self._model.step(features, self._states)))
            self._next += 1
        return found


def is_streamable(model: ActionModel, encoder: Encoder) -> bool:
    """Return whether the model can read a source sample by sample, with a state."""
    return model.classifier.causal and encoder.per_image and not feature_streams(model.config.contract.streams)
