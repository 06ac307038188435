"""Copies of drawn video that is darker, smaller, faster, has another frame rate, or is recompressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from marey.errors import VideoError
from marey.video import SHIFTS, decode, probe, write_shifted, write_video

RATE = 20.0


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: a fine pattern on the left, and on the right a grey that gets lighter with each frame."""
    path = tmp_path_factory.mktemp("shifts") / "source.mp4"
    frames = torch.zeros(40, 3, 48, 64, dtype=torch.uint8)
    frames[:, :, :, :32:2] = 200
    frames[:, :, :, 32:] = (60 + 4 * torch.arange(40, dtype=torch.uint8))[:, None, None, None]
    write_video(path, frames, frame_rate=RATE, crf=10)
    return path


def light(path: Path, second: float) -> float:
    """Return the mean of the right part at a time."""
    return float(decode(path, [second]).data[0, :, :, 40:].float().mean())


def test_darker_has_a_third_of_the_light(source: Path, tmp_path: Path) -> None:
    write_shifted(source, tmp_path / "a.mp4", SHIFTS["darker"])
    assert light(tmp_path / "a.mp4", 1.0) == pytest.approx(light(source, 1.0) / 3, abs=3)
    assert probe(tmp_path / "a.mp4").duration == pytest.approx(probe(source).duration, abs=0.01)


def test_smaller_loses_detail_and_keeps_the_size(source: Path, tmp_path: Path) -> None:
    write_shifted(source, tmp_path / "a.mp4", SHIFTS["smaller"])
    before, after = (decode(path, [0.5]).data[0, 0, :, 4:28].float() for path in (source, tmp_path / "a.mp4"))
    assert after.shape == before.shape
    assert after.std() < before.std() / 3


def test_faster_shows_the_same_earlier(source: Path, tmp_path: Path) -> None:
    write_shifted(source, tmp_path / "a.mp4", SHIFTS["faster"])
    assert light(tmp_path / "a.mp4", 1.0) == pytest.approx(light(source, 1.5), abs=3)
    assert probe(tmp_path / "a.mp4").duration == pytest.approx(2 / 1.5, abs=0.05)


def test_half_the_frames_show_the_same_at_the_same_time(source: Path, tmp_path: Path) -> None:
    write_shifted(source, tmp_path / "a.mp4", SHIFTS["frame rate"])
    assert probe(tmp_path / "a.mp4").frame_rate == pytest.approx(RATE / 2, rel=0.1)
    assert light(tmp_path / "a.mp4", 1.0) == pytest.approx(light(source, 1.0), abs=3)
    assert light(tmp_path / "a.mp4", 1.06) == pytest.approx(light(source, 1.0), abs=3)


def test_recompressed_is_a_smaller_file(source: Path, tmp_path: Path) -> None:
    write_shifted(source, tmp_path / "a.mp4", SHIFTS["recompressed"])
    write_shifted(source, tmp_path / "b.mp4", SHIFTS["darker"])
    assert (tmp_path / "a.mp4").stat().st_size < (tmp_path / "b.mp4").stat().st_size


def test_a_span_begins_at_its_start(source: Path, tmp_path: Path) -> None:
    write_shifted(source, tmp_path / "a.mp4", SHIFTS["recompressed"], start=1.0, end=1.5)
    assert probe(tmp_path / "a.mp4").duration == pytest.approx(0.5, abs=0.01)
    assert light(tmp_path / "a.mp4", 0.0) == pytest.approx(light(source, 1.0), abs=6)


def test_a_span_after_the_end_has_no_frame(source: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="from 9 s on"):
        write_shifted(source, tmp_path / "a.mp4", SHIFTS["darker"], start=9.0)
    assert not list(tmp_path.iterdir())


def test_frames_keep_their_type(source: Path) -> None:
    image = SHIFTS["smaller"].image(decode(source, [0.0]).data[0])
    assert (image.dtype, image.shape) == (np.dtype(np.uint8), (48, 64, 3))
