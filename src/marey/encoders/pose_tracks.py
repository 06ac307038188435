"""The people of a keypoint file over time: linked from frame to frame, and interpolated at any timestamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from marey.data.importers.keypoint_files import Keypoints
from marey.data.importers.keypoint_formats import JOINTS

Floats = npt.NDArray[np.float32]

PEOPLE: Final = 4
"""People that are kept of one timestamp."""

PERSON: Final = 1 + 3 * JOINTS
"""Numbers of a person: the track, -1 where it is not known, then x, y and confidence of each joint; NaN for nobody."""

TORSO: Final = (5, 6, 11, 12)  # shoulders and hips
_LOST: Final = 1.0  # s without the person after which a track ends
_REACH: Final = 0.3  # heights of a person, at which a detector finds one who stands still
_SPEED: Final = 4.0  # heights a second
_HOLD: Final = 1.5  # frames that a joint stays where it was seen last


@dataclass(slots=True)
class _Open:
    """A track while people are linked."""

    number: int
    centre: npt.NDArray[np.float64]
    height: float
    time: float


class Linker:
    """Links people from one timestamp to the next by the distance of their torsos.

    Detections and tracks are paired so that all distances together are least (Kuhn 1955); a person moves at most 4
    heights a second.

    Args:
        first: number of the first track.
        reach: heights of a person between two detections of one person who stands still.
    """

    def __init__(self, first: int = 0, *, reach: float = _REACH) -> None:
        self._next = first
        self._reach = reach
        self._open: list[_Open] = []

    def link(self, people: Sequence[Floats], time: float) -> list[int]:
        """Return the number of each person's track: people are (17, 3) each, with NaN for missing joints."""
        self._open = [track for track in self._open if abs(time - track.time) <= _LOST]
        found = [-1] * len(people)
        places = [(centre_of(person), height_of(person)) for person in people]
        if self._open and people:
            costs = np.array([[self._cost(track, *place, time) for track in self._open] for place in places])
            for row, column in zip(*linear_sum_assignment(costs), strict=True):
                if costs[row, column] < 1:
                    found[row] = self._open[column].number
        known = {track.number: track for track in self._open}
        for row, (centre, height) in enumerate(places):
            if found[row] < 0:
                found[row], self._next = self._next, self._next + 1
                known[found[row]] = _Open(found[row], centre, height, time)
                self._open.append(known[found[row]])
            track = known[found[row]]
            track.centre, track.height, track.time = centre, max(height, 1e-6), time
        return found

    def _cost(self, track: _Open, centre: npt.NDArray[np.float64], height: float, time: float) -> float:
        """Return the distance as a share of the largest one; at most 2."""
        reach = max(track.height, height, 1e-6) * (self._reach + _SPEED * abs(time - track.time))
        return min(2.0, float(np.linalg.norm(centre - track.centre)) / reach)


def centre_of(person: Floats) -> npt.NDArray[np.float64]:
    """Return the middle of a person's torso, or of all joints where none of it is seen: (17, 3) to (2,)."""
    there = np.isfinite(person[:, 0])
    torso = [joint for joint in TORSO if there[joint]]
    seen = person[torso] if torso else person[there]
    middle: npt.NDArray[np.float64] = seen[:, :2].astype(np.float64).mean(0) if len(seen) else np.zeros(2)
    return middle


def height_of(person: Floats) -> float:
    """Return the diagonal of the box of a person's joints, in pixels."""
    seen = person[np.isfinite(person[:, 0]), :2]
    return float(np.linalg.norm(seen.max(0) - seen.min(0))) if len(seen) else 0.0


@dataclass(slots=True)
class _Track:
    """One person over time.

    Attributes:
        number: of the person.
        times: (M,), seconds, ascending.
        joints: (M, 17, 3).
        seen: for each joint the rows in which it is there.
    """

    number: int
    times: npt.NDArray[np.float64]
    joints: Floats
    seen: list[npt.NDArray[np.int64]] = field(init=False)

    def __post_init__(self) -> None:
        there = np.isfinite(self.joints[:, :, 0])
        self.seen = [np.flatnonzero(there[:, joint]) for joint in range(JOINTS)]

    def at(self, times: npt.NDArray[np.float64], *, gap: float, hold: float) -> Floats:
        """Return the joints at some timestamps, (U, 17, 3); see `PoseTracks`."""
        found = np.full((len(times), JOINTS, 3), np.nan, dtype=np.float32)
        for joint, rows in enumerate(self.seen):
            if not len(rows):
                continue
            known, values = self.times[rows], self.joints[rows, joint]
            after = np.searchsorted(known, times, side="right")
            low, high = (after - 1).clip(0), after.clip(max=len(known) - 1)
            apart = known[high] - known[low]
            share = np.where(apart > 0, (times - known[low]) / np.where(apart > 0, apart, 1), 0)[:, None]
            between = (after > 0) & (after < len(known)) & (apart <= gap)
            near_low = (after > 0) & (times - known[low] <= hold)
            near_high = (after < len(known)) & (known[high] - times <= hold)
            mixed = values[low] + (values[high] - values[low]) * share
            held = np.where(near_low[:, None], values[low], values[high])
            chosen = np.where(between[:, None], mixed, held)
            there = between | near_low | near_high
            found[there, joint] = chosen[there]
        return found


class PoseTracks:
    """The people of a video at any timestamp.

    A joint that is missing in a few frames is interpolated between those in which it is seen; after the last one it
    stays for one frame and a half, as frames do on the screen.

    Args:
        keypoints: of the video.
        times: timestamps of its frames, (N,), seconds.
        size: (H, W) of its frames.
        confidence: joints below it count as missing.
        gap: seconds over which missing joints are interpolated.
    """

    def __init__(
        self,
        keypoints: Keypoints,
        times: npt.NDArray[np.float64],
        *,
        size: tuple[int, int],
        confidence: float,
        gap: float,
    ) -> None:
        joints = keypoints.joints.copy()
        with np.errstate(invalid="ignore"):
            joints[joints[:, :, 2] < confidence] = np.nan
        if keypoints.normalised:
            joints[:, :, :2] *= np.array([size[1], size[0]], dtype=np.float32)
        there = np.isfinite(joints[:, :, 0]).any(1)
        when = times[keypoints.frames] if keypoints.times is None else keypoints.times
        self._tracks = _linked(joints[there], when[there], keypoints.tracks[there])
        self._gap = gap
        self._hold = _HOLD * float(np.median(np.diff(times))) if len(times) > 1 else gap

    def at(self, times: npt.NDArray[np.float64]) -> Floats:
        """Return the people at some timestamps, (U, PEOPLE, PERSON): those with the largest, most certain poses."""
        found = np.full((len(times), PEOPLE, PERSON), np.nan, dtype=np.float32)
        if not len(times):
            return found
        first, last = float(times.min()) - self._hold, float(times.max()) + self._hold
        near = [track for track in self._tracks if track.times[0] <= last and track.times[-1] >= first]
        poses = [track.at(times, gap=self._gap, hold=self._hold) for track in near]
        for place in range(len(times)):
            seen = [
                (track.number, pose[place])
                for track, pose in zip(near, poses, strict=True)
                if np.isfinite(pose[place, :, 0]).any()
            ]
            found[place] = pack(seen)
        return found


def pack(people: Sequence[tuple[int, Floats]]) -> Floats:
    """Return people, each with the number of the track and (17, 3), as (PEOPLE, PERSON): the most prominent ones."""
    found = np.full((PEOPLE, PERSON), np.nan, dtype=np.float32)
    largest = sorted(people, key=lambda each: -prominence(each[1]))[:PEOPLE]
    for row, (number, joints) in enumerate(sorted(largest, key=lambda each: each[0])):
        found[row, 0] = number
        found[row, 1:] = joints.reshape(-1)
    return found


def prominence(person: Floats) -> float:
    """Return height times mean confidence, missing joints counting as 0."""
    return height_of(person) * float(np.nan_to_num(person[:, 2]).mean())


def _linked(joints: Floats, times: npt.NDArray[np.float64], numbers: npt.NDArray[np.int64]) -> list[_Track]:
    """Return the tracks; people without a number are linked by distance."""
    numbers = numbers.copy()
    linker = Linker(int(numbers.max(initial=-1)) + 1)
    unknown = np.flatnonzero(numbers < 0)
    moments = times[unknown]
    for rows in np.split(unknown, np.flatnonzero(np.diff(moments)) + 1) if len(unknown) else []:
        numbers[rows] = linker.link(list(joints[rows]), float(times[rows[0]]))
    tracks = []
    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        _, first = np.unique(times[rows], return_index=True)  # of two people with one number in a frame the first
        rows = rows[first]
        tracks.append(_Track(int(number), times[rows], joints[rows]))
    return tracks
