"""Contributions to an answer: of the heads, of each feature, and of the places of a network's last feature map.

All are contributions to the margin of two classes, the logarithm of the ratio of their probabilities before
calibration. It is a sum over the heads, whatever the fusion: what normalises the probabilities cancels out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from marey.models.classifier import Classifier, fuse
from marey.models.head import Head
from marey.models.heads import MeanHead, PyramidHead

Method = Literal["decomposition", "integrated gradients"]
"""Ways to divide an answer among features: exactly, for linear heads; or by gradients along a line."""

_STEPS: Final = 64  # of a line from the mean of the training clips to the clip
_NUMBERS: Final = 2**24  # in memory at once: 64 MB
_LOCAL: Final = (
    nn.Conv2d,
    nn.Conv3d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool2d,
    nn.AvgPool3d,
)
"""Layers whose outputs have a place in the image, and channels before it."""


class Pair(NamedTuple):
    """Two classes that are compared, by their places among the labels."""

    target: int
    rival: int

    def margin(self, logits: Tensor) -> Tensor:
        """Return the logit of the target less that of the rival: (..., classes) to (...)."""
        return logits[..., self.target] - logits[..., self.rival]


@dataclass(frozen=True)
class Outcomes:
    """The outputs of a classifier for several versions of a clip, before calibration.

    Attributes:
        logits: float32 (B, classes), log-probabilities.
        margins: float32 (B, heads), the contribution of each head to the margin of two classes.
    """

    logits: Tensor
    margins: Tensor


@torch.inference_mode()
def outcomes(classifier: Classifier, features: Mapping[str, Tensor], mask: Tensor, pair: Pair) -> Outcomes:
    """Return the answers for clips, and the share that each head has in them.

    Args:
        classifier: of one head a stream, or of one head on all.
        features: stream name to (B, T, D), or (B, T, C, H, W).
        mask: bool (B, T), true for timestamps that are there; networks on frames see all of them. A clip without any
            gives what a head answers to zeros in the place of standardised features: to the mean of the training clips.
        pair: the classes.
    """
    there = mask.any(1)
    seen = torch.where(there[:, None], mask, True)
    known = classifier.forward_features(features, seen)
    if not there.all():
        known = {name: values * there.view(-1, *(1,) * (values.ndim - 1)) for name, values in known.items()}
    logits = classifier.head_logits(known, seen)
    margins = (pair.margin(logits) * fusion_weights(classifier)[:, None]).T
    return Outcomes(fuse(logits, classifier.stream_weights), margins)


def divide(classifier: Classifier, features: Mapping[str, Tensor], pair: Pair) -> tuple[dict[str, Tensor], Method]:
    """Return the contribution of each feature of a clip to the margin.

    For heads that are linear in the statistics of the features over time (`mean`, `pyramid`) the sum over all features
    is exactly the margin less that of the mean training clip: a mean is divided among the timestamps as it is, and a
    deviation in the proportion of their squared distances from the mean. Other heads are divided by integrated
    gradients (Sundararajan et al. 2017) on the line from the mean of the training features, or from zero where the head
    does not keep one.

    Args:
        classifier: whose heads take features.
        features: stream name to (T, D), of one clip.
        pair: the classes.

    Returns:
        Stream name to (T, D), and the method: exact only if it is for each head.
    """
    found: dict[str, Tensor] = {}
    exact = True
    for (_, head, values), weight in zip(
        _inputs(classifier, features), fusion_weights(classifier).tolist(), strict=True
    ):
        if isinstance(head, MeanHead | PyramidHead):
            parts = _divide_linear(head, values, pair)
        else:
            parts, exact = _integrate(head, values, pair), False
        found |= _by_stream(classifier, features, parts * weight, len(found))
    return found, "decomposition" if exact else "integrated gradients"


def last_map(head: Head, clip: Tensor, pair: Pair) -> Tensor | None:
    """Return the contribution of each place of the last feature map of a network on frames.

    Grad-CAM in space and time (Selvaraju et al. 2017) with the gradient of each place in place of its mean over all of
    them (HiResCAM, Draelos and Carin 2020): networks that flatten the map see each place with weights of its own.

    Args:
        head: takes frames.
        clip: uint8 (T, C, H, W).
        pair: the classes.

    Returns:
        float32 (T, h, w), contributions to the margin; None where the second half of the network has no such map, as in
        transformers.
    """
    calls, found = 0, None

    def keep(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal calls, found
        calls += 1
        if isinstance(layer, _LOCAL) and _has_places(output, len(clip)):
            found = (calls, output)

    hooks = [layer.register_forward_hook(keep) for layer in head.modules() if not any(True for _ in layer.children())]
    try:
        with torch.enable_grad():
            values = clip[None].float().requires_grad_()
            mask = torch.ones(values.shape[:2], dtype=torch.bool)
            margin = pair.margin(head(values, mask))[0]
            if found is None or found[0] < calls / 2:
                return None
            (gradient,) = torch.autograd.grad(margin, found[1])
    finally:
        for hook in hooks:
            hook.remove()
    places = (gradient * found[1]).detach().sum(1)
    places = places[0] if found[1].ndim == 5 else places
    share = len(places) / len(clip)
    spread = functional.interpolate(places[None, None], (len(clip), *places.shape[1:]), mode="trilinear")
    return spread[0, 0] * share


def _has_places(output: Tensor, frames: int) -> bool:
    """Return whether an output is a feature map of a clip: (1, C, T', h, w), or (T, C, h, w)."""
    known = (output.ndim == 5 and len(output) == 1) or (output.ndim == 4 and len(output) == frames)
    return known and output.shape[-1] * output.shape[-2] >= 4 and output.requires_grad


def _inputs(classifier: Classifier, features: Mapping[str, Tensor]) -> Iterator[tuple[str, Head, Tensor]]:
    """Yield each head with its input, (T, D)."""
    given = [features[stream] for stream in classifier.streams]
    if classifier.fusion == "early":
        given = [torch.cat(given, dim=-1)]
    for name, head, values in zip(classifier.names, classifier.heads, given, strict=True):
        assert isinstance(head, Head)  # noqa: S101 - ModuleList has lost the type
        yield name, head, values


def _by_stream(
    classifier: Classifier, features: Mapping[str, Tensor], parts: Tensor, done: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield the contributions to one head by stream; `done` streams belong to heads before it."""
    streams = classifier.streams if classifier.fusion == "early" else classifier.streams[done : done + 1]
    sizes = [features[stream].shape[-1] for stream in streams]
    return zip(streams, parts.split(sizes, dim=-1), strict=True)


def fusion_weights(classifier: Classifier) -> Tensor:
    """Return the weight of each head in the fusion, (heads,)."""
    if classifier.stream_weights is not None:
        return classifier.stream_weights
    return torch.full((len(classifier.heads),), 1 / len(classifier.heads))


@torch.inference_mode()
def _divide_linear(head: MeanHead | PyramidHead, values: Tensor, pair: Pair) -> Tensor:
    """Return the exact contributions to a linear head, (T, D)."""
    weight = (head.linear.weight[pair.target] - head.linear.weight[pair.rival]).double()
    standard: Tensor = head.standardise(values.double())
    length = len(standard)
    if isinstance(head, MeanHead):
        return (standard * weight / length).float()
    weights: Tensor = (weight * head.pooled.scale).view(-1, head.dim)
    typical = head.pooled.mean.double().view(-1, head.dim)
    apart = (standard - standard.mean(0)).square()
    total = apart.sum(0)
    shares = torch.where(total > 0, apart / total.clamp_min(1e-300), 1 / length)
    deviation = (total / length + 1e-8).sqrt()
    found: Tensor = weights[0] * (standard - typical[0]) / length
    found += weights[1] * (deviation * shares - typical[1] / length)
    part = torch.arange(length) * head.parts // length
    for number in range(head.parts):
        inside = part == number
        if not inside.any():  # the head takes the mean of the clip for it
            inside = torch.ones_like(inside)
        share = inside.double()[:, None] / inside.sum()
        found += weights[2 + number] * (standard - typical[2 + number]) * share
    return found.float()


def _integrate(head: Head, values: Tensor, pair: Pair) -> Tensor:
    """Return integrated gradients of a head, (T, D)."""
    start = head.typical if head.typical is not None else torch.zeros(values.shape[-1])
    change = values - start
    # Steps are short near the start, where a LayerNorm jumps from zero to one deviation.
    steps = (torch.arange(_STEPS) + 0.5) / _STEPS
    total = torch.zeros_like(values)
    for some in steps.view(-1, 1, 1).split(max(1, _NUMBERS // values.numel())):
        with torch.enable_grad():
            line = (start + some**3 * change).requires_grad_()
            mask = torch.ones(line.shape[:2], dtype=torch.bool)
            (gradient,) = torch.autograd.grad(pair.margin(head(line, mask)).sum(), line)
        total += (gradient * 3 * some**2).sum(0)
    return (change * total / _STEPS).detach()
