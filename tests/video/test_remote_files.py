"""Video on other machines: what is read of it, and what goes wrong."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from conftest import MakeVideo, draw, read
from marey.data import content_hash
from marey.errors import UsageError, VideoError
from marey.remote_path import RemotePath, as_path, join_path, shown_text
from marey.video import Limits, decode, play, probe
from remote_servers import Web, forget, put, serve, serve_s3, use_s3

pytest.importorskip("aiohttp", reason="aiohttp is not installed")

DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as server:
        yield server
    forget()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, serve_s3(patch) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of video with its index at the start, hard to compress."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (60, 160, 3), np.uint8)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        stream = file.add_stream("libx264", rate=10, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.gop_size = 10
        for index in range(600):
            image = draw(index, (120, 160))
            image[60:] = np.roll(noise, 7 * index, axis=1)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, make_video: MakeVideo) -> bytes:
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4").read_bytes()


def reason_of(path: str, limits: Limits = Limits()) -> str:  # noqa: B008 - frozen
    with pytest.raises(VideoError) as caught:
        decode(path, [0.0, 1.0], limits=limits)
    assert caught.value.path == as_path(path)
    return caught.value.reason


def test_a_clip_of_a_long_file_reads_a_quarter_of_its_bytes_at_most(web: Web, long_video: Path) -> None:
    web.files["/long.mp4"] = long_video.read_bytes()
    timestamps = np.linspace(30, 32, 16)
    found = decode(f"{web.url}/long.mp4", timestamps)
    assert web.sent["/long.mp4"] <= len(web.files["/long.mp4"]) / 4
    assert np.array_equal(found.data, decode(long_video, timestamps).data)


def test_a_file_on_a_web_server_has_the_properties_of_the_same_file_here(
    web: Web, make_video: MakeVideo, read_index: Callable[[torch.Tensor], int], tmp_path: Path
) -> None:
    for name in ("a.mp4", "a.mkv", "a.avi", "a.mov"):
        here = make_video(tmp_path / name, codec="mpeg4" if name.endswith("avi") else "libx264")
        web.files[f"/{name}"] = here.read_bytes()
        there, here_too = probe(f"{web.url}/{name}"), probe(here)
        assert (there.duration, there.frame_count, there.faults) == (
            here_too.duration,
            here_too.frame_count,
            here_too.faults,
        )
        with play(f"{web.url}/{name}") as playback:
            assert [read_index(playback.to_rgb(frame)) for frame in playback][:3] == [0, 1, 2]


def test_what_was_read_is_not_sent_again(web: Web, clip: bytes) -> None:
    web.files["/a.mp4"] = clip
    probe(f"{web.url}/a.mp4")
    sent = web.sent["/a.mp4"]
    decode(f"{web.url}/a.mp4", [0.0, 1.0])
    assert web.sent["/a.mp4"] == sent


def test_an_object_in_s3_shows_the_frames_of_the_file(s3: str, clip: bytes) -> None:
    put(s3, "videos", "a b/+clip #1.mp4", clip)
    path = "s3://videos/a b/+clip #1.mp4"
    assert [read(frame) for frame in decode(path, [0.0, 0.4, 1.0]).data] == [0, 10, 25]
    assert str(probe(path).path) == path
    assert reason_of("s3://videos/none.mp4") == "missing"
    assert reason_of("s3://no-such-bucket/none.mp4") == "missing"
    put(s3, "videos", "empty.mp4", b"")
    assert reason_of("s3://videos/empty.mp4") == "empty"
    assert reason_of("s3://videos") == "not_video"
    assert reason_of(path, Limits(max_bytes=1000)) == "too_large"


def test_an_object_that_is_replaced_while_it_is_read_is_an_error(s3: str, long_video: Path) -> None:
    data = long_video.read_bytes()
    put(s3, "videos", "long.mp4", data)
    with play("s3://videos/long.mp4") as playback:
        next(iter(playback))
        put(s3, "videos", "long.mp4", data[:-1] + b"x")
        with pytest.raises(VideoError) as caught:
            list(playback)
    assert caught.value.reason == "changed"
    put(s3, "videos", "long.mp4", data)
    assert len(decode("s3://videos/long.mp4", [50.0]).data) == 1  # the next reading begins anew


def test_a_file_that_is_replaced_while_it_is_read_is_an_error(web: Web, long_video: Path) -> None:
    web.files["/long.mp4"] = data = long_video.read_bytes()
    with play(f"{web.url}/long.mp4") as playback:
        next(iter(playback))
        web.files["/long.mp4"] = data[:-1] + b"x"
        with pytest.raises(VideoError) as caught:
            list(playback)
    assert caught.value.reason == "changed"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, DENIED, "forbidden"),
        (400, EXPIRED, "expired"),
        (404, b"<Error><Code>NoSuchKey</Code></Error>", "missing"),
        (503, b"", "unreachable"),
    ],
)
def test_each_fault_of_a_server_has_its_reason(
    web: Web, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, reason: str
) -> None:
    monkeypatch.setattr("marey.video.remote_web._WAIT", 0.001)
    web.answers = {"/videos/a.mp4": (status, body)}
    assert reason_of(f"{web.url}/videos/a.mp4") == reason
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    use_s3(monkeypatch, web.url)
    assert reason_of("s3://videos/a.mp4") == reason


def test_a_connection_that_breaks_off_is_made_again(web: Web, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    web.files["/videos/a.mp4"] = clip
    web.drops["/videos/a.mp4"] = 2
    assert read(decode(f"{web.url}/videos/a.mp4", [1.0]).data[0]) == 25
    assert web.drops["/videos/a.mp4"] == 0
    web.drops["/videos/a.mp4"] = 1000
    monkeypatch.setattr("marey.video.remote_web._WAIT", 0.001)
    assert reason_of(f"{web.url}/videos/a.mp4?again") == "unreachable"


def test_a_server_that_is_not_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marey.video.remote_web._WAIT", 0.001)
    with serve() as server:
        url = server.url
    assert reason_of(f"{url}/a.mp4") == "unreachable"


def test_a_server_without_ranges_is_not_read(web: Web, clip: bytes) -> None:
    web.files["/a.mp4"] = clip
    web.ranges = False
    assert reason_of(f"{web.url}/a.mp4") == "no_ranges"
    assert web.sent["/a.mp4"] == 0 if "/a.mp4" in web.sent else True


def test_a_server_that_does_not_answer_ends_with_the_time_limit(web: Web, clip: bytes) -> None:
    web.files["/a.mp4"] = clip
    web.stalls.add("/a.mp4")
    assert reason_of(f"{web.url}/a.mp4", Limits(timeout=0.3)) == "timeout"
    web.release.set()


def test_the_hash_of_a_remote_file_changes_with_it(s3: str, web: Web, clip: bytes) -> None:
    paths = ("s3://videos/h.mp4", f"{web.url}/h.mp4")
    found = []
    for data in (clip, clip[:-1] + b"x"):  # of the same size
        put(s3, "videos", "h.mp4", data)
        web.files["/h.mp4"] = data
        forget()
        found.append([content_hash(path) for path in paths])
        assert [content_hash(path) for path in paths] == found[-1]
    (before, on_web), (after, on_web_after) = found
    assert before != after
    assert on_web != on_web_after
    assert web.sent["/h.mp4"] < 10  # bytes


def test_the_hash_is_that_of_a_local_file_where_it_is_asked_for(
    s3: str, clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").write_bytes(clip)
    put(s3, "videos", "c.mp4", clip)
    assert content_hash("s3://videos/c.mp4") != content_hash(tmp_path / "a.mp4")
    monkeypatch.setenv("MAREY_REMOTE_HASH", "content")
    assert content_hash("s3://videos/c.mp4") == content_hash(tmp_path / "a.mp4")
    monkeypatch.setenv("MAREY_REMOTE_HASH", "whole")
    with pytest.raises(UsageError, match="'whole': set it to version"):
        content_hash("s3://videos/c.mp4")


def test_a_file_whose_server_states_no_version_is_hashed_by_its_bytes(web: Web, clip: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip)
    web.files["/a.mp4"] = clip
    web.tags = False
    assert content_hash(f"{web.url}/a.mp4") == content_hash(tmp_path / "a.mp4")
    web.files["/a.mp4"] = clip[:-1] + b"x"
    assert content_hash(f"{web.url}/a.mp4") != content_hash(tmp_path / "a.mp4")


def test_passwords_and_signatures_are_sent_and_never_shown(web: Web, clip: bytes) -> None:
    web.files["/a.mp4"] = clip
    signed = f"{web.url}/a.mp4?X-Amz-Signature=s3cr3t%2Fx"
    assert len(decode(signed, [0.0]).data) == 1
    assert set(web.queries) == {"X-Amz-Signature=s3cr3t%2Fx"}
    web.answers["/b.mp4"] = (403, DENIED)
    with pytest.raises(VideoError) as caught:
        probe(f"{web.url}/b.mp4?X-Amz-Signature=s3cr3t")
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    for shown in (str(probe(signed)), str(error), repr(error.path), error.name):
        assert "s3cr3t" not in shown
    assert shown_text("GET https://me:s3cr3t@host/a?sig=s3cr3t failed") == "GET https://host/a failed"
    assert as_path("https://me:s3cr3t@host/x/a.mp4?s3cr3t").as_posix() == "https://host/x/a.mp4"


def test_a_remote_path_is_a_path() -> None:
    path = as_path("s3://bucket/walk/a.mp4")
    assert (path.name, path.suffix, str(path.parent)) == ("a.mp4", ".mp4", "s3://bucket/walk")
    assert path == as_path(Path("s3://bucket/walk/a.mp4")) == as_path("S3://bucket//walk/./a.mp4")
    assert str(path.relative_to("s3://bucket")) == "walk/a.mp4"
    assert path.absolute() is path
    assert isinstance(pickle.loads(pickle.dumps(path)), RemotePath)  # noqa: S301
    assert as_path("s3://bucket/a//b.mp4").url == "s3://bucket/a//b.mp4"  # type: ignore[attr-defined]
    folder = as_path("https://me:pw@host/clips")
    assert join_path(folder, "../other/b.mp4").url == "https://me:pw@host/other/b.mp4"  # type: ignore[attr-defined]
    assert join_path(Path("/here"), "gs://b/c.mp4") == as_path("gs://b/c.mp4")
    assert join_path(Path("/here"), "c.mp4") == Path("/here/c.mp4")
    assert not isinstance(as_path("clips/s3/a.mp4"), RemotePath)
