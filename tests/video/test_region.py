"""A region of the frame: cut out of decoded frames, before they are resized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from av import VideoFrame

from conftest import MakeVideo, draw
from marey.errors import UsageError
from marey.video import Region, decode, frames_at, play
from marey.video.orientation import Orientation
from marey.video.region import RegionCutter
from marey.video.transform import ResizeCrop

SIZE = (120, 160)
PART = Region(0.4, 0.25, 0.8, 0.75)  # rows 48 to 96, columns 40 to 120
FORMATS = (
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuv444p",
    "yuv410p",
    "nv12",
    "gbrp",
    "rgb24",
    "bgr0",
    "gray",
    "yuv420p10le",
)


def close(left: torch.Tensor, right: torch.Tensor) -> bool:
    return bool((left.int() - right.int()).abs().float().mean() < 2)


def test_a_region_of_its_own_size_has_the_pixels_of_the_frame() -> None:
    image = draw(5, SIZE)[None]
    part = frames_at(image, np.zeros(1), frame_rate=1.0, fit=PART).data
    assert torch.equal(part[0], torch.from_numpy(image[0, 48:96, 40:120]).permute(2, 0, 1))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_region_is_one_of_the_upright_frame(
    make_video: MakeVideo, tmp_path: Path, rotation: int, mirrored: bool
) -> None:
    path = make_video(tmp_path / "turned.mp4", size=SIZE, rotation=rotation, mirrored=mirrored)
    whole = decode(path, [0.4]).data
    assert close(decode(path, [0.4], fit=PART).data, whole[..., 48:96, 40:120])
    assert close(decode(path, [0.4], size=(48, 80), fit=PART).data, whole[..., 48:96, 40:120])


@pytest.mark.parametrize("name", FORMATS)
def test_the_colours_of_a_region_are_those_of_the_frame(name: str) -> None:
    frame = VideoFrame.from_ndarray(draw(3, SIZE), format="rgb24").reformat(format=name)
    frame.colorspace, frame.color_range = 1, 2  # BT.709, all levels: not what FFmpeg takes where nothing is stated
    whole, part = np.empty((3, *SIZE), np.uint8), np.empty((3, 48, 80), np.uint8)
    ResizeCrop(frame, 1.0, None, "stretch", "middle", "bilinear")(frame, whole)
    ResizeCrop(frame, 1.0, None, PART, "middle", "bilinear")(frame, part)
    inner = np.s_[:, 2:-2, 2:-2]  # at its edges, chroma is interpolated from what the region holds
    assert np.abs(part[inner].astype(int) - whole[:, 48:96, 40:120][inner]).max() <= 2


def test_a_region_is_widened_to_the_shape_of_the_size() -> None:
    image = draw(5, SIZE)[None]
    square = frames_at(image, np.zeros(1), frame_rate=1.0, size=(80, 80), fit=PART).data
    assert torch.equal(square[0], torch.from_numpy(image[0, 32:112, 40:120]).permute(2, 0, 1))


def test_a_region_does_not_leave_the_frame() -> None:
    image = draw(5, SIZE)[None]
    tall = Region(0.0, 0.8, 1.0, 1.0)  # 120 x 32 pixels, at the right edge
    square = frames_at(image, np.zeros(1), frame_rate=1.0, size=(120, 120), fit=tall).data
    assert torch.equal(square[0], torch.from_numpy(image[0, :, 40:]).permute(2, 0, 1))
    wide = frames_at(image, np.zeros(1), frame_rate=1.0, size=(60, 160), fit=Region(0.0, 0.0, 0.9, 1.0)).data
    assert wide.shape == (1, 3, 60, 160)


def test_pixels_that_are_not_square_are_taken_into_account() -> None:
    frame = VideoFrame(160, 120, "rgb24")
    assert RegionCutter(PART, (50, 50), 2.0, Orientation()).size(frame) == (120, 80)  # 48 to 96 was to be 160 high
    assert RegionCutter(Region(0.4, 0.4, 0.6, 0.5), (50, 50), 0.5, Orientation()).size(frame) == (24, 48)


@pytest.mark.parametrize("size", [(3, 5), (7, 9), (61, 83), (1, 1)])
def test_frames_of_odd_sizes_have_regions_too(size: tuple[int, int]) -> None:
    for name in ("yuv420p", "rgb24"):
        frame = VideoFrame(size[1], size[0], name)
        found = np.empty((3, 16, 16), np.uint8)
        ResizeCrop(frame, 1.0, (16, 16), Region(0.5, 0.5, 1.0, 1.0), "middle", "bilinear")(frame, found)


def test_a_frame_of_another_size_is_cut_at_the_same_shares() -> None:
    cutter = RegionCutter(PART, None, 1.0, Orientation())
    assert [(cut.width, cut.height) for cut in map(cutter, (VideoFrame(160, 120), VideoFrame(320, 240)))] == [
        (80, 48),
        (160, 96),
    ]


def test_playback_gives_the_pixels_of_decode(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", size=SIZE, rotation=90)
    with play(path) as playback:
        shown = playback.to_rgb(next(playback), size=(48, 48), fit=PART)
    assert torch.equal(shown[None], decode(path, [0.0], size=(48, 48), fit=PART).data)


def test_torchcodec_reads_the_same_region(torchcodec: None, make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", size=SIZE, rotation=90)
    parts = [decode(path, [0.4], size=(48, 48), fit=PART, decoder=decoder).data for decoder in ("pyav", "torchcodec")]
    assert close(*parts)


@pytest.mark.parametrize("corners", [(0.0, 0.0, 1.2, 1.0), (0.5, 0.0, 0.5, 1.0), (-0.1, 0.0, 1.0, 1.0)])
def test_a_region_outside_of_the_frame_is_refused(corners: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError, match="has to lie in the frame"):
        Region(*corners)
