"""The end of a video with pauses, B-frames and a varying frame rate: its latest frame and a frame period."""

from __future__ import annotations

import random
from pathlib import Path

import av
import numpy as np
import pytest

from conftest import MakeVideo
from marey.video import decode, play, probe
from marey.video.keyframes import Keyframes
from marey.video.limits import Limits
from marey.video.source import open_video

LONGEST = 0.7  # s: the longest time between two frames that is no pause


def varying(seed: int) -> tuple[str, list[float], int, int]:
    """A container, times with a pause of some seconds, the number of B-frames and the frames between key frames."""
    chosen = random.Random(seed)  # noqa: S311
    count = chosen.randint(12, 60)
    pause, times, now = chosen.randrange(count), [], 0.0
    for index in range(count):
        times.append(now)
        now += chosen.uniform(0.015, 0.06) if chosen.random() < 0.9 else chosen.uniform(0.1, 0.5)
        now += chosen.uniform(2, 6) if index == pause else 0
    return chosen.choice((".mp4", ".mov", ".mkv", ".mp4")), times, chosen.choice((0, 2, 3)), chosen.choice((5, 12, 50))


@pytest.mark.parametrize("seed", range(30))
def test_a_video_ends_a_frame_after_its_latest_one(make_video: MakeVideo, tmp_path: Path, seed: int) -> None:
    suffix, times, b_frames, gop = varying(seed)
    path = make_video(tmp_path / f"a{suffix}", pts=times, b_frames=b_frames, gop=gop, size=(48, 64))
    with av.open(str(path)) as container:
        decoded = [float(frame.time) for frame in container.decode(video=0) if frame.time is not None]
    latest = max(decoded) - min(decoded)
    assert latest - 1e-3 <= probe(path).duration <= latest + LONGEST
    with play(path) as playback:
        frames = list(playback)
    assert frames[-1].time == pytest.approx(latest, abs=1e-3)
    assert latest < frames[-1].end <= latest + LONGEST
    np.testing.assert_allclose(decode(path, [frames[-1].time]).timestamps, [latest], atol=2e-3)
    with open_video(path, Limits(), headers_only=True) as source:
        list(Keyframes(source).nearest([0.0, probe(path).duration]))


def test_a_last_frame_that_states_its_length_is_shown_for_it(make_video: MakeVideo, tmp_path: Path) -> None:
    path, held = make_video(tmp_path / "a.mp4", seconds=0.4, size=(48, 64)), tmp_path / "held.mp4"
    with av.open(str(path)) as source, av.open(str(held), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        packets[-1].duration = round(3 / packets[-1].time_base)
        for packet in packets:
            packet.stream = stream
            target.mux(packet)
    assert probe(held).duration == pytest.approx(0.36 + 3.0, abs=0.01)
    with play(held) as playback:
        assert list(playback)[-1].end == pytest.approx(0.36 + 3.0, abs=0.01)
