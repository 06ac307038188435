"""The region of a clip where something moves: the recipe's `fit: motion`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from torch import Tensor

from marey.encoders.streams import luma
from marey.video import TIME_TOLERANCE, Region

ClipFit = Literal["stretch", "crop", "motion"]
"""Frames at the encoder's size: whole, their middle, or the region of the clip where something moves."""

Plane = npt.NDArray[np.float32]

_Shift = npt.NDArray[np.float64]
"""Pixels of a thumbnail, downwards and to the right, (2,)."""

Thumbnails = Callable[[npt.NDArray[np.float64]], Iterable[tuple[int, Tensor]]]
"""From ascending timestamps to the place of each and its frame, uint8 (3, *THUMBNAIL), the same tensor for the same
frame."""

THUMBNAIL: Final = (96, 96)
"""(H, W) of the frames that are compared: one pixel is a hundredth of the frame, whatever its shape."""

_STEP: Final = 0.125  # s between two frames that are compared: a person moves by pixels, a camera not out of sight
_PAIRS: Final = 32  # at most in a clip: 4 s without a gap, and evenly spaced ones of a longer clip
_FEWEST: Final = 4  # pairs before a region of a source that is played is known: half a second
_MEMORY: Final = 3.0  # s, as of the contrast: older movement counts e times less

_CELL: Final = 16  # pixels of a thumbnail, both ways
_AROUND: Final = 1 / 3  # of the cells at the edge of the frame: fewer change where the camera stands
_LOST: Final = 0.06  # of the contrast: more changes in most pixels where they are not those of the frame before
_REACH: Final = 24  # pixels of a thumbnail: a camera that moves by more between two frames is not followed
_STEPS: Final = 3  # in which a shift becomes exact to a fraction of a pixel
_OUTLIER: Final = 3.0  # times the mean change: more is not the camera's
_BETTER: Final = 0.8  # of the change is left at most where the camera was followed

_CHANGE: Final = 0.03  # of the contrast: less is not movement
_LEAST_CHANGE: Final = 2.0  # of 255, likewise: rounding and codecs
_NOISE: Final = 4.0  # times the median change: 2.7 standard deviations of noise
_SLIP: Final = 0.5  # px by which the camera may be followed wrongly

_OFTEN: Final = 0.02  # share of the pairs in which a pixel of the region changes
_FEW: Final = 6  # pixels of a thumbnail: fewer are nothing
_INSIDE: Final = (0.02, 0.98)  # of the change, by rows and by columns, that lies before and up to the end of it
_MARGIN: Final = 0.15  # of each side, on both ends
_LEAST: Final = 1 / 3  # of each side of the frame: no zoom on a hand
_MOST: Final = 0.9  # of both sides of the frame: more is the whole frame
_ENOUGH: Final = 0.7  # of the region that is kept: a smaller one takes its place


_WINDOW: Final = np.outer(np.hanning(THUMBNAIL[0]), np.hanning(THUMBNAIL[1]))
_SMOOTH: Final = np.exp(
    -np.add.outer(np.fft.fftfreq(THUMBNAIL[0]) ** 2, np.fft.rfftfreq(THUMBNAIL[1]) ** 2) / (2 * 0.1**2)
)
"""Weights of frequencies: fine ones are noise and edges between pixels."""


class MotionMap:
    """Maps of how often each part of the frame changes, over pairs of frames an eighth of a second apart.

    Two maps are kept: of the change as it is, and of what is left of it once the second frame has been moved by the
    shift of the camera (phase correlation, Kuglin and Hines 1975). The first one decides, and contains everything that
    moves; where it covers the frame, because the camera moves, the second one does. Pairs with nothing in common (cuts,
    a camera that turns quickly, noise alone) are left out; where they are the majority there is no region.
    """

    def __init__(self) -> None:
        self._plain: Plane = np.zeros(THUMBNAIL, np.float32)
        self._steady: Plane = np.zeros(THUMBNAIL, np.float32)
        self._known = 0.0
        self._lost = 0.0

    def fade(self, share: float) -> None:
        """Let all pairs so far count less, by a factor."""
        self._plain *= share
        self._steady *= share
        self._known *= share
        self._lost *= share

    def add(self, before: Plane, after: Plane) -> None:
        """Add a pair of frames, as `thumbnail` gives them."""
        low, high = np.percentile(np.concatenate([before[::2, ::2], after[::2, ::2]]), (1, 99))
        contrast = float(high - low)
        plain = _change(before, after)
        noise = float(np.median(plain))
        steady = plain
        least = max(_LEAST_CHANGE, _CHANGE * contrast)
        if noise > least or _around(plain > least) > _AROUND:
            steady, followed = _follow(before, after, plain)
            noise = min(noise, followed)
        if noise > max(_LEAST_CHANGE, _LOST * contrast):
            self._lost += 1
            return
        floor = max(least, _NOISE * noise)
        self._plain += np.clip(plain / floor - 1, 0, 1)
        self._steady += np.clip(steady / floor - 1, 0, 1)
        self._known += 1

    @property
    def core(self) -> Region | None:
        """Region that changes, without a margin; None where nothing does, and where most pairs are left out."""
        if self._known <= self._lost:
            return None
        core = _core(self._plain / self._known)
        if core is not None and widened(core) is None:
            core = _core(self._steady / self._known)
        return core


def widened(core: Region) -> Region | None:
    """Return what is cut out for a region that changes: with a margin, of a least size; None for the whole frame."""
    top, bottom = _widen(core.top, core.bottom)
    left, right = _widen(core.left, core.right)
    if min(bottom - top, right - left) >= _MOST:
        return None
    return Region(top, left, bottom, right)


def thumbnail(image: Tensor) -> Plane:
    """Return a frame as `MotionMap` compares it, float32 (H, W), from uint8 (3, H, W)."""
    smooth: Plane = ndimage.gaussian_filter(luma(image).numpy().astype(np.float32), 0.7, mode="nearest", truncate=3)
    return smooth


def find_region(start: float, end: float, thumbnails: Thumbnails, *, keyframes: bool = False) -> Region | None:
    """Return the region where a clip moves; None for the whole frame.

    Pairs of frames an eighth of a second apart are compared, at most 32 of them, evenly spaced over the clip: the
    region depends on the span and on nothing that is read of it. Key frames are compared with the next one, however
    far it is.

    Args:
        start: of the clip, seconds.
        end: of its last frame, likewise.
        thumbnails: reads frames.
        keyframes: whether the clip is read by its key frames.
    """
    pairs = _pairs_of_keyframes(start, end) if keyframes else _pairs(start, end)
    timestamps, where = np.unique(pairs, return_inverse=True)
    frames: list[Tensor | None] = [None] * len(timestamps)
    for place, frame in thumbnails(timestamps):
        frames[place] = frame
    planes: dict[int, Plane] = {}
    motion = MotionMap()
    places: npt.NDArray[np.intp] = where.reshape(pairs.shape)
    for first, last in places.tolist():
        before, after = frames[first], frames[last]
        if before is None or after is None or before is after:
            continue  # one frame for both: it says nothing
        for frame in (before, after):
            if id(frame) not in planes:
                planes[id(frame)] = thumbnail(frame)
        motion.add(planes[id(before)], planes[id(after)])
    core = motion.core
    return None if core is None else widened(core)


class RunningRegion:
    """The region where a source moves that is played once, from the frames that have been seen.

    An exponential average: movement of 3 s ago counts e times less than the latest, and memory holds two small maps
    however long the source is. So that the region does not swing with every movement, it stays until something moves
    outside of it, or 0.7 of it would do. In the first half second it is the whole frame.
    """

    def __init__(self) -> None:
        self._motion = MotionMap()
        self._latest: tuple[int, float, Plane] | None = None
        self._next = 0.0
        self._pairs = 0
        self.region: Region | None = None

    def is_due(self, until: float) -> bool:
        """Return whether a frame is compared that is on screen until then, in seconds."""
        if self._next + TIME_TOLERANCE >= until:
            return False
        self._next = (math.floor((until - TIME_TOLERANCE) / _STEP) + 1) * _STEP
        return True

    def add(self, image: Tensor, number: int, time: float) -> bool:
        """Add a frame, and return whether the region is another one now.

        Args:
            image: uint8 (3, *THUMBNAIL).
            number: of the frame in its source.
            time: its presentation time in seconds.
        """
        if self._latest is not None and self._latest[0] == number:
            return False
        plane = thumbnail(image)
        if self._latest is not None:
            self._motion.fade(math.exp(-max(0.0, time - self._latest[1]) / _MEMORY))
            self._motion.add(self._latest[2], plane)
            self._pairs += 1
        self._latest = (number, time, plane)
        before = self.region
        if self._pairs >= _FEWEST:
            self.region = self._chosen()
        return self.region != before

    def _chosen(self) -> Region | None:
        core = self._motion.core
        wanted = None if core is None else widened(core)
        if core is None or wanted is None:
            return None
        kept = self.region or Region(0, 0, 1, 1)
        if kept.contains(core) and wanted.area > _ENOUGH * kept.area:
            return self.region
        return wanted


def _pairs(start: float, end: float) -> npt.NDArray[np.float64]:
    """Return the timestamps of pairs of frames, (P, 2)."""
    count = min(_PAIRS, max(1, math.floor((end - start) / _STEP + TIME_TOLERANCE)))
    middles = start + (np.arange(count) + 0.5) * ((end - start) / count)
    pairs: npt.NDArray[np.float64] = np.add.outer(middles, [-_STEP / 2, _STEP / 2]).clip(start, end).round(6)
    return pairs


def _pairs_of_keyframes(start: float, end: float) -> npt.NDArray[np.float64]:
    edges = np.linspace(start, end, _PAIRS + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _change(before: Plane, after: Plane) -> Plane:
    """Return how much each pixel changes, apart from what the light does to all of them."""
    change = after - before
    plain: Plane = np.abs(change - np.median(change))
    return plain


def _around(changed: npt.NDArray[np.bool_]) -> float:
    """Return the share of cells at the edge of the frame in which more than a few pixels change."""
    rows, columns = (side // _CELL for side in THUMBNAIL)
    cells = changed.reshape(rows, _CELL, columns, _CELL).sum(axis=(1, 3)) >= _FEW
    edge = np.concatenate([cells[0], cells[-1], cells[1:-1, 0], cells[1:-1, -1]])
    return float(edge.mean())


def _follow(before: Plane, after: Plane, plain: Plane) -> tuple[Plane, float]:
    """Return what changes once the camera's shift is undone, less the error that it may have; and the median change."""
    shift = _shift(before, after)
    for _ in range(_STEPS):
        first, second, inner = _aligned(before, after, shift)
        shift = np.clip(shift + _rest(first[inner], second[inner]), -_REACH, _REACH)
    first, second, inner = _aligned(before, after, shift)
    steady = _change(first, second)
    if steady[inner].mean() > _BETTER * plain[inner].mean():
        return plain, float(np.median(plain))
    followed: Plane = np.zeros_like(plain)
    followed[inner] = (steady - _SLIP * np.hypot(*np.gradient((first + second) / 2)))[inner]
    return followed, float(np.median(steady[inner]))


def _aligned(before: Plane, after: Plane, shift: _Shift) -> tuple[Plane, Plane, tuple[slice, slice]]:
    """Return both frames as if the camera had stood halfway, and the part of them that both show."""
    rows, columns = (math.ceil(abs(each) / 2) + 1 for each in shift.tolist())
    inner = slice(rows, -rows), slice(columns, -columns)
    return _moved(before, shift / 2), _moved(after, -shift / 2), inner


def _moved(frame: Plane, shift: _Shift) -> Plane:
    """Return a frame moved downwards and to the right, with linear interpolation; its edges are repeated."""
    for axis, (side, distance) in enumerate(zip(frame.shape, shift.tolist(), strict=True)):
        whole = math.floor(distance)
        part = np.float32(distance - whole)
        near, far = (np.clip(np.arange(side) - whole - step, 0, side - 1) for step in (0, 1))
        frame = frame.take(near, axis) * (1 - part) + frame.take(far, axis) * part
    return frame


def _shift(before: Plane, after: Plane) -> _Shift:
    """Return by how many pixels, downwards and to the right, most of a frame moves: phase correlation."""
    spectra = [np.fft.rfft2((frame - frame.mean()) * _WINDOW) for frame in (before, after)]
    cross = np.conj(spectra[0]) * spectra[1]
    peaks = np.fft.irfft2(_SMOOTH * cross / np.maximum(np.abs(cross), 1e-9), s=THUMBNAIL)
    near = np.roll(peaks, (_REACH, _REACH), axis=(0, 1))[: 2 * _REACH + 1, : 2 * _REACH + 1]
    peak: _Shift = np.array(np.unravel_index(int(near.argmax()), near.shape), np.float64) - _REACH
    return peak


def _rest(first: Plane, second: Plane) -> _Shift:
    """Return the shift that is left between two frames: least squares (Lucas and Kanade 1981) without what moves."""
    change = second - first
    change -= np.median(change)
    slopes = np.stack([slope.ravel() for slope in np.gradient((first + second) / 2)])
    error = np.abs(change).ravel()
    weights = error <= _OUTLIER * max(1.0, float(error.mean()))
    squares = (slopes * weights) @ slopes.T + np.eye(2)
    rest: _Shift = -np.linalg.solve(squares, (slopes * weights) @ change.ravel()).astype(np.float64)
    return rest.clip(-1, 1)


def _core(often: Plane) -> Region | None:
    """Return where most of the change lies, by rows and by columns; None where there is next to none."""
    energy = ndimage.median_filter(often, size=3, mode="nearest")
    energy[energy < _OFTEN] = 0
    if np.count_nonzero(energy) < _FEW:
        return None
    (top, bottom), (left, right) = (_span(energy.sum(axis=axis, dtype=np.float64)) for axis in (1, 0))
    return Region(top, left, bottom, right)


def _span(energy: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the start and the end of most of the energy, as shares of the side."""
    shares = np.cumsum(energy) / energy.sum()
    first, last = (int(np.searchsorted(shares, share)) for share in _INSIDE)
    return first / len(energy), (last + 1) / len(energy)


def _widen(first: float, last: float) -> tuple[float, float]:
    """Add the margin to a span of a side, make it long enough, and move it into the frame."""
    length = min(1.0, max(_LEAST, (last - first) * (1 + 2 * _MARGIN)))
    first = min(max(0.0, (first + last - length) / 2), 1 - length)
    return first, min(1.0, first + length)
