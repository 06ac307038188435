"""Read a clip as its contract says: one decoding for all streams, views and mirror images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.data import Clip, content_hash
from marey.encoders.contract import FRAME_ORDERS, Contract, FrameOrder, View
from marey.encoders.feature_streams import Observer, Reorder, feature_streams, gather, observe_file
from marey.encoders.motion_region import THUMBNAIL, Thumbnails, find_region
from marey.encoders.photometric import Histogram, luma_histogram, stretch_of
from marey.encoders.streams import luma
from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video import Fit, Limits, Region, Sampling, decode_each, each_frame_at, play, probe

_DEFAULT_LIMITS: Final = Limits()
_PLAIN: Final = View()
_INSIDE: Final = 1e-5  # s before the end of a span: nearer timestamps are decoded as the frame that begins there


def read_clip(
    clip: Clip,
    contract: Contract,
    *,
    streams: tuple[str, ...] | None = None,
    view: View = _PLAIN,
    order: FrameOrder = "given",
    limits: Limits = _DEFAULT_LIMITS,
) -> dict[str, Tensor]:
    """Return the streams of a clip.

    Args:
        clip: the span to read; open ends mean the start and the end of the file.
        contract: how it is read.
        streams: names of the contract's streams; all by default.
        view: the reading.
        order: "given" is the order of time; "shuffled" a random order, the same one each time; "reversed" back to
            front. The accuracy that a model loses by it shows how much it uses temporal order.
        limits: of decoding.

    Returns:
        Stream name to uint8 (T, 3, H, W), or to the observations of a `FeatureStream`, float32 (T, K, 1 + S).

    Raises:
        VideoError: the file cannot be used.
    """
    wanted = {view: streams or tuple(contract.streams)}
    return read_clip_views(clip, contract, wanted, order=order, limits=limits)[view]


def read_clip_views(
    clip: Clip,
    contract: Contract,
    wanted: Mapping[View, tuple[str, ...]],
    *,
    order: FrameOrder = "given",
    limits: Limits = _DEFAULT_LIMITS,
) -> dict[View, dict[str, Tensor]]:
    """Return several views of a clip; views that differ only in `mirrored` are decoded once.

    With `fit: motion` the clip is decoded once more before, in thumbnails, and all views read the same region.

    Args:
        clip: as for `read_clip`.
        contract: likewise.
        wanted: for each view the names of its streams.
        order: as for `read_clip`.
        limits: likewise, each decoding.

    Returns:
        For each view the streams, as `read_clip` gives them.

    Raises:
        VideoError: the file cannot be used.
    """
    if order not in FRAME_ORDERS:
        raise UnknownNameError("frame order", order, FRAME_ORDERS)
    start, end = clip_span(clip, limits)
    found: dict[View, dict[str, Tensor]] = {}
    read_file = _reader_of(clip, contract, limits)
    fit = _fit(contract, partial(read_file, size=THUMBNAIL, interpolation="area"), start, end)
    for decoding in dict.fromkeys(view.decoding for view in wanted):
        views = [view for view in wanted if view.decoding == decoding]
        # Frames are shuffled among those of all streams, so all streams are read.
        read = tuple(name for name in contract.streams if order != "given" or any(name in wanted[v] for v in views))
        timestamps = _timestamps(clip, contract.sampling, views[0], start, end)
        reorder = partial(_reordered, clip, order, start, end)
        own = {
            name: observe_file(
                stream,
                clip.path,
                timestamps,
                span=(start, max(start, end - _INSIDE)),
                sampling=contract.sampling,
                reorder=reorder,
                limits=limits,
            )
            for name, stream in feature_streams(contract.streams).items()
            if name in read
        }
        plan = _Plan(contract, tuple(name for name in read if name not in own), timestamps, start, end)
        plan.reorder(reorder(np.arange(len(plan.timestamps))))
        if len(plan.timestamps):
            frames = read_file(
                plan.timestamps,
                size=contract.size,
                fit=fit,
                anchor=views[0].anchor,
                interpolation=contract.interpolation,
            )
            plan.keep(frames)
        for view in views:
            found[view] = {
                name: _observed(contract, name, own[name], view)
                if name in own
                else plan.images(name, mirrored=view.mirrored)
                for name in wanted[view]
            }
    return found


def _reader_of(clip: Clip, contract: Contract, limits: Limits) -> Callable[..., Iterator[tuple[int, Tensor]]]:
    """Return a function that decodes timestamps of the clip's file as the contract has it."""
    return partial(
        decode_each,
        clip.path,
        frames=contract.sampling.frames,
        decoder=contract.sampling.decoder,
        conversion=contract.conversion,
        limits=limits,
    )


def region_seen(clip: Clip, contract: Contract, limits: Limits = _DEFAULT_LIMITS) -> Region:
    """Return the part of the frame that the encoder sees of a clip, in its first view.

    Raises:
        VideoError: the file cannot be used.
    """
    start, end = clip_span(clip, limits)
    read_file = _reader_of(clip, contract, limits)
    fit = _fit(contract, partial(read_file, size=THUMBNAIL, interpolation="area"), start, end)
    if fit == "stretch":
        return Region(0, 0, 1, 1)
    with play(clip.path, limits=limits) as playback:
        height, width = playback.size
    ratio = (contract.size[1] / contract.size[0]) / (width / height)
    if isinstance(fit, Region):
        return fit.widened(ratio)
    tall, wide = min(1.0, 1 / ratio), min(1.0, ratio)
    share = {"first": 0.0, "middle": 0.5, "last": 1.0}[contract.testing.views[0].anchor]
    top, left = (1 - tall) * share, (1 - wide) * share
    return Region(top, left, min(1.0, top + tall), min(1.0, left + wide))


def _observed(contract: Contract, name: str, observed: Tensor, view: View) -> Tensor:
    return feature_streams(contract.streams)[name].mirror(observed) if view.mirrored else observed


def _reordered(
    clip: Clip, order: FrameOrder, start: float, end: float, numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the numbers of frames in the order in which the streams see them."""
    if order == "reversed":
        return numbers[::-1]
    return numbers if order == "given" else numbers[_rng(clip, 0, start, end).permutation(len(numbers))]


def read_frames(
    frames: npt.NDArray[np.uint8] | Tensor, contract: Contract, *, frame_rate: float, view: View = _PLAIN
) -> dict[str, Tensor]:
    """Return the streams of a clip that is in memory.

    Args:
        frames: uint8 RGB, (T, H, W, 3) or (T, 3, H, W).
        contract: how it is read.
        frame_rate: frames per second.
        view: the reading; not a random one.

    Returns:
        As `read_clip`.

    Raises:
        UsageError: an array of another type or shape, an impossible rate, a contract on key frames, or a stream that
            reads files beside the video.
        VideoError: the clip is too short for the contract's sampling.
    """
    if contract.sampling.frames == "keyframes":
        raise UsageError(
            "this model looks at the key frames of files, and frames in memory have none; write them to a file"
        )
    end = max(len(frames), 1) / frame_rate if frame_rate > 0 else 1.0
    timestamps = contract.sampling.timestamps(0.0, end, part=view.part)
    own: dict[str, Tensor] = {}
    for name, stream in feature_streams(contract.streams).items():
        observer = stream.observer(None, shape=_shape(frames), limits=_DEFAULT_LIMITS)

        def look(times: npt.NDArray[np.float64], observer: Observer = observer) -> dict[int, Tensor]:
            shown = each_frame_at(frames, times, frame_rate=frame_rate, size=observer.size)
            return {place: observer.at(times[place : place + 1], image)[0] for place, image in shown}

        unchanged: Reorder = lambda numbers: numbers  # noqa: E731
        span = (0.0, max(0.0, end - _INSIDE))
        own[name] = gather(stream, observer, timestamps, span=span, reorder=unchanged, look=look)
    plan = _Plan(contract, tuple(name for name in contract.streams if name not in own), timestamps, 0.0, end)
    if len(plan.timestamps):
        read_array = partial(each_frame_at, frames, frame_rate=frame_rate)
        shown = read_array(
            plan.timestamps,
            size=contract.size,
            fit=_fit(contract, partial(read_array, size=THUMBNAIL, interpolation="area"), 0.0, end),
            anchor=view.anchor,
            interpolation=contract.interpolation,
        )
        plan.keep(shown)
    return {name: own[name] if name in own else plan.images(name) for name in contract.streams}


def _shape(frames: npt.NDArray[np.uint8] | Tensor) -> tuple[int, int]:
    """Return (H, W) of frames in memory, channels last or first."""
    sides = tuple(frames.shape)
    height, width = sides[1:3] if len(sides) == 4 and sides[3] == 3 else sides[-2:]
    return int(height), int(width)


def _fit(contract: Contract, thumbnails: Thumbnails, start: float, end: float) -> Fit | Region:
    """Return how the frames of a clip come to the encoder's size."""
    if contract.fit != "motion":
        return contract.fit
    last = max(start, end - _INSIDE)
    return find_region(start, last, thumbnails, keyframes=contract.sampling.frames == "keyframes") or "stretch"


class _Plan:
    """The timestamps of all streams together, each once, their places in each stream, and the frames.

    A frame is kept once, however many timestamps show it; in gray only, where no stream needs its colours. With
    `photometric: auto` each stream is stretched by the frames that it reads: its images are the same, whichever streams
    are read beside it.
    """

    def __init__(
        self,
        contract: Contract,
        streams: tuple[str, ...],
        timestamps: npt.NDArray[np.float64],
        start: float,
        end: float,
    ) -> None:
        self._streams = {name: contract.streams[name] for name in streams}
        last = max(start, end - _INSIDE)
        each = {name: np.clip(stream.times(timestamps), start, last) for name, stream in self._streams.items()}
        self.timestamps = np.unique(np.concatenate([np.zeros(0), *(times.ravel() for times in each.values())]))
        self._where = {name: np.searchsorted(self.timestamps, times) for name, times in each.items()}
        self._frames: dict[bool, dict[int, Tensor]] = {}
        self._made: dict[str, Tensor] = {}
        self._histograms: dict[int, Histogram] | None = {} if contract.photometric == "auto" else None

    def reorder(self, order: npt.NDArray[np.int64]) -> None:
        """Give each timestamp the frame of another one; before `keep`."""
        self._where = {name: order[where] for name, where in self._where.items()}

    def keep(self, frames: Iterable[tuple[int, Tensor]]) -> None:
        """Keep what the streams need of the frames, which come with the places of their timestamps."""
        needed: dict[bool, set[int]] = {False: set(), True: set()}
        for name, where in self._where.items():
            needed[self._streams[name].gray].update(where.ravel().tolist())
        self._frames = {False: {}, True: {}}
        shown: Tensor | None = None
        gray: Tensor | None = None
        histogram: Histogram | None = None
        for place, image in frames:
            if image is not shown:
                shown, gray, histogram = image, None, None
            if place in needed[False]:
                self._frames[False][place] = image
            if place in needed[True]:
                gray = luma(image)[None] if gray is None else gray
                self._frames[True][place] = gray
            if self._histograms is not None:
                if histogram is None:
                    histogram = luma_histogram(luma(image) if gray is None else gray)
                self._histograms[place] = histogram

    def images(self, name: str, *, mirrored: bool = False) -> Tensor:
        """Return a stream, uint8 (T, 3, H, W)."""
        stream = self._streams[name]
        if mirrored and stream.symmetric:
            return self._combined(name).flip(-1)
        return self._combined(name, mirrored=mirrored)

    def _combined(self, name: str, *, mirrored: bool = False) -> Tensor:
        """Return the images of a stream, made of its frames; those that may be asked for twice are kept."""
        if not mirrored and name in self._made:
            return self._made[name]
        stream = self._streams[name]
        frames = self._stretched(name)
        images = []
        for places in self._where[name].tolist():
            near = torch.stack([frames[place] for place in places])
            images.append(stream.combine((near.flip(-1) if mirrored else near)[None]))
        made = torch.cat(images)
        if not mirrored:
            self._made[name] = made
        return made

    def _stretched(self, name: str) -> dict[int, Tensor]:
        """Return the frames of a stream by place, uint8 (C, H, W), each made once however many places show it."""
        frames = self._frames[self._streams[name].gray]
        if self._histograms is None:
            return frames
        places = np.unique(self._where[name]).tolist()
        stretch = stretch_of(self._histograms[place] for place in places)
        distinct = {id(frames[place]): frames[place] for place in places}
        made = {key: stretch(frame) for key, frame in distinct.items()}
        return {place: made[id(frames[place])] for place in places}


def clip_span(clip: Clip, limits: Limits = _DEFAULT_LIMITS) -> tuple[float, float]:
    """Return start and end of a clip in seconds, open ends filled in from the file.

    Raises:
        VideoError: the file cannot be used, or ends before the clip starts (`too_short`).
    """
    start = clip.start or 0.0
    if clip.end is not None:
        return start, clip.end
    duration = probe(clip.path, limits=limits).duration
    if duration <= start:
        raise VideoError(
            clip.path, "too_short", f"the clip starts at {start:g} s, and the video ends at {duration:.3f} s"
        )
    return start, duration


def typical_duration(clips: Sequence[Clip], limits: Limits = _DEFAULT_LIMITS) -> float | None:
    """Return the median duration of clips in seconds, of at most 64 of them; None where none can be read."""
    durations = []
    for clip in clips[:: max(1, len(clips) // 64)][:64]:
        with suppress(VideoError):
            start, end = clip_span(clip, limits)
            durations.append(end - start)
    return float(np.median(durations)) if durations else None


def _timestamps(clip: Clip, sampling: Sampling, view: View, start: float, end: float) -> npt.NDArray[np.float64]:
    if view.index == 0:
        return sampling.timestamps(start, end, part=view.part, path=clip.path)
    random = sampling.model_copy(update={"position": "random"})
    return random.timestamps(start, end, generator=_rng(clip, view.index, start, end), path=clip.path)


def _rng(clip: Clip, number: int, start: float, end: float) -> np.random.Generator:
    """Return a generator seeded by the clip's content and not by its name: features are cached by content."""
    content = int(content_hash(clip.path), 16)
    return np.random.default_rng([number, content, round(start * 1e6), round(end * 1e6)])
