"""The eight orientations that a display matrix may state: phones write them, mirrored ones by the front camera."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import MakeVideo, draw
from marey.video import decode, play, probe

SIZE = (120, 160)
all_eight = pytest.mark.parametrize(
    ("rotation", "mirrored"), [(rotation, mirrored) for rotation in (0, 90, 180, 270) for mirrored in (False, True)]
)


def difference(left: torch.Tensor, right: torch.Tensor) -> float:
    return float((left.int() - right.int()).abs().float().mean())


@all_eight
def test_every_orientation_comes_out_upright(
    make_video: MakeVideo, tmp_path: Path, rotation: int, mirrored: bool
) -> None:
    path = make_video(tmp_path / "a.mov", seconds=0.4, size=SIZE, rotation=rotation, mirrored=mirrored)
    drawn = torch.from_numpy(draw(5, SIZE)).permute(2, 0, 1)
    info = probe(path)
    assert (info.height, info.width, info.rotation, info.mirrored) == (*SIZE, rotation, mirrored)
    assert not info.faults
    assert difference(decode(path, [0.2]).data[0], drawn) < 4
    with play(path) as playback:
        assert playback.size == SIZE
        assert difference(playback.to_rgb(list(playback)[5]), drawn) < 4


@all_eight
def test_every_orientation_equals_that_of_ffmpeg(
    make_video: MakeVideo, tmp_path: Path, rotation: int, mirrored: bool
) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("the program ffmpeg is not here")
    path = make_video(tmp_path / "a.mp4", seconds=0.2, size=SIZE, rotation=rotation, mirrored=mirrored)
    arguments = ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    shown = subprocess.run(arguments, capture_output=True, check=True).stdout  # noqa: S603
    truth = torch.from_numpy(np.frombuffer(shown, np.uint8).reshape(*SIZE, 3).copy()).permute(2, 0, 1)
    assert difference(decode(path, [0.0]).data[0], truth) < 1


@pytest.mark.usefixtures("torchcodec")
@all_eight
def test_torchcodec_shows_every_orientation_upright(
    make_video: MakeVideo, tmp_path: Path, rotation: int, mirrored: bool
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.4, size=SIZE, rotation=rotation, mirrored=mirrored)
    ours, other = (decode(path, [0.2], decoder=decoder).data for decoder in ("pyav", "torchcodec"))
    assert difference(ours, other) < 3
