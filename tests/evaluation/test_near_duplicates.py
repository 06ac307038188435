"""Near-duplicates among drawn clips: a textured place, and something that moves through it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from marey.evaluation import find_near_duplicates, likeness, propose_pairs


def scene(take: int, *, place: int = 0, frames: int = 24) -> Tensor:
    """Return a clip, uint8 (T, 72, 96): a place, and a patch of noise that wanders over it, another way each take."""
    ground = np.random.default_rng(1000 + place).uniform(40, 200, (12, 16))
    still = functional.interpolate(torch.from_numpy(ground)[None, None], size=(72, 96), mode="bilinear")[0, 0]
    rng = np.random.default_rng(take)
    patch = torch.from_numpy(rng.uniform(0, 255, (18, 12)))
    way = np.array([26, 40]) + np.cumsum(rng.normal(0, 3, (frames, 2)), 0)
    clip = still.repeat(frames, 1, 1)
    for frame, (down, right) in zip(clip, np.clip(way, (6, 8), (48, 76)).astype(int), strict=True):
        frame[down : down + 18, right : right + 12] = patch
    return clip.round().byte()


def small(clip: Tensor) -> Tensor:
    return functional.interpolate(clip[None].float(), size=(36, 48), mode="area")[0].round().byte()


def noisy(clip: Tensor) -> Tensor:
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 6, clip.shape))
    return (clip + noise).clamp(0, 255).byte()


COPIES: dict[str, Callable[[Tensor], Tensor]] = {
    "encoded again": noisy,
    "mirrored": lambda clip: clip.flip(-1),
    "cropped": lambda clip: clip[:, 5:67, 7:89],
    "shifted in time": lambda clip: clip[5:],
    "shifted in space": lambda clip: functional.pad(clip[:, 4:, 6:], (0, 6, 0, 4)),
    "brighter": lambda clip: (clip.float() * 0.9 + 20).byte(),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_recognised(kind: str) -> None:
    found = likeness(small(scene(1)), small(COPIES[kind](scene(1))))
    assert found is not None
    assert found >= 0.5


def test_another_take_at_the_same_place_is_no_copy() -> None:
    assert likeness(small(scene(1)), small(scene(2))) is None


def test_another_place_is_no_copy() -> None:
    assert likeness(small(scene(1)), small(scene(1, place=1))) is None


def test_clips_without_movement_are_no_copies() -> None:
    still = torch.full((8, 36, 48), 90, dtype=torch.uint8)
    assert likeness(still, still) is None


def features(takes: list[int]) -> Tensor:
    """Return features (N, 4, 30): what a take looks like, and what all have in common."""
    rows = [np.random.default_rng(take).normal(0, 1, (4, 30)) for take in takes]
    return torch.from_numpy(np.stack(rows)).float() + 3


def others(groups: list[int]) -> Callable[[int], npt.NDArray[np.bool_]]:
    names = np.array(groups)
    return lambda row: names != names[row]


def test_pairs_are_proposed_across_groups_only() -> None:
    takes = [1, 2, 3, 4, 5, 1, 2]
    pairs = propose_pairs(features(takes), None, others([0, 0, 1, 1, 2, 2, 0]))
    assert (0, 5) in [pair[:2] for pair in pairs]
    assert (1, 6) not in [pair[:2] for pair in pairs]


def test_a_mirrored_copy_is_proposed_by_its_mirror_image() -> None:
    plain, mirrored = features([1, 2, 3, 4, 5, 9]), features([11, 12, 13, 14, 15, 1])
    best = max(propose_pairs(plain, mirrored, others([0, 1, 2, 3, 4, 5])), key=lambda pair: pair[2])
    assert best[:2] == (0, 5)


def test_frames_decide_what_features_propose() -> None:
    takes, groups = [1, 2, 3, 4, 1], [0, 0, 1, 1, 2]
    clips = [small(scene(take)) for take in takes]
    (found,) = find_near_duplicates(features([1, 2, 3, 3, 1]), None, others(groups), clips.__getitem__)
    assert (found.first, found.second, found.by) == (0, 4, "frames")


def test_a_clip_whose_frames_cannot_be_read_is_passed_over() -> None:
    assert find_near_duplicates(features([1, 2, 1]), None, others([0, 1, 2]), lambda row: None) == ()


def test_features_alone_have_to_be_nearly_equal() -> None:
    given = features([1, 2, 3, 4, 1])
    given[4] += 0.02 * torch.from_numpy(np.random.default_rng(7).normal(0, 1, given[4].shape)).float()
    (found,) = find_near_duplicates(given, None, others([0, 1, 2, 3, 4]), None)
    assert (found.first, found.second, found.by) == (0, 4, "features")
    assert find_near_duplicates(features([1, 2, 3, 4, 5]), None, others([0, 1, 2, 3, 4]), None) == ()
