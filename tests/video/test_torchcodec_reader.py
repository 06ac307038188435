from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import MakeVideo
from marey.errors import UsageError, VideoError
from marey.extras import install_command
from marey.video import Limits, decode

needs_torchcodec = pytest.mark.usefixtures("torchcodec")


@needs_torchcodec
def test_rotated_and_cropped_frames_equal_those_of_pyav(make_video: MakeVideo, tmp_path: Path) -> None:
    for rotation in (90, 180, 270):
        path = make_video(tmp_path / f"{rotation}.mov", seconds=0.4, size=(160, 120), rotation=rotation)
        for size in (None, (64, 64)):
            ours, other = (
                decode(path, [0.1, 0.3], size=size, fit="crop", decoder=decoder).data.int()
                for decoder in ("pyav", "torchcodec")
            )
            assert ours.shape == other.shape
            assert (ours - other).abs().float().mean() < 3


@needs_torchcodec
def test_time_is_counted_from_the_first_frame(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", pts=[10 + index / 25 for index in range(50)], b_frames=2)
    frames = decode(path, [-1.0, 0.0, 0.5, 1.5], decoder="torchcodec")
    np.testing.assert_allclose(frames.timestamps, [0.0, 0.0, 0.48, 1.48], atol=1e-9)


@needs_torchcodec
def test_reason_codes_equal_those_of_pyav(
    make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=2.0)
    data = path.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.mp4").write_text("walking\n" * 500)
    (tmp_path / "other.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\na.mp4\n#EXT-X-ENDLIST\n")
    monkeypatch.chdir(tmp_path)
    for name, timestamp, limits in (
        ("absent.mp4", 0.0, Limits()),
        ("cut.mp4", 0.0, Limits()),
        ("text.mp4", 0.0, Limits()),
        ("other.m3u8", 0.0, Limits()),
        ("a.mp4", 20.0, Limits()),
        ("a.mp4", 0.0, Limits(max_pixels=100)),
        ("a.mp4", 0.0, Limits(timeout=1e-9)),
    ):
        reasons = []
        for decoder in ("pyav", "torchcodec"):
            with pytest.raises(VideoError) as caught:
                decode(name, [timestamp], decoder=decoder, limits=limits)
            reasons.append(caught.value.reason)
        assert reasons[0] == reasons[1]


@needs_torchcodec
def test_damage_found_by_torchcodec_is_corrupt(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=2.0, gop=25)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat")
    middle = start + (data.index(b"moov") - start) // 2
    data[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    path.write_bytes(data)
    with pytest.raises(VideoError) as caught:
        decode(path, np.arange(50) / 25, decoder="torchcodec")
    assert caught.value.reason == "corrupt"


@needs_torchcodec
def test_no_timestamps_give_no_frames(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.2)
    assert torch.equal(decode(path, [], decoder="torchcodec").data, decode(path, []).data)


def test_errors_of_a_missing_torchcodec_name_what_to_install(
    make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.2)
    monkeypatch.setitem(sys.modules, "torchcodec", None)  # Python's mark of a missing module
    with pytest.raises(UsageError, match=re.escape(install_command("torchcodec"))):
        decode(path, [0.0], decoder="torchcodec")
