"""Near-duplicates: clips of different files that show the same scene, such as a copy that was encoded again.

Two steps. Features propose: of each clip, the clips that are most like it among those it is compared with. Frames
confirm: the movement of both clips, as small grey frames less their background, is laid over each other at every shift
in time and space, at several scales, mirrored or not. Two takes of one action differ there, even at the same place; a
copy that is encoded again, cropped, shifted or mirrored does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

CONFIRMED: Final = 0.5
"""Least correlation of the movements of two clips that are copies."""

CONFIRMED_TOGETHER: Final = 1.1
"""Least sum of the correlations of the movements and of the still parts of two clips that are copies."""

CERTAIN: Final = 0.8
"""Correlation of the movements from which a pair is a leak: of 600 drawn clips no two others have more than 0.7."""

FEATURES_ALONE: Final = 0.95
"""Likeness of features from which two clips are copies where there are no frames to compare."""

NEIGHBOURS: Final = 3
"""Clips that features propose for each clip."""

_SAME_PLACE: Final = 0.4  # correlation of the still parts, below which movements are not looked at
_TRIED: Final = 4  # scales at which the still parts fit best, for the movements
_FLAT: Final = 0.5  # mean detail of still parts, in levels of 255, below which there is no place to know again
_KEPT: Final = 4096  # fingerprints in memory
_DIMENSIONS: Final = 256  # of features, after whitening
_SAMPLE: Final = 1024  # rows that whitening is fitted to
_PART: Final = 512  # rows of a matrix of likenesses held at once
_REACH: Final = (16, 8, 10)  # largest shift in frames (2 s), rows and columns
_LEAST_OVERLAP: Final = 0.4  # of the movement of each clip, inside the part that both show
_ENLARGED: Final = (
    (1.0, 1.0),
    (1.1, 1.1),
    (1.2, 1.2),
    (1 / 1.1, 1 / 1.1),
    (1 / 1.2, 1 / 1.2),
    (1.25, 1.0),
    (1.0, 1.25),
    (0.8, 1.0),
    (1.0, 0.8),
)
_SCALES: Final = tuple((down, right, turned) for down, right in _ENLARGED for turned in (False, True))

Scale = tuple[float, float, bool]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two clips that show the same scene.

    Attributes:
        first: number of a clip.
        second: number of the other one, larger.
        likeness: correlation of their movements, 1 for the same frames; of their features where `by` is "features".
        by: "frames" or "features".
    """

    first: int
    second: int
    likeness: float
    by: str

    @property
    def certain(self) -> bool:
        """False where two clips look alike and may yet be different takes, such as drawn ones."""
        return self.by == "features" or self.likeness >= CERTAIN


def propose_pairs(
    features: Tensor, mirrored: Tensor | None, compared: Callable[[int], npt.NDArray[np.bool_]]
) -> list[tuple[int, int, float]]:
    """Return pairs of clips that may be copies: each is among the three that are most like the other.

    Features are whitened, so that what all clips of a class share counts little, and what is peculiar to a clip much.

    Args:
        features: float (N, T, D), of the plain readings.
        mirrored: of the mirror images, likewise; None where they were not read.
        compared: number of a clip -> bool (N,), the clips that it is compared with.

    Returns:
        Pairs of numbers, the smaller one first, with the cosine of their whitened features.
    """
    plain, turned = _whitened(features, mirrored)
    near: dict[tuple[int, int], float] = {}
    for first in range(0, len(plain), _PART):
        rows = plain[first : first + _PART]
        alike = rows @ plain.T
        if turned is not None:
            alike = torch.maximum(alike, torch.maximum(rows @ turned.T, turned[first : first + _PART] @ plain.T))
        allowed = torch.from_numpy(np.stack([compared(first + row) for row in range(len(rows))]))
        best = alike.masked_fill(~allowed, -torch.inf).topk(min(NEIGHBOURS, len(plain)), dim=1)
        for row, (values, others) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            near |= {(first + row, other): value for value, other in zip(values, others, strict=True) if value > -1.5}
    return [(one, other, value) for (one, other), value in sorted(near.items()) if one < other and (other, one) in near]


def find_near_duplicates(
    features: Tensor,
    mirrored: Tensor | None,
    compared: Callable[[int], npt.NDArray[np.bool_]],
    fingerprint: Callable[[int], Tensor | None] | None,
) -> tuple[NearDuplicate, ...]:
    """Return the pairs of clips that show the same scene, the most alike first.

    Args:
        features: float (N, T, D), of the plain readings.
        mirrored: of the mirror images, likewise; None where they were not read: mirrored copies may then be missed.
        compared: number of a clip -> bool (N,), the clips that it is compared with, such as those of other groups.
        fingerprint: number of a clip -> uint8 (T, H, W), or None for one that cannot be read; None where there are
            features alone: then only copies whose features are nearly equal are found.
    """
    pairs = propose_pairs(features, mirrored, compared)
    if fingerprint is None:
        found = [NearDuplicate(*pair, "features") for pair in pairs if pair[2] >= FEATURES_ALONE]
    else:
        prints = lru_cache(maxsize=_KEPT)(fingerprint)
        found = []
        for one, other, _ in pairs:
            first, second = prints(one), prints(other)
            measured = None if first is None or second is None else likeness(first, second)
            if measured is not None:
                found.append(NearDuplicate(one, other, measured, "frames"))
    return tuple(sorted(found, key=lambda pair: (-pair.likeness, pair.first, pair.second)))


def likeness(first: Tensor, second: Tensor) -> float | None:
    """Return the correlation of the movements of two clips that are copies; None where they are not.

    Args:
        first: uint8 (T, H, W), as `fingerprint` gives them.
        second: likewise, of another length perhaps.
    """
    one, other = first.float(), second.float()
    places = _still(one), _still(other)
    if min(float(place.abs().mean()) for place in places) < _FLAT:
        best, tried = _SAME_PLACE, list(range(len(_SCALES)))
    else:
        still = _stills_alike(*places)
        best, tried = float(still.max()), still.argsort(descending=True).tolist()[:_TRIED]
    if best < _SAME_PLACE:
        return None
    moving = _movements_alike(one, other, [_SCALES[place] for place in dict.fromkeys([*tried, 0, 1])])
    return moving if moving >= CONFIRMED and moving + best >= CONFIRMED_TOGETHER else None


def _still(frames: Tensor) -> Tensor:
    """Return the details of what does not move, (1, H, W), with strong edges cut down."""
    details = _details(frames.median(0).values[None])
    limit = 3 * float(details.abs().mean())
    return details.clamp(-limit, limit)


def _stills_alike(one: Tensor, other: Tensor) -> Tensor:
    """Return the largest correlation of the still parts over all shifts, of each scale, (S,)."""
    others = torch.cat([_scaled(other, *scale) for scale in _SCALES])
    sums = _correlations(one[0], others, _REACH[1:])
    lengths = one.norm() * others.flatten(1).norm(dim=1)
    found: Tensor = sums.flatten(1).amax(1) / lengths.clamp_min(1e-6)
    return found


def _whitened(features: Tensor, mirrored: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return one unit vector a clip, (N, T K), of the plain and of the mirrored readings."""
    rows = features.flatten(0, 1)
    mean, scale = rows.mean(0), rows.std(0, correction=0) + 1e-3
    some = rows[np.random.default_rng(0).permutation(len(rows))[:_SAMPLE]]
    standard = ((some - mean) / scale).double()
    squares, vectors = _principal(standard)
    # Fewer dimensions than rows: with as many, any two rows become as unlike as any other two.
    kept = max(1, min(_DIMENSIONS, len(standard) // 4, int((squares > squares.max() * 1e-6).sum())))
    base = (vectors[:, -kept:] / squares[-kept:].sqrt().clamp_min(1e-6)).float()

    def applied(values: Tensor) -> Tensor:
        return functional.normalize((((values - mean) / scale) @ base).flatten(1), dim=1)

    return applied(features), None if mirrored is None else applied(mirrored)


def _principal(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues, rising, and the eigenvectors of the covariance, by the smaller of two matrices."""
    count, width = values.shape
    if count >= width:
        squares, vectors = torch.linalg.eigh(values.T @ values / count)
        return squares, vectors
    squares, left = torch.linalg.eigh(values @ values.T / count)
    return squares, values.T @ left / (squares.clamp_min(0) * count).sqrt().clamp_min(1e-12)


def _movement(frames: Tensor) -> Tensor:
    """Return the details of what moves, (T, H, W): less the median in time."""
    return _details(frames - frames.median(0).values)


def _details(frames: Tensor) -> Tensor:
    """Return frames less the mean of their surroundings."""
    return frames - functional.avg_pool2d(frames[:, None], 5, 1, 2, count_include_pad=False)[:, 0]


def _scaled(moving: Tensor, down: float, right: float, turned: bool) -> Tensor:
    """Return movements enlarged around their middle, and mirrored where `turned` is set, in frames of one size."""
    height, width = moving.shape[1:]
    moving = moving.flip(-1) if turned else moving
    if (down, right) == (1.0, 1.0):
        return moving
    size = (max(1, round(height * down)), max(1, round(width * right)))
    sized = functional.interpolate(moving[:, None], size=size, mode="bilinear", align_corners=False, antialias=True)
    sized = sized.squeeze(1)
    above, before = (height - size[0]) // 2, (width - size[1]) // 2  # negative where it is larger
    after, below = width - size[1] - before, height - size[0] - above
    return functional.pad(sized, (before, after, above, below))


def _correlations(one: Tensor, others: Tensor, reach: Sequence[int]) -> Tensor:
    """Return sums of products at all shifts within reach, (B, ...): of one, (...), with each of others, (B, ...)."""
    axes = tuple(range(1, others.ndim))
    reach = [min(far, a - 1, b - 1) for a, b, far in zip(one.shape, others.shape[1:], reach, strict=True)]
    sizes = [_padded(max(a, b) + far) for a, b, far in zip(one.shape, others.shape[1:], reach, strict=True)]
    spectrum = torch.fft.rfftn(one, s=sizes) * torch.fft.rfftn(others, s=sizes, dim=axes).conj()
    sums: Tensor = torch.fft.irfftn(spectrum, s=sizes, dim=axes)
    for axis, size, far in zip(axes, sizes, reach, strict=True):
        sums = sums.index_select(axis, torch.arange(-far, far + 1) % size)
    return sums


def _movements_alike(first: Tensor, second: Tensor, scales: Sequence[Scale]) -> float:
    """Return the correlation of the movements within the part that both clips show, at the best scale and shift."""
    one = _movement(first)
    others = torch.stack([_movement(_scaled(second, *scale)) for scale in scales])
    sums = _correlations(one, others, _REACH)
    lengths = others.flatten(1).norm(dim=1) * one.norm()
    scores = (sums.flatten(1) / lengths.clamp_min(1e-6)[:, None]).reshape(sums.shape)
    which, *place = (int(index) for index in np.unravel_index(int(scores.argmax()), scores.shape))
    a, b = one, others[which]
    for axis, (index, size) in enumerate(zip(place, scores.shape[1:], strict=True)):
        shift = index - size // 2  # a[t + shift] goes with b[t]
        length = min(a.shape[axis] - max(shift, 0), b.shape[axis] - max(-shift, 0))
        a, b = a.narrow(axis, max(shift, 0), length), b.narrow(axis, max(-shift, 0), length)
    shares = a.norm() / one.norm().clamp_min(1e-6), b.norm() / others[which].norm().clamp_min(1e-6)
    if min(float(share) ** 2 for share in shares) < _LEAST_OVERLAP:
        return max(0.0, float(scores.max()))
    return max(0.0, float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-6)))


def _padded(length: int) -> int:
    """Return the next length that a Fourier transform is fast for."""
    return next(size for size in range(length, 4 * length + 8) if _is_smooth(size))


def _is_smooth(size: int) -> bool:
    for factor in (2, 3, 5):
        while size % factor == 0:
            size //= factor
    return size == 1
