"""Real videos beside the project; skipped if they are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from marey.errors import VideoError
from marey.video import Sampling, decode, probe


def test_every_odd_file_gives_frames_or_a_reason(shared_data: Path) -> None:
    refused = {}
    for path in sorted((shared_data / "samples" / "odd").iterdir()):
        try:
            frames = decode(path, Sampling(count=16).timestamps(0, probe(path).duration), size=(112, 112))
            assert frames.data.shape == (16, 3, 112, 112)
        except VideoError as error:
            refused[path.name] = error.reason
    assert refused == {"corrupted_h264.mp4": "corrupt"}


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_real_rotations_are_read(shared_data: Path, rotation: int) -> None:
    info = probe(shared_data / "samples" / "odd" / f"video_{rotation}.mov")
    assert info.rotation == rotation
    assert (info.width, info.height) == ((568, 320) if rotation == 180 else (320, 568))


def test_clips_that_state_too_many_frames_are_read_to_their_end(shared_data: Path) -> None:
    for path in sorted((shared_data / "ut-interaction-set1" / "kick").glob("*.avi")):
        info = probe(path)
        frames = decode(path, [0.0, info.duration - 0.001], size=(32, 32))
        assert info.faults == ()
        assert 0 <= info.duration - frames.timestamps[-1] < 0.2
