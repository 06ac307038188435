from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey.data.importers.array_images import InferredFormat, infer_pixel_format
from marey.data.importers.arrays import ArrayPart
from marey.errors import DatasetError

RGB = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 10, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def survey(*arrays: Any, **options: Any) -> InferredFormat:
    parts = [ArrayPart(f"part{i}", None, array, ("a",) * len(array)) for i, array in enumerate(arrays)]
    return infer_pixel_format(parts, Path("a.npz"), **options)


def images(array: Any, **options: Any) -> Any:
    return np.stack(list(survey(array, **options).format.frames(array[0])))


@pytest.mark.parametrize(
    "array",
    [
        RGB,
        RGB.transpose(0, 1, 4, 2, 3),
        RGB.transpose(0, 4, 1, 2, 3),
        RGB.astype(np.float32),
        RGB.astype(np.float64) / 255,
        (RGB / 255).astype(np.float32),
        (RGB / 255).astype(np.float16),
        RGB.astype(">i8"),
        np.asfortranarray(RGB),
    ],
    ids=["THWC", "TCHW", "CTHW", "float 255", "float64 1", "float32 1", "float16 1", "big-endian", "by columns"],
)
def test_colour_comes_back_from_every_layout_and_range(array: Any) -> None:
    assert (images(array) == RGB[0]).all()


@pytest.mark.parametrize("array", [GREY, GREY[..., None], GREY[:, None].transpose(0, 2, 1, 3, 4), GREY / 255])
def test_grey_comes_back_as_grey(array: Any) -> None:
    found = images(array)
    assert found.shape == (4, 6, 10)
    assert (found == GREY[0]).all()


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_masks_of_0_and_1_become_black_and_white(kind: Any) -> None:
    mask = (GREY > 127).astype(kind)
    assert (images(mask) == np.where(mask[0], 255, 0)).all()


def test_colours_of_opencv_are_turned_round() -> None:
    assert (images(RGB[..., ::-1], channels="bgr") == RGB[0]).all()
    assert (images(GREY, channels="bgr") == GREY[0]).all()


def test_what_was_taken_for_granted_is_said() -> None:
    assert survey(RGB / 255).notes[0] == "values from 0 to 1 are taken as 0 to 1"
    assert survey(RGB).notes[0] == "values from 0 to 255 are taken as 0 to 255"
    assert "RGB" in survey(RGB).notes[1]
    assert survey(RGB.transpose(0, 1, 4, 2, 3)).notes[0] == "the axes of a clip are taken as (T, C, H, W)"
    assert len(survey(GREY).notes) == 1


def test_one_range_holds_for_all_parts() -> None:
    dark = np.ones((1, 4, 6, 10, 3), np.float32)
    assert survey(dark).format.gain == 255
    assert survey(dark, RGB.astype(np.float32)).format.gain == 1


def test_a_little_overshoot_of_resizing_is_cut() -> None:
    found = images(np.array([[[[-0.004, 1.004]]]], np.float32))
    assert found.ravel().tolist() == [0, 255]


def test_clips_that_are_no_numbers_are_named() -> None:
    bad = (RGB / 255).astype(np.float32)
    bad[1, 2, 3] = np.nan
    found = survey(RGB / 255, bad)
    ((place, fault),) = found.faults.items()
    assert place == ("part1", 1)
    assert str(fault) == "a.npz/part1/1: corrupt: 30 values in it are NaN or infinite"
    with pytest.raises(DatasetError, match="none of its 2 clips can be used"):
        survey(np.full((2, 1, 2, 2), np.inf))


def test_a_clip_without_frames_is_named() -> None:
    found = survey([GREY[0], GREY[0][:0]])
    assert found.faults["part0", 1].reason == "empty"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ((RGB / 127.5 - 1,), "neither 0 to 1 nor 0 to 255"),
        (((RGB - 120.0) / 58,), "neither 0 to 1 nor 0 to 255"),
        ((RGB / 58.0,), "values from 0 to 4.39655"),
        ((RGB.astype(np.int32) * 2,), "values from 0 to 510"),
        ((RGB.astype(np.int32) - 1,), "values from -1"),
        ((RGB[:, 0],), r"clips of the shape \(6, 10, 3\) are single images"),
        ((RGB[..., :2],), r"clips have the shapes \(4, 6, 10, 2\) in part0 0"),
        ((RGB, GREY), r"\(4, 6, 10, 3\) in part0 0, \(4, 6, 10\) in part1 0"),
    ],
)
def test_what_cannot_be_read_as_images_is_refused(arrays: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        survey(*arrays)
