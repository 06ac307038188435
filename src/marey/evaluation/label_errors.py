"""Labels that look wrong: confident learning on out-of-fold predictions (Northcutt, Jiang and Chuang 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SuspectLabel:
    """A clip whose label looks wrong.

    Attributes:
        clip: its number.
        label: number of the class that it is labelled as.
        suggested: number of the class that it looks like.
        confidence: probability of the suggested class.
        own: probability of its label.
    """

    clip: int
    label: int
    suggested: int
    confidence: float
    own: float

    def at(self, clip: int) -> SuspectLabel:
        """Return it with another number of the clip."""
        return replace(self, clip=clip)


def find_label_errors(labels: npt.NDArray[np.int64], probabilities: Floats) -> tuple[SuspectLabel, ...]:
    """Return the clips whose labels look wrong, the most suspect first.

    A clip counts as confidently of a class where its probability is at least the mean one of the clips labelled so; of
    several such classes, the most probable one is taken. A clip that is confidently of another class than its label is
    suspect. They are ranked by the difference of both probabilities.

    Args:
        labels: (N,), class indices as they are given.
        probabilities: (N, K), by models that were not trained on the clip; NaN in the rows of clips that failed.
    """
    known = np.flatnonzero(~np.isnan(probabilities).any(axis=1))
    scores, given = probabilities[known], labels[known]
    thresholds = np.full(scores.shape[1], np.inf)
    for label in np.unique(given):
        thresholds[label] = scores[given == label, label].mean()
    confident = np.where(scores >= thresholds - 1e-9, scores, -1.0)
    found = confident.argmax(axis=1)
    own = scores[np.arange(len(known)), given]
    suspect = np.flatnonzero((confident.max(axis=1) >= 0) & (found != given) & (scores.max(axis=1) > own))
    ranked = suspect[np.argsort(own[suspect] - scores[suspect, found[suspect]], kind="stable")]
    return tuple(
        SuspectLabel(int(known[row]), int(given[row]), int(found[row]), float(scores[row, found[row]]), float(own[row]))
        for row in ranked
    )
