"""Explanation of an answer: what each span, each place and each stream of a clip contributes to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from marey.video import Region

Floats = npt.NDArray[np.float64]

When = Literal["left out", "still"]
"""Ways to take a span away: the head is not shown it, or its images are still."""

Where = Literal["decomposition", "integrated gradients", "gradients of the last map", "occlusion", "none"]
"""Ways to divide an answer among the places of the frames."""

MEANING: Mapping[str, str] = {
    "left out": "left out by the mask of the head, as if the frames had not been sampled",
    "still": "replaced by the mean image of the clip, which does not move",
    "decomposition": "the head is linear, and the parts add up to the answer exactly",
    "integrated gradients": "integrated gradients from the mean of the training features",
    "gradients of the last map": "gradients at the last feature map (Grad-CAM, with the gradient of each place)",
    "occlusion": "each cell of the images is replaced by that of the mean image of the clip",
    "none": "the streams have no images, and nothing has a place in the frame",
}
"""Explanations of the methods, in half a sentence."""


@dataclass(frozen=True)
class SpanAnswer:
    """Answer of a model to a span of a clip alone, or to a clip without it.

    Attributes:
        start: seconds, of the first frame that a stream reads for it.
        end: seconds, likewise of the last.
        first: number of its first part.
        last: number of its last part.
        label: the most probable class.
        confidence: its probability.
    """

    start: float
    end: float
    first: int
    last: int
    label: str
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "start": round(self.start, 6),
            "end": round(self.end, 6),
            "label": self.label,
            "confidence": self.confidence,
        }


@dataclass(frozen=True)
class StreamShare:
    """The part of a stream in an answer.

    Attributes:
        name: of the stream.
        contribution: to the margin.
        when: of its parts in time, (P,); None where one head reads all streams.
        where: of the cells at each part in time, (P, rows, columns); None for streams without images.
    """

    name: str
    contribution: float
    when: Floats | None
    where: Floats | None


@dataclass(frozen=True)
class Explanation:
    """Evidence in a clip for one class and against another one.

    All contributions are to the margin: the logarithm of the ratio of the probabilities of the two classes. 0.7 more
    doubles the ratio, and negative contributions speak for the rival.

    Attributes:
        source: the clip.
        labels: the classes, in the order of the model's outputs.
        probabilities: of the first view, calibrated, (classes,).
        label: the most probable class.
        explained: the class that is explained.
        rival: the most probable class beside it.
        margin: logarithm of the ratio of their probabilities.
        span: start and end of the clip in seconds.
        edges: of its P parts in time, seconds, (P + 1,).
        when: contribution of each part in time, (P,).
        where: of the cells at each of them, (P, rows, columns), over all streams; None where nothing has a place.
        region: the part of the frame that the cells divide.
        streams: the part of each stream.
        sufficient: the shortest span that alone gives the same answer.
        needed: the shortest span without which the answer is another one; None if there is none.
        when_by: what becomes of a span that is taken away.
        where_by: how the answer is divided among the cells.
        notes: limits of the explanation, each a sentence.
    """

    source: str
    labels: tuple[str, ...]
    probabilities: Floats
    label: str
    explained: str
    rival: str
    margin: float
    span: tuple[float, float]
    edges: Floats
    when: Floats
    where: Floats | None
    region: Region
    streams: tuple[StreamShare, ...]
    sufficient: SpanAnswer
    needed: SpanAnswer | None
    when_by: When
    where_by: Where
    notes: tuple[str, ...] = ()

    @property
    def confidence(self) -> float:
        """The probability of the most probable class."""
        return self.probability_of(self.label)

    @property
    def middles(self) -> Floats:
        """The middle of each part in time, seconds, (P,)."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    def probability_of(self, label: str) -> float:
        """Return the probability of a class."""
        return float(self.probabilities[self.labels.index(label)])

    def heat(self) -> Floats | None:
        """Return what speaks for the class at each cell and part in time, from 0 to 1, (P, rows, columns).

        It is the contribution where that is positive, as a share of the largest one; None without places.
        """
        if self.where is None:
            return None
        positive = np.clip(self.where, 0, None)
        highest = float(positive.max(initial=0.0))
        return positive / highest if highest > 0 else positive

    def place_shares(self) -> Floats | None:
        """Return the share of each cell in what speaks for the class, (rows, columns); None without places."""
        if self.where is None:
            return None
        positive: Floats = np.clip(self.where, 0, None).sum(0)
        total = float(positive.sum())
        return positive / total if total > 0 else positive

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON: seconds, probabilities, and contributions to the margin."""
        ranked = sorted(zip(self.labels, self.probabilities.tolist(), strict=True), key=lambda pair: -pair[1])
        shares = self.place_shares()
        return {
            "source": self.source,
            "label": self.label,
            "confidence": self.confidence,
            "explained": self.explained,
            "rival": self.rival,
            "margin": self.margin,
            "probabilities": dict(ranked),
            "span": [round(time, 6) for time in self.span],
            "sufficient": self.sufficient.as_dict(),
            "needed": None if self.needed is None else self.needed.as_dict(),
            "streams": {stream.name: _stream_values(stream) for stream in self.streams},
            "when": {
                "by": self.when_by,
                "meaning": MEANING[self.when_by],
                "edges": self.edges.round(6).tolist(),
                "contributions": self.when.tolist(),
            },
            "where": {
                "by": self.where_by,
                "meaning": MEANING[self.where_by],
                "region": [self.region.top, self.region.left, self.region.bottom, self.region.right],
                "shares": None if shares is None else shares.tolist(),
                "contributions": None if self.where is None else self.where.tolist(),
            },
            "notes": list(self.notes),
        }


def _stream_values(stream: StreamShare) -> dict[str, Any]:
    return {
        "contribution": stream.contribution,
        "when": None if stream.when is None else stream.when.tolist(),
        "where": None if stream.where is None else stream.where.sum(0).tolist(),
    }
