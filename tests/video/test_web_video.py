"""Tests of web videos that are fetched, and labelled as clips."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeVideo
from loopback import grow, http_server, send
from marey import commands
from marey.commands.steps.predictions import Predictions
from marey.errors import UsageError, VideoError
from marey.video import Limits, decode, fetch_video, open_live, play, probe
from marey.video.versions import MAJOR


@pytest.fixture(scope="module")
def clip(small_set: Path) -> Path:
    return sorted(small_set.rglob("*.mp4"))[0]


def test_a_web_video_is_copied_frame_for_frame(make_video: MakeVideo, tmp_path: Path) -> None:
    given = make_video(tmp_path / "a.mp4")
    done: list[float] = []
    with http_server({"/a.mp4": send(given.read_bytes())}) as url:
        assert fetch_video(f"{url}/a.mp4", tmp_path / "b.mkv", on_progress=done.append) == f"{url}/a.mp4"
    assert probe(tmp_path / "b.mkv").codec == probe(given).codec
    with play(given) as one, play(tmp_path / "b.mkv") as other:
        assert [frame.time for frame in one] == pytest.approx([frame.time for frame in other], abs=1e-3)
    times = [0.0, 0.98, 1.96]
    assert decode(tmp_path / "b.mkv", times).data.equal(decode(given, times).data)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(2.0, abs=0.05)


def test_a_fetched_video_ends_where_it_is_asked_to(make_video: MakeVideo, tmp_path: Path) -> None:
    given = make_video(tmp_path / "a.mp4", gop=5).read_bytes()
    with http_server({"/a.mp4": send(given)}) as url:
        fetch_video(f"{url}/a.mp4", tmp_path / "b.mkv", seconds=0.5)
    assert 0.4 <= probe(tmp_path / "b.mkv").duration <= 0.8


def test_a_live_stream_is_fetched_with_an_end_alone(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", gop=5)
    with (
        http_server({"/live": grow(path, seconds=0.5)}) as url,
        pytest.raises(UsageError, match="live stream without an end: add --max-seconds"),
    ):
        fetch_video(f"{url}/live", tmp_path / "b.mkv")
    if MAJOR < 19:  # which takes the end of the server for an interruption
        with http_server({"/live": grow(path, seconds=0.5)}) as url:
            fetch_video(f"{url}/live", tmp_path / "b.mkv", seconds=1.0)
        assert probe(tmp_path / "b.mkv").duration == pytest.approx(1.0, abs=0.3)


def test_what_breaks_off_is_too_large_or_is_no_web_video_is_refused(make_video: MakeVideo, tmp_path: Path) -> None:
    data = make_video(tmp_path / "a.mkv", seconds=4.0).read_bytes()
    with http_server({"/a.mkv": send(data, part=0.5), "/b.mkv": send(data)}) as url:
        with pytest.raises(VideoError, match=r"truncated|corrupt"):
            fetch_video(f"{url}/a.mkv", tmp_path / "b.mkv")
        with pytest.raises(VideoError, match="too_large: it has more than 1,000 bytes"):
            fetch_video(f"{url}/b.mkv", tmp_path / "b.mkv", limits=Limits(max_bytes=1000))
    for source in ("clip.mp4", "0"):
        with pytest.raises(UsageError, match="is no URL that starts with http"):
            fetch_video(source, tmp_path / "b.mkv")


def test_offline_the_error_says_that_the_name_does_not_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    expected = r"the name videos\.invalid does not resolve: no network here"
    with pytest.raises(VideoError, match=expected):
        fetch_video("https://videos.invalid/watch?v=1", tmp_path / "a.mkv")
    with pytest.raises(VideoError, match=expected):
        open_live("http://videos.invalid/a.mp4")


def test_a_web_video_is_labelled_as_the_file_and_gets_its_outputs(small_run: Path, clip: Path, tmp_path: Path) -> None:
    names = {"annotate": "a.mp4", "chronophotograph": "c.png", "csv": "l.csv"}
    outputs: dict[str, Any] = {option: tmp_path / name for option, name in names.items()}
    with http_server({"/clip.mp4": send(clip.read_bytes())}) as url:
        answer = commands.predict(small_run, f"{url}/clip.mp4", download=True, **outputs)
    local = commands.predict(small_run, clip)
    assert isinstance(answer, Predictions)
    assert isinstance(local, Predictions)
    assert answer.predictions[0].source == f"{url}/clip.mp4"
    assert answer.predictions[0].labels == local.predictions[0].labels
    assert answer.predictions[0].probabilities == pytest.approx(local.predictions[0].probabilities, abs=1e-6)
    assert {path.name for path in answer.written} == set(names.values())
    assert probe(tmp_path / "a.mp4").duration == pytest.approx(probe(clip).duration, abs=0.05)
    with (tmp_path / "l.csv").open(newline="") as file:
        assert [row["source"] for row in csv.DictReader(file)] == [f"{url}/clip.mp4"]


def test_downloads_of_several_sources_and_over_windows_are_refused(small_run: Path, clip: Path) -> None:
    with pytest.raises(UsageError, match="fetches the video at one URL"):
        commands.predict(small_run, [clip], download=True)
    with pytest.raises(UsageError, match="for --mode window, leave it out"):
        commands.predict(small_run, "http://127.0.0.1/a.mp4", mode="window", download=True)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")
def test_the_video_of_a_web_page_is_labelled(small_run: Path, clip: Path) -> None:
    pytest.importorskip("yt_dlp", reason="yt-dlp is not installed; it comes with the extra live")
    page = b"<html><head><title>a</title></head><body><video src='/a.mp4'></video></body></html>"
    with http_server({"/page": send(page, "text/html"), "/a.mp4": send(clip.read_bytes())}) as url:
        answer = commands.predict(small_run, f"{url}/page", download=True)
    assert isinstance(answer, Predictions)
    assert answer.predictions[0].label in ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
