from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from conftest import MakeVideo
from marey.errors import Reason, VideoError
from marey.video import Limits, decode, probe
from waiting import Clock


def reason_of(path: Path | str, limits: Limits = Limits()) -> Reason:  # noqa: B008
    with pytest.raises(VideoError) as by_probe:
        probe(path, limits=limits)
    with pytest.raises(VideoError) as by_decode:
        decode(path, [0.0], limits=limits)
    assert by_probe.value.reason == by_decode.value.reason
    assert str(path) in str(by_probe.value)
    return by_probe.value.reason


def test_probe_describes_a_file(make_video: MakeVideo, tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "a.mp4", seconds=2.0, frame_rate=30.0, audio=True))
    assert info.duration == pytest.approx(2.0)
    assert info.frame_rate == pytest.approx(30.0)
    assert (info.width, info.height, info.rotation) == (160, 120, 0)
    assert info.codec == "h264"
    assert "mp4" in info.container
    assert info.frame_count == 60
    assert info.has_audio
    assert info.faults == ()


def test_properties_that_are_not_stated_are_measured(make_video: MakeVideo, tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "a.h264", seconds=2.0))
    assert info.duration == pytest.approx(2.0, abs=0.1)
    assert info.frame_count is None
    assert "no duration is stated; it was measured" in info.faults
    assert "no frame count is stated" in info.faults


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.flv", "a.avi", "a.mov"])
def test_durations_agree_between_containers(make_video: MakeVideo, tmp_path: Path, name: str) -> None:
    assert probe(make_video(tmp_path / name, seconds=3.0)).duration == pytest.approx(3.0, abs=0.05)


def test_longer_sound_does_not_change_the_duration(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", seconds=1.0, audio=True)
    assert probe(path).duration == pytest.approx(1.0, abs=0.05)


def test_a_file_that_does_not_exist_is_missing(tmp_path: Path) -> None:
    assert reason_of(tmp_path / "nowhere.mp4") == "missing"
    assert reason_of(tmp_path / ("long" * 1000)) == "missing"
    assert reason_of("null\0character.mp4") == "missing"


def test_a_file_without_bytes_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    assert reason_of(path) == "empty"


def test_folders_pipes_text_and_images_are_not_video(tmp_path: Path) -> None:
    assert reason_of(tmp_path) == "not_video"
    text = tmp_path / "a.avi"
    text.write_text("walking\n" * 500)
    assert reason_of(text) == "not_video"
    (tmp_path / "a.txt").write_text("walking\n" * 500)
    assert reason_of(tmp_path / "a.txt") == "not_video"
    for kind in ("JPEG", "PNG"):
        Image.new("RGB", (64, 48), "navy").save(tmp_path / "image.mp4", kind)
        assert reason_of(tmp_path / "image.mp4") == "not_video"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        assert reason_of(tmp_path / "pipe.mp4") == "not_video"


def test_sound_alone_has_no_video_stream(make_tone: Callable[[Path], Path], tmp_path: Path) -> None:
    assert reason_of(make_tone(tmp_path / "a.wav")) == "no_video_stream"


def test_frames_and_files_over_the_limits_are_too_large(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.2)
    assert reason_of(path, Limits(max_pixels=160 * 120 - 1)) == "too_large"
    assert reason_of(path, Limits(max_bytes=100)) == "too_large"
    bomb = tmp_path / "bomb.y4m"
    bomb.write_bytes(b"YUV4MPEG2 W10000 H10000 F25:1\nFRAME\n" + bytes(1000))
    assert reason_of(bomb) == "too_large"


def test_reading_ends_at_the_deadline(make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=2.0, gop=1000)
    clock = Clock("marey.video.limits", patch=monkeypatch)
    decode(path, [1.9])
    looks = clock.looks
    assert looks > 48  # also at each frame before the requested one
    clock.step = 1.0
    for moment in (1, looks // 2, looks - 2):
        with pytest.raises(VideoError) as caught:
            decode(path, [1.9], limits=Limits(timeout=moment))
        assert caught.value.reason == "timeout"
    decode(path, [1.9], limits=Limits(timeout=looks))
    assert reason_of(path, Limits(timeout=1)) == "timeout"


@pytest.mark.parametrize("name", ["playlist.m3u8", "playlist.mp4"])
def test_a_playlist_opens_no_other_file(
    make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_video(tmp_path / "other.ts", seconds=0.5)
    monkeypatch.chdir(tmp_path)
    playlist = tmp_path / name
    for text in (
        "ffconcat version 1.0\nfile other.ts\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\nother.ts\n#EXT-X-ENDLIST\n",
    ):
        playlist.write_text(text)
        assert reason_of(playlist) == "not_video"


def test_a_path_is_never_a_url_of_ffmpeg(
    make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_video(tmp_path / "other.ts", seconds=0.5)
    monkeypatch.chdir(tmp_path)
    for url in ("file:other.ts", "concat:other.ts", "cache:other.ts", "ftp://127.0.0.1:9/a.mp4", "tcp://127.0.0.1:9"):
        with pytest.raises(VideoError) as caught:
            probe(url)
        assert caught.value.reason == "missing"


def test_a_raw_stream_is_read_at_the_rate_that_it_states(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.h264", seconds=2.0, frame_rate=50, size=(48, 64))
    info = probe(path)
    assert (info.frame_rate, info.duration) == (50.0, 2.0)
    assert not any("assumed" in fault for fault in info.faults)
