"""Explain the answer for a clip: spans that are left out, and contributions of places and streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.data import Clip
from marey.encoders import Contract, FeatureStream, clip_span, family_of, region_seen
from marey.errors import UnknownNameError, VideoError
from marey.models import ActionModel, Head
from marey.models.attribution import Pair, divide, fusion_weights, last_map
from marey.models.keras.network import KerasNetwork
from marey.prediction.explanation import Explanation, SpanAnswer, StreamShare, Where
from marey.prediction.left_out import (
    Floats,
    MaskedFeatures,
    StillFrames,
    Versions,
    blend,
    leave_one_out,
    mean_image,
    parts_of,
    shapley_values,
)
from marey.prediction.predictor import Predictor
from marey.video import Limits

MOST_MASKED: Final = 32
"""Parts in time of a clip whose features are left out: the head alone answers for each."""

MOST_STILL: Final = 8
"""Parts in time of a clip whose images are replaced: each answer takes a pass of the network."""

CELLS: Final = (4, 4)
"""Rows and columns of the cells that are replaced, where neither features nor layers have places."""

Places = Literal["auto", "occlusion"]
"""Ways to divide an answer among the places of the frames: by what the model offers, or by covering cells."""

_DEFAULT_LIMITS: Final = Limits()
OnProgress = Callable[[float], None]


def explain_clip(
    predictor: Predictor,
    clip: Clip,
    *,
    label: str | None = None,
    where: Places = "auto",
    limits: Limits = _DEFAULT_LIMITS,
    on_progress: OnProgress = lambda share: None,
) -> Explanation:
    """Explain the answer of a model for a clip.

    Args:
        predictor: the model and its encoder.
        clip: a span of a file.
        label: the class that is explained; None for the most probable one.
        where: "auto" divides the answer among the places of the features, or of the last feature map, where there are
            some; "occlusion" covers cells of the images, which takes a pass of the encoder for each.
        limits: of reading the clip.
        on_progress: called with the share that is done, from 0 to 1.

    Raises:
        UnknownNameError: the model has no such class, or there is no such way.
        VideoError: the clip cannot be used.
    """
    if where not in get_args(Places):
        raise UnknownNameError("value of where", where, get_args(Places))
    if label is not None and label not in predictor.labels:
        raise UnknownNameError("class of this model", label, predictor.labels)
    return _Explainer(predictor, clip, label, where, limits, on_progress).explain()


class _Explainer:
    """The steps of an explanation, on one clip."""

    def __init__(
        self,
        predictor: Predictor,
        clip: Clip,
        label: str | None,
        where: Places,
        limits: Limits,
        on_progress: OnProgress,
    ) -> None:
        self._predictor, self._clip, self._limits, self._on_progress = predictor, clip, limits, on_progress
        self._covers = where == "occlusion"
        self._model: ActionModel = predictor.model
        self._contract: Contract = self._model.config.contract
        self._features = self._read()
        self._images: dict[str, Tensor] | None = None
        probabilities = self._model.probabilities(self._features).numpy()
        ranked = np.argsort(-probabilities, kind="stable").tolist()
        target = ranked[0] if label is None else predictor.labels.index(label)
        rival = next(index for index in ranked if index != target)
        self._probabilities, self._answer, self._pair = probabilities, ranked[0], Pair(target, rival)
        self._span = clip_span(clip, limits)
        self._timestamps = self._contract.sampling.timestamps(
            *self._span, part=self._contract.testing.views[0].part, path=clip.path
        )

    def explain(self) -> Explanation:
        """Return the explanation."""
        self._on_progress(0.1)
        versions, masked = self._versions()
        count = int(versions.owner.max()) + 1
        self._edges = self._edges_of(versions.owner, count)
        whole = versions.answers(np.ones((1, count), dtype=bool))
        by_head = shapley_values(versions) if masked else leave_one_out(versions)
        self._on_progress(0.4)
        sufficient, needed = self._spans(versions, count)
        self._on_progress(0.7)
        where_by, places = self._places(versions, count)
        streams = self._streams(versions, whole.margins[0], by_head, places)
        self._on_progress(1.0)
        labels = self._predictor.labels
        maps = list(places.values())
        return Explanation(
            source=self._clip.id,
            labels=labels,
            probabilities=self._probabilities,
            label=labels[self._answer],
            explained=labels[self._pair.target],
            rival=labels[self._pair.rival],
            margin=float(whole.margins.sum()),
            span=self._span,
            edges=self._edges,
            when=by_head.sum(0),
            where=np.sum(maps, axis=0) if maps else None,
            region=region_seen(self._clip, self._contract, self._limits),
            streams=streams,
            sufficient=sufficient,
            needed=needed,
            when_by="left out" if masked else "still",
            where_by=where_by,
            notes=tuple(self._notes()),
        )

    def _read(self) -> dict[str, Tensor]:
        """Return the features of the first view.

        Raises:
            VideoError: the clip cannot be used.
        """
        found: list[dict[str, Tensor]] = []
        (prediction,) = self._predictor.predict(
            self._clip, unknown="never", on_features=lambda _, features: found.append(features)
        )
        if prediction.reason is not None:
            raise VideoError(self._clip.path, prediction.reason, prediction.detail)
        self._unknown = prediction.unfamiliarity is not None and prediction.unfamiliarity > 1
        return found[0]

    def _versions(self) -> tuple[Versions, bool]:
        """Return the clip with parts that can be left out; and True where the head is not shown them."""
        count = len(self._timestamps)
        slots = self._slots()
        if slots is not None and slots > 1 and count % slots == 0:
            parts = parts_of(slots, MOST_MASKED)
            ranks = np.argsort(np.argsort(self._timestamps, kind="stable"), kind="stable")
            owner = np.repeat(parts, count // slots)[ranks]
            each = len(next(iter(self._features.values()))) // slots
            token = owner if slots == count and each == 1 else np.repeat(parts, each)
            return MaskedFeatures(self._model, self._features, self._pair, owner, token), True
        return self._still(parts_of(count, MOST_STILL)), False

    def _slots(self) -> int | None:
        """Return the number of features along time; None where the head does not read features that can be left out."""
        if self._contract.gives_images:
            return None
        lengths = {len(values) for values in self._features.values()}
        grid, per_image = self._contract.encoder.grid, family_of(self._contract.encoder).per_image
        cells = 1 if per_image or grid is None else grid[0] * grid[1]
        return lengths.pop() // cells if len(lengths) == 1 else None

    def _still(self, owner: npt.NDArray[np.int64]) -> StillFrames:
        encoder = self._predictor.pipeline.encoder
        assert encoder is not None  # noqa: S101 - the predictor has loaded it
        if self._images is None:
            first = self._predictor.pipeline.views[0]
            parts = self._predictor.pipeline.decode(self._clip, limits=self._limits)
            self._images = {stream: values for (view, stream), values in parts.items() if view == first}
        return StillFrames(self._model, encoder, self._images, self._pair, owner)

    def _edges_of(self, owner: npt.NDArray[np.int64], count: int) -> Floats:
        """Return where parts in time begin and end, seconds, (P + 1,): midway between their timestamps."""
        start, end = self._span
        times = [self._timestamps[owner == part] for part in range(count)]
        inner = [(before.max() + after.min()) / 2 for before, after in pairwise(times)]
        if self._contract.sampling.rate is not None:  # a window, which may be shorter than the clip
            half = 0.5 / self._contract.sampling.rate
            start, end = max(start, float(times[0].min()) - half), min(end, float(times[-1].max()) + half)
        return np.array([start, *inner, end])

    def _spans(self, versions: Versions, count: int) -> tuple[SpanAnswer, SpanAnswer | None]:
        """Return the shortest span that alone gives the same answer, and the shortest one without which it changes."""
        sufficient = needed = None
        for length in range(1, count + 1):
            starts = np.arange(count - length + 1)[:, None]
            inside = (np.arange(count) >= starts) & (np.arange(count) < starts + length)
            if sufficient is None:
                found = versions.answers(inside).probabilities
                best = int(found[:, self._answer].argmax())
                if found[best].argmax() == self._answer or length == count:
                    sufficient = self._span_answer(versions, best, length, found[best])
            if needed is None and length < count:
                found = versions.answers(~inside).probabilities
                changed = np.flatnonzero(found.argmax(1) != self._answer)
                if len(changed):
                    worst = int(changed[found[changed, self._answer].argmin()])
                    needed = self._span_answer(versions, worst, length, found[worst])
            if sufficient is not None and needed is not None:
                break
        assert sufficient is not None  # noqa: S101 - the whole clip is one
        return sufficient, needed

    def _span_answer(self, versions: Versions, first: int, length: int, found: Floats) -> SpanAnswer:
        last = first + length - 1
        inside = (versions.owner >= first) & (versions.owner <= last)
        read = [stream.times(self._timestamps[inside]) for stream in self._contract.streams.values()]
        start = min(float(self._edges[first]), *(float(times.min()) for times in read))
        end = max(float(self._edges[last + 1]), *(float(times.max()) for times in read))
        best = int(found.argmax())
        start, end = max(start, self._span[0]), min(end, self._span[1])
        return SpanAnswer(start, end, first, last, self._predictor.labels[best], float(found[best]))

    def _places(self, versions: Versions, count: int) -> tuple[Where, dict[str, Floats]]:
        """Return how the answer is divided among cells, and their contributions by stream, (P, rows, columns)."""
        seen = [name for name, stream in self._contract.streams.items() if not isinstance(stream, FeatureStream)]
        grid = self._contract.encoder.grid
        if not seen:
            return "none", {}
        if not self._covers and grid is not None and not self._contract.gives_images and self._slots() is not None:
            parts, method = divide(self._model.classifier, self._features, self._pair)
            scale = 1 / self._model.config.temperature
            return method, {name: self._folded(parts[name] * scale, grid, versions, count) for name in seen}
        if self._contract.gives_images and not self._covers:
            found = self._last_maps(versions, count)
            if found is not None:
                return "gradients of the last map", found
        return "occlusion", {name: self._occluded(name, versions, count) for name in seen}

    def _folded(self, parts: Tensor, grid: tuple[int, int], versions: Versions, count: int) -> Floats:
        """Return contributions of features by part in time and cell: (T', D) to (P, rows, columns)."""
        if family_of(self._contract.encoder).per_image:  # cells lie side by side in each vector
            cells, owner = parts.view(len(parts), -1, *grid).sum(1), versions.owner
        else:  # and are vectors of their own in a transformer of video
            cells = parts.sum(1).view(-1, *grid)
            owner = parts_of(len(cells), count)
        return _added(cells.double().numpy(), owner, count)

    def _last_maps(self, versions: Versions, count: int) -> dict[str, Floats] | None:
        """Return the contributions of the places of each network's last feature map; None where it has none."""
        classifier, found = self._model.classifier, {}
        values = [self._features[stream] for stream in classifier.streams]
        given = [torch.cat(values, dim=-3)] if classifier.fusion == "early" else values
        weights = (fusion_weights(classifier) / self._model.config.temperature).tolist()
        for name, head, clip, weight in zip(classifier.names, classifier.heads, given, weights, strict=True):
            if isinstance(head, KerasNetwork) or not isinstance(head, Head):  # their axes are in another order
                return None
            places = last_map(head, clip, self._pair)
            if places is None:
                return None
            found[name] = _added(places.double().numpy() * weight, versions.owner, count)
        return found

    def _occluded(self, name: str, versions: Versions, count: int) -> Floats:
        """Return what the margin loses where a cell of a stream's images is still, (P, rows, columns).

        Encoders of images see each cell at each time alone; for others a cell is still during the whole clip, and its
        contribution is divided evenly.
        """
        still = self._still(versions.owner)
        images = still.images[name]
        mean = mean_image(images)
        rows, columns = CELLS
        losses = np.zeros((count, rows, columns))
        before = _total(still.outcome(still.images).margins)
        for row in range(rows):
            for column in range(columns):
                kept = torch.ones(images.shape[-2:], dtype=torch.bool)
                kept[_share(row, rows, kept.shape[0]), _share(column, columns, kept.shape[1])] = False
                changed = {**still.images, name: torch.where(kept, images, mean)}
                losses[:, row, column] = self._losses(still, changed, name, versions, before)
        return losses / self._model.config.temperature

    def _losses(
        self, still: StillFrames, changed: Mapping[str, Tensor], name: str, versions: Versions, before: float
    ) -> Floats:
        """Return what the margin loses by changed images of a stream, at each part in time, (P,)."""
        count = int(versions.owner.max()) + 1
        if not isinstance(versions, MaskedFeatures) or not family_of(self._contract.encoder).per_image:
            loss = before - _total(still.outcome(changed).margins)
            return np.full(count, loss / count)
        other = still.encode({name: changed[name]})[name]
        original = self._features[name]
        owner = torch.from_numpy(versions.owner)
        found = [
            MaskedFeatures(
                self._model,
                {**self._features, name: blend(other, original, owner == part)},
                self._pair,
                versions.owner,
                versions.token,
            ).answers(np.ones((1, count), dtype=bool))
            for part in range(count)
        ]
        scale = self._model.config.temperature
        return np.array([before - float(each.margins.sum()) * scale for each in found])

    def _streams(
        self, versions: Versions, margins: Floats, by_head: Floats, places: Mapping[str, Floats]
    ) -> tuple[StreamShare, ...]:
        """Return the part of each stream: that of its head, or what one head on all of them owes to it."""
        classifier = self._model.classifier
        if classifier.fusion != "early" or len(classifier.streams) == 1:
            return tuple(
                StreamShare(stream, float(margin), when, places.get(name))
                for stream, name, margin, when in zip(
                    classifier.streams, classifier.names, margins, by_head, strict=True
                )
            )
        if not self._contract.gives_images:
            parts, _ = divide(classifier, self._features, self._pair)
            scale = 1 / self._model.config.temperature
            return tuple(
                StreamShare(stream, float(parts[stream].sum()) * scale, None, places.get(stream))
                for stream in classifier.streams
            )
        still = self._still(versions.owner)
        found = []
        for stream in classifier.streams:
            mean = mean_image(still.images[stream]).expand_as(still.images[stream])
            loss = (
                float(margins.sum())
                - _total(still.outcome({**still.images, stream: mean}).margins) / self._model.config.temperature
            )
            found.append(StreamShare(stream, loss, None, None))
        return tuple(found)

    def _notes(self) -> list[str]:
        notes = []
        views = self._contract.testing.views
        if len(views) > 1:
            notes.append(f"The model averages {len(views)} readings of a clip; this explains the first of them.")
        if self._unknown:
            notes.append("The model calls this clip unknown: it is unlike all clips that it learned from.")
        own = [name for name, stream in self._contract.streams.items() if isinstance(stream, FeatureStream)]
        if own and len(own) < len(self._contract.streams):
            notes.append(f"The stream {' and '.join(own)} has no images: the heat map shows the others.")
        if not family_of(self._contract.encoder).per_image and not self._contract.gives_images:
            notes.append("The encoder sees the clip as a whole: each feature may know of other times and places.")
        return notes


def _added(values: npt.NDArray[np.float64], owner: npt.NDArray[np.int64], count: int) -> Floats:
    """Add up values (T, ...) by their parts, (P, ...)."""
    found = np.zeros((count, *values.shape[1:]))
    np.add.at(found, owner, values)
    return found


def _share(number: int, of: int, length: int) -> slice:
    return slice(number * length // of, (number + 1) * length // of)


def _total(margins: Tensor) -> float:
    return float(margins.double().sum())
