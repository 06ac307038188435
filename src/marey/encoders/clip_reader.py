"""Read a clip as its contract says: one decoding for all streams, views and mirror images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.data import Clip, content_hash
from marey.encoders.contract import FRAME_ORDERS, Contract, FrameOrder, View
from marey.encoders.photometric import Histogram, luma_histogram, stretch_of
from marey.encoders.streams import luma
from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video import Limits, Sampling, decode_each, each_frame_at, probe

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
        Stream name to uint8 (T, 3, H, W).

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
    for decoding in dict.fromkeys(view.decoding for view in wanted):
        views = [view for view in wanted if view.decoding == decoding]
        # Frames are shuffled among those of all streams, so all streams are read.
        read = tuple(name for name in contract.streams if order != "given" or any(name in wanted[v] for v in views))
        plan = _Plan(contract, read, _timestamps(clip, contract.sampling, views[0], start, end), start, end)
        if order == "reversed":
            plan.reorder(np.arange(len(plan.timestamps))[::-1])
        elif order == "shuffled":
            plan.reorder(_rng(clip, 0, start, end).permutation(len(plan.timestamps)))
        frames = decode_each(
            clip.path,
            plan.timestamps,
            size=contract.size,
            fit=contract.fit,
            anchor=views[0].anchor,
            interpolation=contract.interpolation,
            frames=contract.sampling.frames,
            decoder=contract.sampling.decoder,
            limits=limits,
        )
        plan.keep(frames)
        for view in views:
            found[view] = {stream: plan.images(stream, mirrored=view.mirrored) for stream in wanted[view]}
    return found


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
        Stream name to uint8 (T, 3, H, W).

    Raises:
        UsageError: an array of another type or shape, an impossible rate, or a contract on key frames.
        VideoError: the clip is too short for the contract's sampling.
    """
    if contract.sampling.frames == "keyframes":
        raise UsageError(
            "this model looks at the key frames of files, and frames in memory have none; write them to a file"
        )
    end = max(len(frames), 1) / frame_rate if frame_rate > 0 else 1.0
    plan = _Plan(contract, tuple(contract.streams), contract.sampling.timestamps(0.0, end, part=view.part), 0.0, end)
    shown = each_frame_at(
        frames,
        plan.timestamps,
        frame_rate=frame_rate,
        size=contract.size,
        fit=contract.fit,
        anchor=view.anchor,
        interpolation=contract.interpolation,
    )
    plan.keep(shown)
    return {stream: plan.images(stream) for stream in contract.streams}


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
        self.timestamps = np.unique(np.concatenate([times.ravel() for times in each.values()]))
        self._where = {name: np.searchsorted(self.timestamps, times) for name, times in each.items()}
        self._frames: dict[bool, dict[int, Tensor]] = {}
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
        frames = self._stretched(name)
        images = []
        for places in self._where[name].tolist():
            near = torch.stack([frames[place] for place in places])
            images.append(stream.combine((near.flip(-1) if mirrored else near)[None]))
        return torch.cat(images)

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
