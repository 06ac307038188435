"""Typical and odd clips of each class, by their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist


@dataclass(frozen=True, slots=True)
class ClassClips:
    """The most and the least typical clips of a class.

    Attributes:
        label: number of the class.
        typical: numbers of clips, the most typical first.
        odd: numbers of clips, the oddest first.
        oddness: of each odd clip, its mean distance to the clips of its class, divided by the median one.
    """

    label: int
    typical: tuple[int, ...]
    odd: tuple[int, ...]
    oddness: tuple[float, ...]


def typical_and_odd(
    features: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], *, shown: int = 2
) -> tuple[ClassClips, ...]:
    """Return the clips of each class that lie nearest to its others (the medoid first), and those that lie farthest.

    Args:
        features: (N, D), one row a clip; they are standardised here.
        labels: (N,), class indices.
        shown: largest number of clips of each kind; a clip is only of one kind.
    """
    values = (features - features.mean(0)) / (features.std(0) + 1e-6)
    found = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        apart = cdist(values[members], values[members]).sum(1) / max(1, len(members) - 1)
        order, middle = np.argsort(apart, kind="stable"), max(float(np.median(apart)), 1e-12)
        few = min(shown, (len(members) + 1) // 2)
        odd = order[::-1][: min(shown, len(members) - few)]
        found.append(
            ClassClips(
                int(label),
                tuple(int(members[row]) for row in order[:few]),
                tuple(int(members[row]) for row in odd),
                tuple(float(apart[row]) / middle for row in odd),
            )
        )
    return tuple(found)
