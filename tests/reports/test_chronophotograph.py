from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from marey.errors import UsageError
from marey.reports.chronophotograph import Order, chronophotograph, image_grid


def crossing(*, shake: int = 0, noise: float = 2.0, seed: int = 0) -> torch.Tensor:
    """A red square that crosses a textured wall in eight clear steps, filmed with a camera that shakes."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(80, 180, size=(24, 32))
    wall = np.repeat(np.repeat(coarse, 5, axis=0), 5, axis=1)[..., None].repeat(3, axis=2)
    frames = []
    for index in range(40):
        frame = wall.copy()
        left = index // 5 * 20
        frame[50:70, left : left + 14] = (220, 20, 20)
        frame = np.roll(frame, rng.integers(-shake, shake + 1, size=2), axis=(0, 1))
        frames.append(np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255))
    return torch.from_numpy(np.stack(frames).astype(np.uint8)).permute(0, 3, 1, 2)


def red(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    colours = image.astype(np.int64)
    result: npt.NDArray[np.bool_] = (colours[..., 0] > 180) & (colours[..., 1] < 70)
    return result


@pytest.mark.parametrize("order", ["strongest", "latest"])
@pytest.mark.parametrize("shake", [0, 2])
def test_a_chronophotograph_shows_every_place_of_a_moving_object(order: Order, shake: int) -> None:
    image = chronophotograph(crossing(shake=shake), exposures=None, order=order)

    assert image.shape == (120, 160, 3)
    assert image.dtype == np.uint8
    for step in range(8):
        assert red(image)[56:64, step * 20 + 4 : step * 20 + 10].mean() > 0.9, step
    assert red(image)[:40].sum() == 0
    assert red(image)[80:].sum() == 0


def test_a_chronophotograph_has_the_background_without_the_object() -> None:
    frames = crossing()
    image = chronophotograph(frames).astype(np.float64)
    still = frames[0].permute(1, 2, 0).numpy().astype(np.float64)

    assert np.abs(image[:45] - still[:45]).mean() < 4


def test_a_still_clip_gives_its_frame() -> None:
    frame = crossing(noise=0.0)[:1]
    image = chronophotograph(frame.repeat(10, 1, 1, 1))

    np.testing.assert_array_equal(image, frame[0].permute(1, 2, 0).numpy())


def test_fewer_exposures_leave_gaps() -> None:
    frames = crossing()
    all_of_them = red(chronophotograph(frames, exposures=None)).sum()
    two = red(chronophotograph(frames, exposures=2)).sum()

    assert 0 < two < 0.4 * all_of_them


def test_the_later_exposure_is_on_top() -> None:
    frames = torch.full((21, 3, 60, 60), 128, dtype=torch.uint8)
    frames[0, :, 20:40, 10:40] = 0
    frames[20, :, 20:40, 20:50] = 200
    latest = chronophotograph(frames, exposures=None, order="latest")
    strongest = chronophotograph(frames, exposures=None, order="strongest")

    assert latest[30, 30, 0] == 200
    assert strongest[30, 30, 0] == 0


@pytest.mark.parametrize(
    "frames", [torch.zeros(0, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, 8, 8), torch.zeros(4, 3, 8, 8)]
)
def test_an_array_of_another_kind_is_refused(frames: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=r"frames must be uint8 \(T, 3, H, W\)"):
        chronophotograph(frames)


def test_real_people_stay_visible(shared_data: object) -> None:
    from pathlib import Path

    from marey.video import decode

    path = sorted((Path(str(shared_data)) / "samples" / "kth").glob("*walking*"))[0]
    frames = decode(path, np.arange(0.4, 3.2, 0.08)).data
    image = chronophotograph(frames, exposures=8)
    empty = frames.float().median(dim=0).values.permute(1, 2, 0).numpy()

    changed = (np.abs(image - empty).max(axis=2) > 40).mean()
    single = (np.abs(frames[17].permute(1, 2, 0).numpy() - empty).max(axis=2) > 40).mean()
    assert changed > 3 * single


def test_a_grid_shows_images_with_captions() -> None:
    images = [(name, np.full((30, 40, 3), 90, dtype=np.uint8)) for name in "abcde"]
    wide = image_grid(images, columns=5)
    tall = image_grid(images, columns=1)

    assert (wide == 90).all(axis=2).sum() >= 5 * 30 * 40
    assert wide.shape[1] > wide.shape[0]
    assert tall.shape[0] > tall.shape[1]


def test_a_grid_of_images_of_two_sizes_is_refused() -> None:
    small, large = np.zeros((4, 4, 3), dtype=np.uint8), np.zeros((8, 8, 3), dtype=np.uint8)
    with pytest.raises(UsageError, match="one size"):
        image_grid([("a", small), ("b", large)])
    with pytest.raises(UsageError, match="none"):
        image_grid([])


@pytest.mark.parametrize("size", [(1, 960), (960, 1), (1, 1)])
def test_a_clip_of_a_single_row_or_column_has_a_chronophotograph(size: tuple[int, int]) -> None:
    frames = torch.arange(5 * 3 * size[0] * size[1]).remainder(251).to(torch.uint8).reshape(5, 3, *size)
    assert chronophotograph(frames).shape == (*size, 3)
