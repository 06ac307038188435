from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import MakeVideo
from marey.errors import VideoError
from marey.video import Limits, decode, play
from marey.video.source import open_video


@pytest.fixture
def damaged(make_video: MakeVideo, tmp_path: Path) -> tuple[Path, int, int]:
    """Return a video with a damaged reference, its number, and that of the B-frame shown before it."""
    path = make_video(tmp_path / "a.mp4", seconds=2.0, gop=50, b_frames=2, size=(240, 320))
    with open_video(path, Limits()) as source:
        period = round(1 / 25 / source.time_base)
        packets = [
            ((packet.pts or 0) // period, packet.pos or 0)
            for packet in source.container.demux(source.stream)
            if packet.size
        ]
    place = next(
        place for place in range(12, len(packets)) if 0 < packets[place + 1][0] < packets[place][0]
    )  # its B-frame follows it in the file
    reference, at = packets[place]
    data = bytearray(path.read_bytes())
    data[at + 30 : at + 40] = np.random.default_rng(1).bytes(10)
    path.write_bytes(data)
    return path, reference, packets[place + 1][0]


def test_frames_that_refer_to_a_damaged_one_are_corrupt_before_and_after_it(damaged: tuple[Path, int, int]) -> None:
    path, reference, b_frame = damaged
    assert b_frame < reference
    assert len(decode(path, [(b_frame - 2) / 25])) == 1
    for number in (b_frame, reference, reference + 5):
        with pytest.raises(VideoError) as caught:
            decode(path, [number / 25 + 0.01])
        assert caught.value.reason == "corrupt"
        with pytest.raises(VideoError):
            decode(path, np.arange(number + 1) / 25 + 0.01)


def test_playing_ends_before_the_first_corrupt_frame(damaged: tuple[Path, int, int]) -> None:
    path, _, b_frame = damaged
    with play(path) as playback:
        assert [next(playback).number for _ in range(b_frame)] == list(range(b_frame))
        with pytest.raises(VideoError):
            next(playback)
