"""Features of the poses of a clip: of two people at each timestamp, whatever the place and scale of the video."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.data.importers.keypoint_formats import JOINTS
from marey.encoders.pose_tracks import PEOPLE, PERSON, TORSO, Linker, height_of, prominence

Floats = npt.NDArray[np.float32]

OBSERVATION: Final = 1 + PEOPLE * PERSON
"""Numbers of one observation: seconds from the timestamp that it belongs to, then the people."""

_SHOULDERS, _HIPS = [5, 6], [11, 12]
_WRISTS: Final = (9, 10)
_HEAD: Final = [0, 1, 2, 3, 4]
_PERSON_DIM: Final = 1 + 2 * JOINTS + JOINTS + 2 * JOINTS + JOINTS + 2 + 2 + 1
_PAIR_DIM: Final = 1 + 2 + 1 + 1 + 2 * JOINTS + 2 * len(_WRISTS)

POSE_DIM: Final = 2 * _PERSON_DIM + _PAIR_DIM
"""D: numbers of a feature vector."""

_TORSO_SHARE: Final = 0.3  # of the diagonal of a person's box, where no torso is seen
_REACH: Final = 1.0  # heights between two observations, which may lie far apart in time
_LIMIT: Final = 20.0  # torso lengths, or those a second: more is a wrong detection
_MIRRORED: Final = [0, *(joint + 1 if joint % 2 else joint - 1 for joint in range(1, JOINTS))]


def pose_features(observed: Tensor) -> Tensor:
    """Return the features of a clip, or of a window.

    Lengths are in torso lengths, the median over the clip; velocities are per second. So neither the place of the
    people in the image nor its scale changes them, and the frame rate only as far as it hides motion.

        each person   1  is there
                     34  joints from the middle of the own hips
                     17  confidence of the joints, 0 where one is missing; its numbers are 0 then
                     34  velocity of the joints against the hips
                     17  speed of the joints
                      2  middle of the hips from the mean of the clip
                    2+1  its velocity and speed
        both          1  both are there
                    2+1  from the hips of the first to those of the second, and the distance
                      1  its change a second
                     34  distance of each joint of one to the middle of the other's torso
                      4  distance of each hand to the other's head

    The two people are the most prominent of the clip by height and confidence; the left one comes first.

    Args:
        observed: float32 (T, K, OBSERVATION): K observations around each timestamp, in the order of time.

    Returns:
        float32 (T, POSE_DIM).
    """
    values = observed.numpy()
    count, looks = values.shape[:2]
    people = values[..., 1:].reshape(count * looks, PEOPLE, PERSON)
    spread = float(np.median(np.ptp(values[..., 0], axis=1))) if looks > 1 else 0.0
    first, second = two_people(people, step=spread / max(1, looks - 1))
    lanes = np.stack([first, second]).reshape(2, count, looks, JOINTS, 3)
    scale = _scale(lanes)
    poses, velocities = _settled(lanes, values[..., 0])
    poses[..., :2] /= scale
    velocities /= scale
    hips = _middles(poses, _HIPS)
    everywhere = hips[np.isfinite(hips[..., 0])]
    middle = everywhere.mean(0) if len(everywhere) else np.zeros(2, dtype=np.float32)
    drift = _drift(velocities)
    parts = [_person(poses[lane], velocities[lane], hips[lane] - middle, drift[lane]) for lane in range(2)]
    parts.append(_pair(poses, hips, drift))
    found = np.nan_to_num(np.concatenate(parts, axis=1), nan=0.0).clip(-_LIMIT, _LIMIT)
    return torch.from_numpy(found.astype(np.float32))


def mirror_observed(observed: Tensor) -> Tensor:
    """Return observations with left and right exchanged: (T, K, OBSERVATION) to the same."""
    mirrored = observed.clone()
    joints = mirrored[..., 1:].view(*observed.shape[:-1], PEOPLE, PERSON)[..., 1:]
    joints = joints.view(*joints.shape[:-1], JOINTS, 3)
    exchanged = joints[..., _MIRRORED, :].clone()
    exchanged[..., 0] *= -1
    joints.copy_(exchanged)
    return mirrored


def two_people(people: Floats, *, step: float) -> tuple[Floats, Floats]:
    """Return the poses of the two most prominent people of a clip, the left one first: (S, 17, 3) each.

    A person who is found again under another number continues the one who is absent then.

    Args:
        people: (S, PEOPLE, PERSON), S observations in the order of time.
        step: seconds from one to the next, for people whose track is not known.
    """
    tracks: dict[int, dict[int, Floats]] = {}
    linker = Linker(reach=_REACH)
    for place, everyone in enumerate(people):
        there = [row for row in everyone if np.isfinite(row[0])]
        joints = [row[1:].reshape(JOINTS, 3) for row in there]
        unknown = [pose for row, pose in zip(there, joints, strict=True) if row[0] < 0]
        numbers = iter(linker.link(unknown, place * step))
        for row, pose in zip(there, joints, strict=True):
            number = int(row[0]) if row[0] >= 0 else -1 - next(numbers)
            tracks.setdefault(number, {}).setdefault(place, pose)
    lanes = np.full((2, len(people), JOINTS, 3), np.nan, dtype=np.float32)
    taken: list[set[int]] = [set(), set()]
    for track in sorted(tracks.values(), key=lambda each: -sum(map(prominence, each.values()))):
        lane = next((lane for lane in (0, 1) if not taken[lane] & track.keys()), None)
        if lane is not None:
            taken[lane] |= track.keys()
            for place, pose in track.items():
                lanes[lane, place] = pose
    together = sorted(taken[0] & taken[1])
    places = [together or sorted(each) for each in taken]
    if all(taken):
        across = [np.nanmean(lanes[lane, places[lane], :, 0]) for lane in (0, 1)]
        if across[0] > across[1]:
            lanes = lanes[::-1]
    return lanes[0], lanes[1]


def _scale(lanes: Floats) -> float:
    """Return the median torso length in pixels; from the people's boxes where no torso is seen."""
    torso = np.linalg.norm(lanes[..., _SHOULDERS, :2].mean(-2) - lanes[..., _HIPS, :2].mean(-2), axis=-1)
    torso = torso[np.isfinite(torso) & (torso > 0)]
    if len(torso):
        return float(np.median(torso))
    heights = [height_of(pose) for pose in lanes.reshape(-1, JOINTS, 3)]
    heights = [height for height in heights if height > 0]
    return _TORSO_SHARE * float(np.median(heights)) if heights else 1.0


def _settled(lanes: Floats, offsets: Floats) -> tuple[Floats, Floats]:
    """Return the pose at each timestamp, (2, T, 17, 3), and velocities in pixels a second, (2, T, 17, 2).

    The velocity of a joint is that between its first and its last observation; its place is interpolated between
    the nearest two of them.
    """
    there = np.isfinite(lanes[..., 0])  # (2, T, K, 17)
    looks = lanes.shape[2]
    number = np.arange(looks)[None, None, :, None]
    when = np.broadcast_to(offsets[None, :, :, None], there.shape)
    first = np.where(there, number, looks).min(2).clip(max=looks - 1)
    last = np.where(there, number, -1).max(2).clip(min=0)
    before = np.where(there & (when <= 1e-6), number, -1).max(2)
    after = np.where(there & (when >= -1e-6), number, looks).min(2)
    before, after = np.where(before < 0, first, before), np.where(after >= looks, last, after)

    def take(values: Floats, place: npt.NDArray[np.int64]) -> Floats:
        return np.take_along_axis(values, place.reshape(*place.shape[:2], 1, JOINTS, *[1] * (values.ndim - 4)), 2)[
            :, :, 0
        ]

    low, high = take(lanes, before), take(lanes, after)
    start, end = take(when, before), take(when, after)
    share = np.where(end > start, -start / np.where(end > start, end - start, 1), 0).clip(0, 1)[..., None]
    poses = low + (high - low) * share
    elapsed = (take(when, last) - take(when, first))[..., None]
    moved = take(lanes, last)[..., :2] - take(lanes, first)[..., :2]
    velocities = np.where(elapsed > 1e-3, moved / np.where(elapsed > 1e-3, elapsed, 1), 0 * moved)
    return poses, velocities


def _middles(poses: Floats, joints: list[int]) -> Floats:
    """Return the middle of some joints, of the torso or of all where those are missing: (..., 17, 3) to (..., 2)."""
    found = np.full((*poses.shape[:-2], 2), np.nan, dtype=np.float32)
    for choice in (joints, list(TORSO), list(range(JOINTS))):
        mean = _mean(poses[..., choice, :2])
        found = np.where(np.isfinite(found), found, mean)
    return found


def _mean(values: Floats) -> Floats:
    """Return the mean over the last axis but one of what is not NaN; NaN where nothing is."""
    there = np.isfinite(values)
    count = there.sum(-2)
    total = np.where(there, values, 0).sum(-2)
    found: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return found


def _drift(velocities: Floats) -> Floats:
    """Return the velocity of the torso, (2, T, 2); of all joints where it is missing."""
    torso, everything = _mean(velocities[..., list(TORSO), :]), _mean(velocities)
    return np.where(np.isfinite(torso), torso, everything)


def _person(pose: Floats, velocity: Floats, place: Floats, drift: Floats) -> Floats:
    """Return the features of one person, (T, _PERSON_DIM)."""
    count = len(pose)
    own = pose[..., :2] - _middles(pose, _HIPS)[:, None]
    own_velocity = velocity - drift[:, None]
    there = np.isfinite(pose[..., 0]).any(1, keepdims=True)
    return np.concatenate(
        [
            there,
            own.reshape(count, -1),
            np.nan_to_num(pose[..., 2]),
            own_velocity.reshape(count, -1),
            np.linalg.norm(own_velocity, axis=-1),
            place,
            drift,
            np.linalg.norm(drift, axis=-1, keepdims=True),
        ],
        axis=1,
    )


def _pair(poses: Floats, hips: Floats, drift: Floats) -> Floats:
    """Return the features of both people together, (T, _PAIR_DIM); 0 where one is missing."""
    apart = hips[1] - hips[0]
    distance = np.linalg.norm(apart, axis=-1, keepdims=True)
    change = ((drift[1] - drift[0]) * apart).sum(-1, keepdims=True) / np.maximum(distance, 1e-3)
    torsos, heads = _middles(poses, list(TORSO)), _middles(poses, _HEAD)
    to_torso, to_head = [], []
    for own, other in ((0, 1), (1, 0)):
        joints = poses[own][..., :2]
        to_torso.append(np.linalg.norm(joints - torsos[other][:, None], axis=-1))
        to_head.append(np.linalg.norm(joints[:, _WRISTS] - heads[other][:, None], axis=-1))
    both = np.isfinite(distance)
    return np.concatenate([both, apart, distance, change, *to_torso, *to_head], axis=1)
