from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from marey import commands
from marey.data import detect_format, load_data
from marey.errors import DatasetError
from marey.video import decode, probe


def write_mjpeg(path: Path, images: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=50)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p"
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two class folders with a raw stream each, of 20 frames that become brighter."""
    for action in ("sit", "walk"):
        write_mjpeg(tmp_path / "raw" / action / "a.mjpeg", [np.full((48, 64, 3), 10 * n, np.uint8) for n in range(20)])
    return tmp_path / "raw"


def test_the_assumed_rate_is_said_by_the_folder_and_by_the_scan(raw: Path) -> None:
    (note,) = load_data(raw).notes
    assert note.startswith("2 raw streams (sit/a.mjpeg first): those that state no frame rate are read at 25 a second")
    info = probe(raw / "walk" / "a.mjpeg")
    assert info.duration == pytest.approx(0.8)
    assert "no frame rate is stated; 25 a second are assumed (marey data import --frame-rate states it)" in info.faults


def test_a_stated_rate_makes_clips_with_these_times_and_the_same_frames(raw: Path, tmp_path: Path) -> None:
    assert detect_format(raw) == "raw video"
    made = commands.exchange.import_data(raw, out=tmp_path / "timed", frame_rate=50)
    assert [(clip.path.name, clip.label) for clip in made.manifest.clips] == [("a.mp4", "sit"), ("a.mp4", "walk")]
    clip = made.manifest.clips[1].path
    assert probe(clip).duration == pytest.approx(0.4)
    assert (decode(clip, [0.1]).data == decode(raw / "walk" / "a.mjpeg", [0.2]).data).all()
    assert "50 frames a second are stated (--frame-rate)" in made.notes


def test_raw_streams_beside_videos_with_times_are_refused(raw: Path, make_video: Callable[..., Any]) -> None:
    make_video(raw / "sit" / "b.mp4", seconds=0.2)
    with pytest.raises(DatasetError, match=r"raw streams and 1 video with times of their own \(sit/b\.mp4\)"):
        commands.exchange.import_data(raw, out=raw.parent / "timed", frame_rate=50)


@pytest.mark.parametrize("rate", [0.0, -1.0, 5000.0, float("nan")])
def test_a_rate_that_cannot_be_is_refused(rate: float, raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--frame-rate is"):
        commands.exchange.import_data(raw, out=tmp_path / "timed", frame_rate=rate)
