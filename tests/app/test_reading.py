from __future__ import annotations

from pathlib import Path

import pytest

from marey.app.reading import Reader, clip_chronophotograph
from marey.app.video_cache import annotated_clip, annotated_timeline
from marey.data import Clip
from marey.errors import VideoError
from marey.prediction import Predictor
from marey.video import probe


@pytest.fixture(scope="module")
def reader(small_run: Path) -> Reader:
    return Reader(small_run)


@pytest.fixture
def clip(small_set: Path) -> Path:
    return small_set / "walking" / "person02_walking_d1_uncomp.mp4"


def test_what_the_page_says_is_what_predict_says(reader: Reader, small_run: Path, clip: Path) -> None:
    (prediction,) = Predictor(small_run).predict(clip)
    reading = reader.read(Clip(clip))
    assert [label for label, _ in reading.top] == list(prediction.labels)
    assert [share for _, share in reading.top] == pytest.approx(list(prediction.probabilities), abs=1e-6)


def test_the_images_are_those_that_the_encoder_got(reader: Reader, clip: Path) -> None:
    reading = reader.read(Clip(clip))
    assert reading.frames.shape == (4, 120, 160, 3)
    assert {stream: pictures.shape for stream, pictures in reading.streams.items()} == {
        "difference": (4, 64, 64, 3),
        "triplet": (4, 64, 64, 3),
    }
    assert reading.timestamps.min() >= reading.start
    assert reading.timestamps.max() <= reading.end
    assert min(reading.seconds.decode, reading.seconds.encode, reading.seconds.head) > 0


def test_a_span_is_read_and_not_its_file(reader: Reader, clip: Path) -> None:
    reading = reader.read(Clip(clip, start=0.5, end=0.9))
    assert (reading.start, reading.end) == (0.5, 0.9)
    assert reading.timestamps.min() >= 0.5
    assert reading.timestamps.max() <= 0.9


def test_a_text_that_is_called_a_video_gives_its_reason(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("a text", encoding="utf-8")
    with pytest.raises(VideoError) as caught:
        reader.read(Clip(path))
    assert caught.value.reason == "not_video"


def test_the_plate_shows_the_whole_picture(clip: Path) -> None:
    assert clip_chronophotograph(Clip(clip)).shape == (120, 160, 3)


def test_a_film_is_made_once_in_a_form_that_browsers_play(clip: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    top = [("walking", 0.9), ("boxing", 0.1)]
    video = annotated_clip(clip, top, tmp_path, on_progress=shares.append)
    info = probe(video)
    assert (info.codec, info.height, info.width) == ("h264", 480, 640)
    assert info.duration == pytest.approx(probe(clip).duration, abs=0.04)
    assert shares == sorted(shares)
    again: list[float] = []
    assert annotated_clip(clip, top, tmp_path, on_progress=again.append) == video
    assert not again
    assert annotated_clip(clip, top[::-1], tmp_path, on_progress=again.append) != video


def test_a_film_over_time_lasts_as_long_as_the_video(reader: Reader, clip: Path, tmp_path: Path) -> None:
    timeline = reader.timeline(clip, on_progress=lambda share: None)
    video = annotated_timeline(clip, timeline, tmp_path, on_progress=lambda share: None)
    assert probe(video).duration == pytest.approx(probe(clip).duration, abs=0.04)


def test_no_film_is_left_of_a_file_that_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("a text", encoding="utf-8")
    with pytest.raises(VideoError):
        annotated_clip(path, [("walking", 1.0)], tmp_path / "folder", on_progress=lambda share: None)
    assert not list(tmp_path.rglob("folder/*"))
