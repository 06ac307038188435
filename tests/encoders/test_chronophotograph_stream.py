"""The stream "chronophotograph" against its definition on the frames of the video itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from marey.data import Clip
from marey.encoders import Contract, EncoderSpec, Stream, luma, read_clip, read_frames
from marey.video import Fit, Sampling, play, write_video

SIZE = (48, 64)
STEP = 1 / 32


def contract(sampling: Sampling = Sampling(count=4), fit: Fit = "stretch", **options: object) -> Contract:  # noqa: B008
    stream = Stream(kind="chronophotograph", **options)
    return Contract(
        sampling=sampling,
        streams={"history": stream},
        fit=fit,
        encoder=EncoderSpec(),
        encoder_hash="0" * 32,
        size=SIZE,
        interpolation="bilinear",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        dim=8,
    )


def moving(times: npt.NDArray[np.float64], *, speed: float = 30.0) -> npt.NDArray[np.uint8]:
    """RGB (T, H, W, 3): a bright square on dark ground, `speed` pixels a second to the right."""
    frames = np.full((len(times), *SIZE, 3), 40, np.uint8)
    for frame, time in zip(frames, times, strict=True):
        left = round(4 + speed * time)
        frame[16:32, left : left + 10] = 90
    return frames


def definition(frames: Tensor, times: npt.NDArray[np.float64], at: float, span: float, gain: float) -> Tensor:
    """The image as it is defined on the frames of a file: a change happens when the later frame is shown."""
    first, last = (np.floor(at / STEP + 0.5) * STEP + side * span / 2 for side in (-1, 1))
    colours = torch.zeros(3, *frames.shape[-2:])
    gray = luma(frames).float()
    for before, now, time in zip(gray[:-1], gray[1:], times[1:], strict=True):
        if first < time <= last + 1e-6:
            change = ((now - before).abs() * gain).clamp(max=255)
            near = 0.2 + 0.8 * (time - first) / span
            for colour, weight in zip(colours, (near, 1.0, 1.2 - near), strict=True):
                torch.maximum(colour, change * weight, out=colour)
    return colours


@pytest.mark.parametrize("rate", [10.0, 25.0, 30000 / 1001, 30.0, 32.0])
def test_every_change_between_frames_of_a_video_up_to_32_a_second_is_seen(rate: float) -> None:
    times = np.arange(round(2 * rate)) / rate
    frames = moving(times)
    images = read_frames(frames, contract(), frame_rate=rate)["history"].float()
    channels_first = torch.from_numpy(frames).permute(0, 3, 1, 2)
    for image, at in zip(images, (0.25, 0.75, 1.25, 1.75), strict=True):
        expected = definition(channels_first, times, at, 0.5, 6.0)
        assert torch.equal(image[1], expected[1])
        assert image[1].max() == 255
        # The weight of a change is that of its grid step, which is at most 1/32 s away.
        assert (image - expected).abs().max() <= 0.8 * STEP / 0.5 * 255 * 1.1 + 1


def test_a_variable_frame_rate_changes_neither_what_is_seen_nor_when(tmp_path: Path) -> None:
    ticks = np.array([0, 1, 2, 3, 5, 6, 9, 10, 11, 14, 15, 16, 18, 20, 21, 22, 25, 26, 28, 29])  # 1/20 s
    frames = moving(np.arange(30) / 20)
    held = frames[[ticks[ticks <= tick].max() for tick in range(30)]]
    times = ticks / 20
    images = read_frames(held, contract(), frame_rate=20.0)["history"].float()
    shown = torch.from_numpy(frames[ticks]).permute(0, 3, 1, 2)
    for image, at in zip(images, (np.arange(4) + 0.5) * 1.5 / 4, strict=True):
        expected = definition(shown, times, float(at), 0.5, 6.0)
        assert torch.equal(image[1], expected[1])
        assert (image - expected).abs().max() <= 0.8 * STEP / 0.5 * 255 * 1.1 + 1


def test_a_high_frame_rate_gives_the_image_of_32_frames_a_second() -> None:
    slow, fast = (
        read_frames(moving(np.arange(2 * rate) / rate), contract(), frame_rate=rate)["history"] for rate in (32, 128)
    )
    assert torch.equal(slow[:3], fast[:3])  # the last one ends with the last frame, which differs
    stream = Stream(kind="chronophotograph", span=0.5)
    assert stream.times(np.array([1.0])).shape == (1, 17)


def test_what_moved_last_is_red_what_moved_first_is_blue_and_still_parts_are_black() -> None:
    frames = moving(np.arange(50) / 25)
    image = read_frames(frames, contract(Sampling(count=1)), frame_rate=25.0)["history"][0].int()
    assert (image[:, :10] == 0).all()
    red, green, blue = image[:, 20, image[1, 20] > 0]  # from where it left first to where it came last
    assert red[-1] > 4 * blue[-1]
    assert blue[0] > 4 * red[0]
    assert (green >= torch.maximum(red, blue)).all()


def test_thirds_are_the_largest_changes_of_each_third_of_the_span() -> None:
    stream = Stream(kind="chronophotograph", span=0.1875, gain=2.0, thirds=True)  # 6 steps
    grays = torch.tensor([10, 20, 20, 50, 50, 50, 60], dtype=torch.uint8).view(1, 7, 1, 1, 1)
    assert stream.combine(grays).flatten().tolist() == [20, 60, 20]
    grays = torch.tensor([10, 20, 25, 25, 25, 25, 25], dtype=torch.uint8).view(1, 7, 1, 1, 1)
    assert stream.combine(grays).flatten().tolist() == [0, 0, 20]


def test_automatic_gain_makes_faint_movement_as_bright_as_strong_one_and_does_not_show_noise() -> None:
    grays = torch.full((1, 17, 1, 40, 40), 20, dtype=torch.uint8)
    grays[:, 8:, :, 10:20, 10:20] = 40
    brighter = (grays - 20) * 3 + 20
    plain = Stream(kind="chronophotograph", gain="auto")
    assert plain.combine(grays)[:, 1].max() == 255
    assert torch.equal(plain.combine(grays), plain.combine(brighter))
    noise = 20 + torch.randint(0, 2, grays.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert plain.combine(noise).max() <= 16


def test_spans_that_overlap_ask_for_the_same_frames() -> None:
    times = Stream(kind="chronophotograph").times(np.arange(1, 2, 0.01))
    assert np.array_equal(times * 32, np.round(times * 32))
    assert np.abs(times.mean(axis=1) - np.arange(1, 2, 0.01)).max() <= STEP / 2 + 1e-6
    between = Stream(kind="chronophotograph").times(np.array([STEP * 20.5 - 1e-12, STEP * 20.5 + 1e-12]))
    assert np.array_equal(*between)


def test_a_file_and_its_frames_in_memory_give_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, torch.from_numpy(moving(np.arange(60) / 30)).permute(0, 3, 1, 2), frame_rate=30.0)
    with play(path) as playback:
        frames = torch.stack([playback.to_rgb(frame) for frame in playback])
    how = contract()
    read, in_memory = read_clip(Clip(path), how)["history"], read_frames(frames, how, frame_rate=30.0)["history"]
    assert (read.int() - in_memory.int()).abs().max() <= 6  # one level of a gray, amplified
    reversed_ = read_clip(Clip(path), how, order="reversed")["history"]
    assert (reversed_[0, 0].int() - read[-1, 2].int()).abs().max() <= 30  # first and last change places
