from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from marey.encoders import FeatureStream, Stream, luma, stream_kinds


def gray(*values: int) -> Tensor:
    """uint8 (1, K, 3, 2, 2): one timestamp, K frames of one gray each."""
    return torch.tensor(values, dtype=torch.uint8).view(1, -1, 1, 1, 1).expand(1, len(values), 3, 2, 2)


def test_appearance_is_the_frame_itself() -> None:
    stream = Stream(kind="appearance", span=1.0)
    frames = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 1, 3, 4, 4)
    assert stream.offsets == (0.0,)
    assert torch.equal(stream.combine(frames), frames[:, 0])


def test_a_gray_frame_has_three_times_the_same_channel() -> None:
    frames = torch.randint(0, 256, (2, 1, 1, 4, 5), dtype=torch.uint8)
    images = Stream(kind="gray").combine(frames)
    assert images.shape == (2, 3, 4, 5)
    for channel in images.unbind(1):
        assert torch.equal(channel, frames[:, 0, 0])


def test_a_difference_is_middle_gray_where_nothing_moves() -> None:
    stream = Stream(kind="difference", gain=16)
    for value in (0, 100, 255):
        assert (stream.combine(gray(value, value)) == 127).all()


def test_a_difference_is_bright_where_light_came_and_dark_where_it_left() -> None:
    stream = Stream(kind="difference")
    assert (stream.combine(gray(50, 90)) == 127 + 40).all()
    assert (stream.combine(gray(90, 50)) == 127 - 40).all()


def test_gain_amplifies_a_difference() -> None:
    assert (Stream(kind="difference", gain=2.5).combine(gray(50, 60)) == 127 + 25).all()
    assert (Stream(kind="difference", gain=0.5).combine(gray(60, 50)) == 127 - 5).all()


@pytest.mark.parametrize("gain", [1.0, 16.0])
def test_a_difference_ends_at_black_and_white(gain: float) -> None:
    stream = Stream(kind="difference", gain=gain)
    assert (stream.combine(gray(0, 255)) == 255).all()
    assert (stream.combine(gray(255, 0)) == 0).all()


def test_a_difference_keeps_the_colours_apart() -> None:
    frames = torch.zeros(1, 2, 3, 1, 1, dtype=torch.uint8)
    frames[0, 1, 0], frames[0, 0, 2] = 30, 60
    assert Stream(kind="difference").combine(frames).flatten().tolist() == [157, 127, 67]


def test_the_colours_of_a_triplet_are_its_frames_in_the_order_of_time() -> None:
    image = Stream(kind="triplet").combine(luma(gray(10, 120, 255)).unsqueeze(2))
    assert image.dtype == torch.uint8
    assert image[0, :, 0, 0].tolist() == [10, 120, 255]


def test_still_parts_are_gray_in_a_triplet() -> None:
    frames = torch.tensor([200, 40, 90], dtype=torch.uint8).view(1, 1, 3, 1, 1).expand(1, 3, 3, 2, 2)
    image = Stream(kind="triplet").combine(luma(frames).unsqueeze(2))
    assert (image == round(0.299 * 200 + 0.587 * 40 + 0.114 * 90)).all()


def test_each_timestamp_is_combined_by_itself() -> None:
    frames = torch.randint(0, 256, (5, 2, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    stream = Stream(kind="difference")
    alone = torch.cat([stream.combine(pair.unsqueeze(0)) for pair in frames])
    assert torch.equal(stream.combine(frames), alone)


def test_combining_leaves_the_frames_as_they_were() -> None:
    for kind in stream_kinds():
        stream = Stream(kind=kind)
        if isinstance(stream, FeatureStream):
            continue
        count, channels = stream.times(np.array([1.0])).shape[1], 1 if stream.gray else 3
        frames = torch.randint(0, 256, (1, count, channels, 4, 4), dtype=torch.uint8)
        before = frames.clone()
        image = stream.combine(frames)
        assert (image.shape, image.dtype) == ((1, 3, 4, 4), torch.uint8)
        assert torch.equal(frames, before)


def test_offsets_lie_around_the_timestamp() -> None:
    assert Stream(kind="difference", span=0.5).offsets == (-0.25, 0.25)
    assert Stream(kind="triplet", span=0.5).offsets == (-0.25, 0.0, 0.25)


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "flow"}, {"span": 0}, {"span": -1}, {"gain": 0}, {"gain": 17}, {"span": float("nan")}, {"steps": 2}],
)
def test_values_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Stream.model_validate({"kind": "difference", **wrong})


@pytest.mark.parametrize("kind", sorted(set(stream_kinds()) - {"pose"}))  # which makes no images
def test_the_image_of_mirrored_frames_is_the_mirror_image(kind: str) -> None:
    stream = Stream(kind=kind)
    assert stream.symmetric
    count = stream.times(np.zeros(1)).shape[1]
    frames = torch.randint(0, 256, (2, count, 1 if stream.gray else 3, 8, 10), dtype=torch.uint8)
    assert torch.equal(stream.combine(frames.flip(-1)), stream.combine(frames).flip(-1))


def test_luma_is_exact_for_images_of_any_shape() -> None:
    images = torch.randint(0, 256, (2, 3, 3, 8, 10), dtype=torch.uint8)
    red, green, blue = images.int().unbind(-3)
    expected = ((299 * red + 587 * green + 114 * blue + 500) // 1000).to(torch.uint8)
    assert torch.equal(luma(images), expected)
    assert torch.equal(luma(images[0, 0]), expected[0, 0])
