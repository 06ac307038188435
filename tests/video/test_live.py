from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from loopback import Camera, grow, http_server, redirect, send, snapshots

from conftest import MakeVideo
from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video import Limits, is_live, open_live

ReadIndex = Callable[[torch.Tensor], int]
QUICK = Limits(timeout=1.5)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    end = time.monotonic() + 3
    while time.monotonic() < end and any(thread.name.startswith("reading") for thread in threading.enumerate()):
        time.sleep(0.02)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("reading")]


@pytest.fixture
def pipe_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """A function that runs a program whose output becomes this one's standard input."""
    started = []

    def run(*command: str | Path) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603
        started.append(process)
        monkeypatch.setattr(sys, "stdin", process.stdout)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("0", True),
        ("/dev/video2", True),
        ("rtsp://10.0.0.1/live", True),
        ("HTTPS://example.org/a.mp4", True),
        ("srt://10.0.0.1", True),
        ("-", True),
        ("clip.mp4", False),
        ("./0", False),
        ("folder/-", False),
        ("C:\\clips\\a.mp4", False),
        ("2024", False),
        ("", False),
    ],
)
def test_a_source_is_live_or_a_file(source: str, expected: bool) -> None:
    assert is_live(source) is expected


def test_what_cannot_be_meant_is_said() -> None:
    with pytest.raises(UnknownNameError, match=r"no kind of address is called 'srt'.*rtsp"):
        open_live("srt://10.0.0.1")
    with pytest.raises(UsageError, match=r"'clip\.mp4' is neither"):
        open_live("clip.mp4")
    with pytest.raises(UsageError, match="buffer has to be 1"):
        open_live("0", buffer=0)
    with pytest.raises(UnknownNameError, match="newest"):
        open_live("0", drop="newest")  # type: ignore[arg-type]


def test_a_camera_is_seen_as_it_films(read_index: ReadIndex) -> None:
    with Camera(frame_rate=50) as camera, open_live(camera.url) as playback:
        assert (playback.size, playback.frame_rate, playback.duration, playback.live) == ((120, 160), 50.0, None, True)
        before = -1
        for frame in playback:
            assert read_index(playback.picture(frame)) == frame.number > before
            assert frame.time == pytest.approx(frame.number / 50)
            assert frame.end == pytest.approx(frame.time + 0.02)
            assert 0 <= time.monotonic() - frame.arrived < 1
            before = frame.number
            if frame.number > 60:
                break
    assert camera.gone.wait(3)


def test_who_is_late_gets_the_newest_frames_and_the_number_of_those_that_were_dropped(read_index: ReadIndex) -> None:
    with Camera(frame_rate=50) as camera, open_live(camera.url, buffer=2) as playback:
        delivered, last = 0, 0
        for _ in range(3):
            time.sleep(0.4)
            sent = camera.sent
            frame = next(playback)
            delivered += 1
            last = read_index(playback.picture(frame))
            assert sent - 12 <= last <= camera.sent  # 20 were sent since
            assert playback.dropped >= last + 1 - delivered
        assert playback.dropped >= 3 * 15
        time.sleep(0.1)
        waiting = [next(playback), next(playback)]
        assert waiting[0].number == playback.dropped + delivered
        assert waiting[1].number == waiting[0].number + 1


def test_a_camera_that_hangs_up_is_an_error_after_its_last_frame(read_index: ReadIndex) -> None:
    with Camera(frame_rate=50, count=70) as camera, open_live(camera.url, buffer=100) as playback:
        seen = []
        with pytest.raises(VideoError, match=r"truncated: it ended after 1\.4 s: the connection was closed") as caught:
            seen.extend(read_index(playback.picture(frame)) for frame in playback)
        assert caught.value.name == camera.url
        assert seen == list(range(70))
        assert list(playback) == []


def test_a_camera_that_stands_still_is_an_error_after_the_time_limit() -> None:
    with Camera(frame_rate=50, count=60, ending="stall") as camera, open_live(camera.url, limits=QUICK) as playback:
        last = 0.0
        with pytest.raises(VideoError, match=r"timeout: .*1\.5 s"):  # noqa: PT012
            for frame in playback:
                last = frame.arrived
        assert 1.4 < time.monotonic() - last < 3


def test_a_camera_that_was_started_again_does_not_send_the_clock_astray() -> None:
    for ahead in (5_000.0, -0.8):
        times = []
        with (
            Camera(frame_rate=50, count=100, leap=(60, ahead)) as camera,
            open_live(camera.url, buffer=200) as playback,
            pytest.raises(VideoError, match="truncated"),
        ):
            times.extend(frame.time for frame in playback)
        assert len(times) == 100
        steps = np.diff(times)
        assert (steps >= 0).all()
        np.testing.assert_allclose(steps[:59], 0.02, atol=1e-6)
        assert steps[59] < 0.5
        np.testing.assert_allclose(steps[60:], 0.02, atol=1e-6)


def test_damaged_frames_of_a_camera_are_left_out_and_counted(read_index: ReadIndex) -> None:
    with (
        Camera(frame_rate=50, count=100, damaged=[61, 75]) as camera,
        open_live(camera.url, buffer=200) as playback,
    ):
        seen = []
        with pytest.raises(VideoError, match="truncated"):
            seen.extend(read_index(playback.picture(frame)) for frame in playback)
    lost = sorted(set(range(100)) - set(seen))
    assert seen == sorted(seen)
    assert {61, 75} <= set(lost) <= {*range(61, 65), *range(75, 80)}
    assert 0 < playback.damaged <= len(lost)
    assert playback.dropped == 0


def test_leaving_in_the_middle_lets_go_of_the_camera() -> None:
    with Camera(frame_rate=50) as camera:
        playback = open_live(camera.url)
        next(playback)
        start = time.monotonic()
        playback.close()
        playback.close()
        assert time.monotonic() - start < 1
        assert camera.gone.wait(1)
        assert list(playback) == []


def test_a_playback_that_is_forgotten_is_closed() -> None:
    with Camera(frame_rate=50) as camera:
        for frame in open_live(camera.url):
            assert frame.number >= 0
            break
        del frame
        assert camera.gone.wait(2)


def test_ctrl_c_ends_it_at_once() -> None:
    code = (
        "import sys; from marey.video import open_live\n"
        "with open_live(sys.argv[1]) as playback:\n"
        "    for frame in playback: print(frame.number, flush=True)\n"
    )
    with Camera(frame_rate=50, count=60, ending="stall") as camera:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code, camera.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1.5)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=10)
        assert time.monotonic() - start < 5
        assert words.decode().rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.avi", "a.y4m", "a.mjpeg"])
def test_a_pipe_gives_every_frame_however_late_they_are_asked_for(
    make_video: MakeVideo, read_index: ReadIndex, pipe_in: Callable[..., object], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if path.suffix in (".y4m", ".mjpeg"):
        recode(make_video(tmp_path / "a.mp4"), path)
    else:
        make_video(path, codec="mpeg4" if path.suffix == ".avi" else "libx264")
    pipe_in("cat", path)
    with open_live("-") as playback:
        time.sleep(0.2)
        frames = list(playback)
        assert playback.live
        assert playback.dropped == 0
    assert [read_index(playback.picture(frame)) for frame in frames] == list(range(50))
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(50)])


def recode(path: Path, out: Path) -> None:
    """The frames of a video in a format that has neither header nor index."""

    codec, pixels, container = {
        ".y4m": ("wrapped_avframe", "yuv420p", "yuv4mpegpipe"),
        ".mjpeg": ("mjpeg", "yuvj420p", "mjpeg"),
    }[out.suffix]
    stream: Any
    with av.open(str(path)) as source, av.open(str(out), "w", format=container) as target:
        stream = target.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 120, 160, pixels
        for index, frame in enumerate(source.decode(video=0)):
            picture = frame.reformat(format=pixels)
            picture.pts, picture.time_base = index, Fraction(1, 25)
            target.mux(stream.encode(picture))
        target.mux(stream.encode(None))


def test_the_oldest_of_a_pipe_are_dropped_where_that_is_asked(
    make_video: MakeVideo, pipe_in: Callable[..., object], tmp_path: Path
) -> None:
    pipe_in("cat", make_video(tmp_path / "a.ts"))
    with open_live("-", buffer=3, drop="oldest") as playback:
        time.sleep(0.5)
        assert [frame.number for frame in playback] == [47, 48, 49]
        assert playback.dropped == 47


def test_sound_that_begins_on_the_way_is_no_matter(
    make_video: MakeVideo, pipe_in: Callable[..., object], tmp_path: Path
) -> None:
    silent = make_video(tmp_path / "a.ts", seconds=12.0, size=(32, 32))  # longer than FFmpeg looks ahead
    pipe_in("cat", silent, make_video(tmp_path / "b.ts", size=(32, 32), audio=True))
    with open_live("-") as playback:
        assert len(list(playback)) == 350


def test_a_pipe_that_holds_no_video_is_refused_with_the_reason(
    pipe_in: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words").write_bytes(b"no video at all\n" * 500)
    (tmp_path / "nothing").write_bytes(b"")
    for name in ("words", "nothing"):
        pipe_in("cat", tmp_path / name)
        with pytest.raises(VideoError, match="standard input: not_video: "):
            open_live("-")
    pipe_in("sleep", "20")
    start = time.monotonic()
    with pytest.raises(VideoError, match="standard input: timeout: "):
        open_live("-", limits=Limits(timeout=0.5))
    assert time.monotonic() - start < 2
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="nothing is piped"):
        open_live("-")


def test_a_pipe_that_falls_silent_is_left_at_once(
    make_video: MakeVideo, pipe_in: Callable[..., object], tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.ts")
    pipe_in("sh", "-c", f"cat '{path}'; exec sleep 20")
    playback = open_live("-", buffer=20)  # the rest fits in: it waits for more
    frames = [next(playback) for _ in range(40)]
    time.sleep(0.2)
    start = time.monotonic()
    playback.close()
    assert time.monotonic() - start < 1
    assert [frame.number for frame in frames] == list(range(40))


def test_a_file_behind_an_address_is_read_whole(make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path) -> None:
    data = make_video(tmp_path / "a.mp4").read_bytes()
    with http_server({"/a.mp4": send(data), "/b": redirect("/a.mp4")}) as url:
        for name in ("a.mp4", "b"):
            with open_live(f"{url}/{name}") as playback:
                assert playback.duration == pytest.approx(2.0)
                time.sleep(0.1)
                assert [read_index(playback.picture(frame)) for frame in playback] == list(range(50))
                assert playback.dropped == 0


def test_a_stream_behind_an_address_is_live(make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", gop=5)
    with http_server({"/live": grow(path, seconds=2.0)}) as url, open_live(f"{url}/live", buffer=100) as playback:
        assert playback.duration is None
        assert [read_index(playback.picture(frame)) for frame in playback] == list(range(50))
    with http_server({"/live": grow(path, seconds=2.0)}) as url, open_live(f"{url}/live") as playback:
        time.sleep(2.5)
        assert [frame.number for frame in playback] == [48, 49]
        assert playback.dropped == 48


def test_frames_without_timestamps_are_timed_by_their_arrival(read_index: ReadIndex) -> None:
    with (
        http_server({"/camera": snapshots(frame_rate=10.0, count=20)}) as url,
        open_live(f"{url}/camera", buffer=100) as playback,
    ):
        seen, times = [], []
        with pytest.raises(VideoError, match="truncated: it broke off"):  # noqa: PT012 - no end was announced
            for frame in playback:
                seen.append(read_index(playback.picture(frame)))
                times.append(frame.time)
    assert seen == list(range(20))
    assert times[-1] == pytest.approx(1.9, abs=0.4)
    assert np.median(np.diff(times)) == pytest.approx(0.1, abs=0.03)


def test_a_file_that_breaks_off_on_the_way_is_an_error_after_the_frames_that_came(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path
) -> None:
    data = make_video(tmp_path / "a.mkv", seconds=4.0).read_bytes()
    with http_server({"/a.mkv": send(data, part=0.5)}) as url, open_live(f"{url}/a.mkv") as playback:
        seen = []
        with pytest.raises(VideoError, match="truncated"):
            seen.extend(read_index(playback.picture(frame)) for frame in playback)
        assert len(seen) > 10
        assert seen == list(range(len(seen)))


def test_an_address_without_video_is_refused_with_the_reason() -> None:
    answers = {"/text": send(b"no video\n" * 100, "text/plain"), "/empty": send(b"")}
    with http_server(answers) as url:
        with pytest.raises(VideoError, match=r"/none: missing: .*404"):
            open_live(f"{url}/none")
        for name in ("text", "empty"):
            with pytest.raises(VideoError, match="not_video"):
                open_live(f"{url}/{name}")
    for scheme in ("rtsp", "http", "rtmp"):
        with pytest.raises(VideoError, match="missing: it cannot be opened: Connection refused"):
            open_live(f"{scheme}://127.0.0.1:9/a")


def test_a_broadcaster_is_listened_to() -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg to send by rtmp")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"rtmp://127.0.0.1:{probe.getsockname()[1]}/live/camera"
    command = (
        "ffmpeg -v quiet -re -f lavfi -i testsrc=size=160x120:rate=50 -t 1.5 -c:v libx264 -g 5 -preset veryfast "
        f"-tune zerolatency -pix_fmt yuv420p -f flv -listen 1 {url}"
    )
    sender = subprocess.Popen(command.split())  # noqa: S603
    try:
        end = time.monotonic() + 10
        while True:
            try:
                playback = open_live(url, buffer=100)
                break
            except VideoError as error:
                if error.reason != "missing" or time.monotonic() > end:
                    raise
                time.sleep(0.1)
        with playback:
            times = []
            with pytest.raises(VideoError, match="truncated: it broke off"):
                times.extend(frame.time for frame in playback)
        assert times == pytest.approx([i / 50 for i in range(75)], abs=0.002)
    finally:
        sender.kill()
        sender.wait()


def test_an_address_never_opens_a_file(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", gop=5)

    def playlist(segment: str) -> bytes:
        return (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2,\n{segment}\n#EXT-X-ENDLIST\n"
        ).encode()

    kind = "application/vnd.apple.mpegurl"
    answers = {
        "/a.ts": send(path.read_bytes(), "video/mp2t"),
        "/good.m3u8": send(playlist("/a.ts"), kind),
        "/file.m3u8": send(playlist(path.as_uri()), kind),
        "/bare.m3u8": send(playlist(f"subfile,,start,0,end,0,,:{path}"), kind),
        "/concat": send(f"ffconcat version 1.0\nfile '{path}'\n".encode(), "text/plain"),
        "/moved": redirect(path.as_uri()),
    }
    with http_server(answers) as url:
        with open_live(f"{url}/good.m3u8") as playback:
            assert len(list(playback)) == 50
        for name in ("file.m3u8", "bare.m3u8", "concat", "moved"):
            with pytest.raises(VideoError, match="not_video"):
                open_live(f"{url}/{name}", limits=QUICK)


def test_a_server_without_a_trusted_certificate_is_refused(
    make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(  # noqa: S603
        [*command.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    data = make_video(tmp_path / "a.mp4", seconds=0.4).read_bytes()
    with http_server({"/a.mp4": send(data)}, context) as url:
        with pytest.raises(VideoError, match=r"missing: .*certificate"):
            open_live(f"{url}/a.mp4")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with open_live(f"{url}/a.mp4") as playback:
            assert len(list(playback)) == 10


def test_a_page_with_a_video_is_looked_up(make_video: MakeVideo, tmp_path: Path) -> None:
    pytest.importorskip("yt_dlp", reason="yt-dlp is not installed; it comes with marey[live]")
    data = make_video(tmp_path / "a.mp4").read_bytes()
    page = b"<html><head><title>a</title></head><body><video src='/a.mp4'></video></body></html>"
    answers = {"/page": send(page, "text/html"), "/a.mp4": send(data), "/text": send(b"<html></html>", "text/html")}
    with http_server(answers) as url:
        with open_live(f"{url}/page") as playback:
            assert len(list(playback)) == 50
        with pytest.raises(VideoError, match="not_video: no video was found on this page"):
            open_live(f"{url}/text")


def test_a_password_is_shown_to_nobody() -> None:
    with pytest.raises(VideoError, match=r"rtsp://me:\*\*\*@127\.0\.0\.1:9/a: missing") as caught:
        open_live("rtsp://me:very@secret@127.0.0.1:9/a")
    assert "secret" not in str(caught.value)
    assert "secret" not in caught.value.name


def test_a_camera_that_is_not_there_is_named_with_those_that_are() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("cameras are opened on Linux only")
    with pytest.raises(VideoError, match="/dev/video987: missing: there is no such camera; there are: "):
        open_live("987")


def test_a_real_camera_films() -> None:
    devices = sorted(Path("/dev").glob("video*"))
    if not devices or not os.access(devices[0], os.R_OK):
        pytest.skip("there is no camera at /dev/video*")
    with open_live(str(devices[0])) as playback:
        frames = [next(playback) for _ in range(5)]
        assert frames[-1].time > frames[0].time
        assert playback.picture(frames[0], size=playback.size).shape == (3, *playback.size)
