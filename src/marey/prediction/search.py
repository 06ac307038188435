"""Search: the moments of videos that are most like a query, as ranked segments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from marey.data import Clip, content_hash
from marey.encoders import Contract, Encoder, FeatureCache, Features, Progress, View, clip_span, iterate_views
from marey.errors import UsageError, VideoError
from marey.models import Classifier, full_mask, stack_clips
from marey.video import Limits

WINDOWS: Final = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
"""Lengths of windows in seconds that queries are rounded to, so that searches share their features."""

MERGE: Final = 0.9
"""Share of a hit's similarity down to which overlapping windows belong to it."""

_OVERLAP: Final = 4  # windows that contain each timestamp
_WHOLE: Final = 1.5  # windows: a shorter video is one window
_FITTED: Final = 512  # windows that the scale of the features comes from, at most
_FEWEST: Final = 8  # below, there is nothing to fit a scale to
_PLAIN: Final = View()


@dataclass(frozen=True, slots=True)
class Hit:
    """A segment of a video that is like the query.

    Attributes:
        path: the video.
        start: seconds.
        end: seconds.
        similarity: of its best window, from -1 to 1.
    """

    path: Path
    start: float
    end: float
    similarity: float

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"path": str(self.path), "start": self.start, "end": self.end, "similarity": self.similarity}


class Describer(Protocol):
    """From the features of clips to vectors, whose products with those of a query are similarities.

    Attributes:
        floor: the similarity of windows that have nothing of the query; shares of a similarity count from there.
    """

    floor: float

    @property
    def fits(self) -> bool:
        """True if `fit` is to be called before anything is described."""

    def fit(self, clips: Sequence[Features]) -> None:
        """Fit what depends on the videos that are searched."""

    def describe(self, clips: Sequence[Features]) -> Tensor:
        """Return float32 (N, S); clips are stream name to (T, D)."""


class SummaryDescriber:
    """The summary that a head classifies: standardised, of length one in each stream.

    The similarity of two clips is the mean over the heads of the cosine of their summaries. A head that reads frame by
    frame counts with the mean over time.

    Args:
        classifier: its heads.
        trained: True if its scale comes from training clips; else it is fitted to the videos that are searched.
    """

    floor = 0.0

    def __init__(self, classifier: Classifier, *, trained: bool) -> None:
        self._classifier = classifier.eval()
        self.fits = not trained

    def fit(self, clips: Sequence[Features]) -> None:
        """Fit the scale to windows of the videos, if there are enough of them."""
        if len(clips) >= _FEWEST:
            self._classifier.prepare(stack_clips(clips))

    @torch.inference_mode()
    def describe(self, clips: Sequence[Features]) -> Tensor:
        """Return float32 (N, S), each row of length one; clips are stream name to (T, D)."""
        batch = stack_clips(clips)
        summaries = self._classifier.forward_features(batch, full_mask(batch))
        parts = [each.mean(1) if each.ndim == 3 else each for each in summaries.values()]
        return torch.cat([normalize(part, dim=1) for part in parts], dim=1) / math.sqrt(len(parts))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A span of a video that is encoded at once, and cached.

    Attributes:
        clip: the span.
        joins: True if windows may begin in it and end in the one after it.
    """

    clip: Clip
    joins: bool


@dataclass(frozen=True, slots=True)
class Window:
    """A window that was compared with the query.

    Attributes:
        start: seconds.
        end: seconds.
        similarity: to the query, from -1 to 1.
    """

    start: float
    end: float
    similarity: float


class Search:
    """The windows of videos, compared with a query.

    A window is read as a clip of its length would be. Where each image is encoded by itself, windows begin at quarters
    of their length and share the images of pieces that lie end to end; streams that compare frames do not look past
    the ends of a piece. Other encoders read windows that overlap by half. All features come from the cache or go there.

    Args:
        encoder: the frozen network.
        contract: how clips are read.
        describer: what is compared.
        window: seconds of a window.
        cache: of features.
        limits: of decoding.

    Attributes:
        window: seconds of a window.
        windows: how many have been compared.
        failed: why videos, or parts of them, could not be read.
    """

    def __init__(
        self,
        encoder: Encoder,
        contract: Contract,
        describer: Describer,
        *,
        window: float,
        cache: FeatureCache | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._encoder, self._contract, self._describer = encoder, contract, describer
        self.window = window
        self._cache = cache or FeatureCache()
        self._limits = limits
        self._shared = encoder.per_image and contract.sampling.frames == "exact"
        self.failed: list[VideoError] = []
        self.windows = 0

    def read_query(self, clip: Clip, *, mirrored: bool = False) -> tuple[Features, ...]:
        """Return the features of a query, and with `mirrored` those of its mirror image.

        Raises:
            VideoError: it cannot be used.
        """
        views = (_PLAIN, View(mirrored=True)) if mirrored else (_PLAIN,)
        (found,) = iterate_views([(clip, views)], self._encoder, self._contract, cache=self._cache, limits=self._limits)
        if isinstance(found, VideoError):
            raise found
        return tuple(found[view] for view in views)

    def find(
        self,
        query: Callable[[Describer], Tensor],
        videos: Sequence[Path],
        *,
        without: Clip | None = None,
        on_progress: Callable[[float], None] = lambda share: None,
    ) -> list[Hit]:
        """Return the segments of videos by falling similarity to a query.

        Args:
            query: gives vectors (Q, S) in the describer's terms; the most similar one counts.
            videos: files of any length; those that cannot be used are left out and listed in `failed`.
            without: a clip whose own place in the videos is no answer.
            on_progress: called with the share that is done, from 0 to 1.
        """
        pieces = [piece for video in videos for piece in self._pieces(video)]
        begin = 0.0
        if self._describer.fits:
            sample = pieces[:: max(1, len(pieces) // _FITTED)][:_FITTED]
            begin = len(sample) / max(1, len(pieces))
            read = self._features(sample, lambda share: on_progress(share * begin))
            self._describer.fit([features for features in read if not isinstance(features, VideoError)])
        vectors = query(self._describer)
        own = None if without is None else (content_hash(without.path), *clip_span(without, self._limits))
        hits: list[Hit] = []
        windows: list[Window] = []
        last: tuple[_Piece, Features] | None = None
        found = self._features(pieces, lambda share: on_progress(begin + share * (1 - begin)))
        for index, (piece, features) in enumerate(zip(pieces, found, strict=True)):
            if isinstance(features, VideoError):
                self.failed.append(features)
                last = None
            else:
                windows += self._compare(piece, features, last, vectors)
                last = (piece, features)
            if index + 1 == len(pieces) or pieces[index + 1].clip.path != piece.clip.path:
                kept = [each for each in windows if not _is_own(own, piece.clip.path, each)]
                self.windows += len(windows)
                hits += [Hit(piece.clip.path, *hit) for hit in merge(kept, floor=self._describer.floor)]
                windows, last = [], None
        return sorted(hits, key=lambda hit: (-hit.similarity, str(hit.path), hit.start))

    def _pieces(self, video: Path) -> Iterator[_Piece]:
        """Yield the spans of a video that are read; a short one is read whole, as `predict` reads it."""
        try:
            _, duration = clip_span(Clip(video), self._limits)
        except VideoError as error:
            self.failed.append(error)
            return
        if duration <= _WHOLE * self.window:
            yield _Piece(Clip(video), joins=False)
            return
        step = self.window if self._shared else self.window / 2
        count = int((duration - self.window) / step + 1e-6) + 1
        for index in range(count):
            start = round(index * step, 6)
            yield _Piece(Clip(video, start=start, end=round(start + self.window, 6)), joins=self._shared)
        rest = duration - ((count - 1) * step + self.window)
        if rest > step / _OVERLAP:
            yield _Piece(Clip(video, start=round(duration - self.window, 6), end=round(duration, 6)), joins=False)

    def _features(self, pieces: Sequence[_Piece], on_share: Callable[[float], None]) -> Iterator[Features | VideoError]:
        def watch(progress: Progress) -> None:
            on_share(progress.done / progress.total)

        readings = [(piece.clip, (_PLAIN,)) for piece in pieces]
        results = iterate_views(
            readings, self._encoder, self._contract, cache=self._cache, limits=self._limits, on_progress=watch
        )
        for result in results:
            yield result if isinstance(result, VideoError) else result[_PLAIN]

    def _compare(
        self, piece: _Piece, features: Features, before: tuple[_Piece, Features] | None, vectors: Tensor
    ) -> Iterator[Window]:
        """Yield the windows that end with a piece: those that begin in the one before it, then the piece itself."""
        start, end = clip_span(piece.clip, self._limits)
        places, clips = [(start, end)], [features]
        if before is not None and before[0].joins and piece.joins:
            length = len(next(iter(features.values())))
            earlier, (first, _) = before[1], clip_span(before[0].clip, self._limits)
            for cut in sorted({round(length * part / _OVERLAP) for part in range(1, _OVERLAP)} - {0, length}):
                clips.append({name: torch.cat([earlier[name][cut:], features[name][:cut]]) for name in features})
                begin = first + self.window * cut / length
                places.append((begin, begin + self.window))
        similarities = (self._describer.describe(clips) @ vectors.T).amax(1).tolist()
        for (begin, stop), similarity in sorted(zip(places, similarities, strict=True)):
            yield Window(begin, stop, float(similarity))


def window_of(contract: Contract, seconds: float, window: float | None) -> float:
    """Return the length of the windows for a query.

    Args:
        contract: of the search; dense sampling fixes the window.
        seconds: duration of the query.
        window: as asked for; None for the duration of the query, rounded to one of `WINDOWS`.

    Raises:
        UsageError: a window for a contract that fixes another, or one without length.
    """
    rate = contract.sampling.rate
    if rate is not None:
        own = contract.sampling.count / rate
        if window is not None and abs(window - own) > 1e-6:
            raise UsageError(f"window={window:g}: this model samples {own:g} s of a clip; leave window out")
        return own
    if window is None:
        return min(WINDOWS, key=lambda length: abs(math.log(max(seconds, 1e-3) / length)))
    if not 0.1 <= window <= 3600:
        raise UsageError(f"window={window:g}: a window has 0.1 to 3600 seconds")
    return window


def merge(windows: Sequence[Window], *, floor: float = 0.0) -> list[tuple[float, float, float]]:
    """Return the hits among the windows of a video: start, end and similarity, best first.

    A hit begins as the most similar window that is left, and takes in overlapping neighbours on both sides as long as
    these are at least `MERGE` as similar; other windows that overlap it are no hits of their own.

    Args:
        windows: of one video.
        floor: the similarity that shares count from.
    """
    left = sorted(windows, key=lambda window: window.start)
    hits: list[tuple[float, float, float]] = []
    while left:
        best = max(range(len(left)), key=lambda index: left[index].similarity)
        top = left[best].similarity
        first = last = best
        least = floor + MERGE * (top - floor) if top > floor else top
        while first > 0 and left[first - 1].similarity >= least and left[first - 1].end > left[first].start:
            first -= 1
        while last + 1 < len(left) and left[last + 1].similarity >= least and left[last + 1].start < left[last].end:
            last += 1
        start, end = left[first].start, max(window.end for window in left[first : last + 1])
        hits.append((start, end, top))
        left = [window for window in left if window.end <= start + 1e-6 or window.start >= end - 1e-6]
    return hits


def _is_own(own: tuple[str, float, float] | None, path: Path, window: Window) -> bool:
    """Return whether a window shows the query itself."""
    if own is None:
        return False
    content, start, end = own
    return window.start < end and window.end > start and content_hash(path) == content
