"""The fixed parts of heads: pooled features and normalization, computed once for all trainings on the same clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from torch import Tensor

from marey.models import Classifier, HeadSpec
from marey.training.batches import FeatureSet

_NORMALIZERS_KEPT: Final = 64  # each of a megabyte or less


class FixedParts:
    """The parts of the heads on some clips that no training changes.

    Args:
        clips: all clips.
    """

    def __init__(self, clips: FeatureSet) -> None:
        self._clips = clips
        self._pooled: dict[str, FeatureSet] = {}
        self._normalizers: dict[tuple[tuple[int, ...], str, tuple[str, ...]], dict[str, Tensor]] = {}

    def pool(self, classifier: Classifier, head: HeadSpec) -> FeatureSet:
        """Return all clips pooled as by this head: it takes half of a fold's time."""
        key = _key(head)
        if key not in self._pooled:
            self._pooled.clear()  # two of them need not fit into memory
            self._pooled[key] = self._clips.pooled(classifier)
        return self._pooled[key]

    def fit_normalizer(self, classifier: Classifier, head: HeadSpec, rows: Sequence[int]) -> None:
        """Fit the normalization to the training clips, once for all recipes of that head and these streams."""
        key = tuple(rows), _key(head), classifier.streams
        if key in self._normalizers:
            for name, buffer in classifier.named_buffers():
                buffer.copy_(self._normalizers[key][name])
            return
        classifier.fit_normalizer(self.pool(classifier, head).take(rows).all_views())
        if len(self._normalizers) == _NORMALIZERS_KEPT:
            del self._normalizers[next(iter(self._normalizers))]
        self._normalizers[key] = {name: buffer.clone() for name, buffer in classifier.named_buffers()}


def _key(head: HeadSpec) -> str:
    """Return a key of all that decides a head before it is trained."""
    values = head.model_dump(mode="json")
    values["options"].pop("dropout", None)  # it has no state
    return json.dumps(values, sort_keys=True)
