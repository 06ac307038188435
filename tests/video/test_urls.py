from __future__ import annotations

import gc
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from conftest import MakeVideo
from loopback import grow, http_server, no_reader_is_left, redirect, send, snapshots
from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video import Playback, StreamFrame, is_live, open_live
from marey.video.urls import parse_source
from marey.video.versions import MAJOR
from waiting import PATIENCE, wait_until

ReadIndex = Callable[[torch.Tensor], int]
# yt-dlp leaves unused connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert no_reader_is_left()
    gc.collect()  # here, not during another test


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("0", True),
        ("/dev/video2", True),
        ("rtsp://10.0.0.1/live", True),
        ("HTTPS://example.org/a.mp4", True),
        ("srt://10.0.0.1", True),
        ("-", True),
        ("s3://bucket/a.mp4", False),
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


def test_invalid_sources_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no URL scheme is called 'srt'.*rtsp"):
        open_live("srt://10.0.0.1")
    with pytest.raises(UsageError, match=r"'clip\.mp4' is neither"):
        open_live("clip.mp4")
    with pytest.raises(UsageError, match="buffer has to be 1"):
        open_live("0", buffer=0)
    with pytest.raises(UnknownNameError, match="newest"):
        open_live("0", drop="newest")  # type: ignore[arg-type]


def test_a_file_at_a_url_is_read_completely(make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path) -> None:
    data = make_video(tmp_path / "a.mp4").read_bytes()
    with http_server({"/a.mp4": send(data), "/b": redirect("/a.mp4")}) as url:
        for name in ("a.mp4", "b"):
            with open_live(f"{url}/{name}") as playback:
                assert playback.duration == pytest.approx(2.0)
                assert [read_index(playback.to_rgb(frame)) for frame in playback] == list(range(50))
                assert playback.dropped == 0


def test_a_stream_at_a_url_is_live(make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", gop=5)
    with http_server({"/live": grow(path, seconds=0.5)}) as url, open_live(f"{url}/live", buffer=100) as playback:
        assert playback.duration is None
        assert [read_index(playback.to_rgb(frame)) for frame in to_its_end(playback)] == list(range(50))
    with http_server({"/live": grow(path, seconds=0.5)}) as url, open_live(f"{url}/live") as playback:
        wait_until(lambda: playback.dropped == 48)
        assert [frame.number for frame in to_its_end(playback)] == [48, 49]


def to_its_end(playback: Playback) -> Iterator[StreamFrame]:
    """Yield the frames of a chunked response, whose end FFmpeg 8.1 (PyAV 19) takes for an interruption."""
    try:
        yield from playback
    except VideoError as error:
        if MAJOR < 19 or error.reason != "truncated":
            raise


def test_frames_without_timestamps_are_timed_by_their_arrival(read_index: ReadIndex) -> None:
    here, pause = threading.Event(), 1.5  # s: at 25 frames a second it would be 0.4

    def wait() -> None:
        here.wait(PATIENCE)
        time.sleep(pause)

    begun = time.time()
    with (
        http_server({"/camera": snapshots(60, pauses={50: wait})}) as url,
        open_live(f"{url}/camera", buffer=100) as playback,
    ):
        seen, times = [], []
        with pytest.raises(VideoError, match="truncated: it broke off"):  # noqa: PT012 - no end was announced
            for frame in playback:
                seen.append(read_index(playback.to_rgb(frame)))
                times.append(frame.time)
                if len(seen) == 40:
                    here.set()
    assert seen == list(range(60))
    assert times == sorted(times)
    assert times[50] - times[39] > pause - 0.1
    assert times[-1] < time.time() - begun + 0.1


def test_an_interrupted_download_is_an_error_after_the_received_frames(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path
) -> None:
    data = make_video(tmp_path / "a.mkv", seconds=4.0).read_bytes()
    with http_server({"/a.mkv": send(data, part=0.5)}) as url, open_live(f"{url}/a.mkv") as playback:
        seen: list[int] = []
        with pytest.raises(VideoError, match="truncated"):
            seen.extend(read_index(playback.to_rgb(frame)) for frame in playback)
        assert len(seen) > 10
        assert seen == list(range(len(seen)))


def test_a_url_without_video_is_refused_with_the_reason() -> None:
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


@pytest.mark.long
def test_an_rtmp_stream_is_received() -> None:
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
        end = time.monotonic() + PATIENCE
        while True:
            try:
                playback = open_live(url, buffer=100)
                break
            except VideoError as error:
                if error.reason != "missing" or time.monotonic() > end:
                    raise
                time.sleep(0.1)
        with playback:
            times: list[float] = []
            with pytest.raises(VideoError, match="truncated: it broke off"):
                times.extend(frame.time for frame in playback)
        assert times == pytest.approx([i / 50 for i in range(75)], abs=0.002)
    finally:
        sender.kill()
        sender.wait()


def test_a_url_never_opens_a_local_file(make_video: MakeVideo, tmp_path: Path) -> None:
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
                open_live(f"{url}/{name}")


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


@pytest.mark.long
def test_the_video_of_a_web_page_is_found(make_video: MakeVideo, tmp_path: Path) -> None:
    pytest.importorskip("yt_dlp", reason="yt-dlp is not installed; it comes with the extra live")
    data = make_video(tmp_path / "a.mp4").read_bytes()
    page = b"<html><head><title>a</title></head><body><video src='/a.mp4'></video></body></html>"
    answers = {"/page": send(page, "text/html"), "/a.mp4": send(data), "/text": send(b"<html></html>", "text/html")}
    with http_server(answers) as url:
        with open_live(f"{url}/page") as playback:
            assert len(list(playback)) == 50
        with pytest.raises(VideoError, match="not_video: no video was found on this page"):
            open_live(f"{url}/text")


def test_passwords_are_not_part_of_messages() -> None:
    with pytest.raises(VideoError, match=r"rtsp://me:\*\*\*@127\.0\.0\.1:9/a: missing") as caught:
        open_live("rtsp://me:very@secret@127.0.0.1:9/a")
    assert "secret" not in str(caught.value)
    assert "secret" not in caught.value.name
    signed = parse_source("https://host/live.m3u8?id=3&X-Amz-Signature=secret&token=secret#t")
    assert signed.name == "https://host/live.m3u8?id=3&X-Amz-Signature=***&token=***#t"
