"""What chance does to the pictures of a clip: the same to all of its frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from marey.training import Augmentation, augment
from marey.training.augmentation import Draws


def clips(count: int = 3, *, frames: int = 4, size: tuple[int, int] = (12, 16)) -> Tensor:
    """Frames of a clip are alike, so that whatever is done to one of them shows in the others."""
    chance = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (count, 1, 3, *size), dtype=torch.uint8, generator=chance)
    return pictures.expand(-1, frames, -1, -1, -1).contiguous()


def draws(count: int, seed: int) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), count)


def changed(given: Tensor, *, seed: int = 0, **how: float) -> Tensor:
    how_much = Augmentation.model_validate(how)
    return augment({"a": given}, how_much, draws(len(given), seed))["a"]


def test_nothing_is_done_where_nothing_is_asked_for() -> None:
    given = clips()
    assert changed(given) is given


@pytest.mark.parametrize("how", ["crop", "shift", "flip", "brightness", "contrast"])
def test_all_frames_of_a_clip_are_changed_alike_and_clips_differently(how: str) -> None:
    given = clips(8)
    result = changed(given, seed=0, **{how: 0.5})
    assert result.shape == given.shape
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, result[:, :1].expand_as(result))
    difference = (result - given.float()).abs().mean(dim=(1, 2, 3, 4))
    assert difference.max() > 1
    assert len(set(difference.round(decimals=3).tolist())) > 1
    assert result.min() >= 0
    assert result.max() <= 255


def test_a_certain_flip_exchanges_left_and_right() -> None:
    given = clips()
    torch.testing.assert_close(changed(given, flip=1.0), given.float().flip(-1), rtol=0, atol=1e-2)


def test_brightness_scales_every_pixel_by_the_same() -> None:
    given = clips() // 3 + 1
    factor = changed(given, brightness=0.5) / given
    torch.testing.assert_close(factor, factor[:, :1, :1, :1, :1].expand_as(factor))
    assert factor.min() >= 0.5
    assert factor.max() <= 1.5


def test_contrast_keeps_the_mean() -> None:
    given = clips() // 3 + 80
    result = changed(given, contrast=0.5)
    torch.testing.assert_close(result.mean(dim=(1, 2, 3, 4)), given.float().mean(dim=(1, 2, 3, 4)))


def test_a_crop_is_a_part_of_the_picture_as_large_as_it() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).expand(1, 2, 3, 8, 64).contiguous()
    result = changed(ramp, seed=3, crop=0.9)
    steps = result[0, 0, 0, 4].diff()
    assert steps.max() < 1  # stretched
    assert steps.min() >= 0


def test_streams_of_a_clip_are_moved_alike() -> None:
    given = clips()
    both = augment({"a": given, "b": given}, Augmentation(crop=0.4, flip=0.5), draws(len(given), 1))
    assert torch.equal(both["a"], both["b"])


def test_the_same_chance_gives_the_same_clips() -> None:
    how = {"crop": 0.3, "shift": 0.1, "flip": 0.5, "brightness": 0.2, "contrast": 0.2}
    assert torch.equal(changed(clips(), seed=5, **how), changed(clips(), seed=5, **how))
    assert not torch.equal(changed(clips(), seed=5, **how), changed(clips(), seed=6, **how))
