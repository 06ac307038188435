from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import MakeVideo
from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video import Limits, decode
from marey.video.keyframes import Keyframes
from marey.video.source import open_video

ReadIndex = Callable[[torch.Tensor], int]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_keyframes_returns_the_nearest_key_frame_repeatedly(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path, name: str
) -> None:
    path = make_video(tmp_path / name, seconds=4.0, gop=25, size=(48, 80))
    frames = decode(path, [3.9, 0.0, 0.4, 0.6, 1.5, 1.6, 2.4, 0.4], frames="keyframes")
    assert [read_index(image) for image in frames.data] == [75, 0, 0, 25, 25, 50, 50, 0]
    np.testing.assert_allclose(frames.timestamps, [3, 0, 0, 1, 1, 2, 2, 0], atol=0.002)


def test_only_the_key_frames_that_are_needed_are_read(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=30.0, gop=25, size=(48, 80), b_frames=2)
    with open_video(path, Limits(), headers_only=True) as source:
        keyframes = Keyframes(source)
        assert [round(frame.time, 3) for frame in keyframes.nearest([7.1, 20.6])] == [7.0, 21.0]
        assert keyframes.packets <= 7


def test_key_frames_are_resized_rotated_and_cropped_like_exact_frames(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mov", seconds=1.0, size=(160, 120), rotation=90)
    for options in ({}, {"size": (40, 30)}, {"size": (64, 64), "fit": "crop"}):
        by_key = decode(path, [0.0, 0.01], frames="keyframes", **options)
        assert torch.equal(by_key.data, decode(path, [0.0, 0.0], **options).data)


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_a_timestamp_beyond_the_end_is_refused(make_video: MakeVideo, tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / name, seconds=2.0, gop=100)
    assert decode(path, [2.3], frames="keyframes").timestamps.tolist() == [0.0]
    with pytest.raises(VideoError, match=r"a frame at 20.000 s is requested of 2.0") as caught:
        decode(path, [0.0, 20.0], frames="keyframes")
    assert caught.value.reason == "too_short"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_file_that_was_cut_off_is_truncated(make_video: MakeVideo, tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / name, seconds=6.0, gop=25)
    data = path.read_bytes()
    for part in (0.3, 0.6):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(VideoError) as caught:
            decode(path, [0.5, 5.9], frames="keyframes")
        assert caught.value.reason == "truncated"


def test_a_damaged_key_frame_is_refused_and_others_are_not(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=3.0, gop=25, size=(240, 320))
    with open_video(path, Limits()) as source:
        keys = [packet.pos for packet in source.container.demux(source.stream) if packet.is_keyframe]
    data = bytearray(path.read_bytes())
    data[(keys[1] or 0) + 60 : (keys[1] or 0) + 300] = np.random.default_rng(0).bytes(240)
    path.write_bytes(data)
    assert [read_index(image) for image in decode(path, [0.0, 2.0], frames="keyframes").data] == [0, 50]
    with pytest.raises(VideoError, match=r"1.000 s") as caught:
        decode(path, [0.0, 1.0], frames="keyframes")
    assert caught.value.reason == "corrupt"


def test_unknown_names_and_invalid_combinations_are_usage_errors(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.2)
    with pytest.raises(UnknownNameError, match="did you mean 'keyframes'"):
        decode(path, [0.0], frames="keyframe")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="no decoder is called 'opencv'; choose one of: pyav, torchcodec"):
        decode(path, [0.0], decoder="opencv")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="key frames are read by decoder 'pyav'"):
        decode(path, [0.0], frames="keyframes", decoder="torchcodec")
    with pytest.raises(UsageError, match="threads has to be at least 1, not 0"):
        decode(path, [0.0], threads=0)
