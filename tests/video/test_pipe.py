from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from conftest import MakeVideo
from loopback import no_reader_is_left
from marey.errors import UsageError, VideoError
from marey.video import Limits, open_live
from marey.video.live import LivePlayback
from waiting import PATIENCE, wait_until

ReadIndex = Callable[[torch.Tensor], int]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert no_reader_is_left()


@pytest.fixture
def pipe_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that pipes the output of a program into standard input."""
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


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.avi", "a.y4m", "a.mjpeg"])
def test_a_pipe_gives_every_frame_to_a_late_reader(
    make_video: MakeVideo, read_index: ReadIndex, pipe_in: Callable[..., object], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if path.suffix in (".y4m", ".mjpeg"):
        recode(make_video(tmp_path / "a.mp4"), path)
    else:
        make_video(path, codec="mpeg4" if path.suffix == ".avi" else "libx264")
    pipe_in("cat", path)
    with open_live("-") as playback:
        wait_until_full(playback)
        frames = list(playback)
        assert playback.live
        assert playback.dropped == 0
    assert [read_index(playback.to_rgb(frame)) for frame in frames] == list(range(50))
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(50)])


def wait_until_full(playback: LivePlayback, *, frames: int = 2) -> None:
    """Wait until the buffer holds so many frames, and is full."""
    wait_until(lambda: len(playback._receiver._waiting) == frames)


def recode(path: Path, out: Path) -> None:
    """Write the frames of a video in a format without header and index."""
    codec, pixels, container = {
        ".y4m": ("wrapped_avframe", "yuv420p", "yuv4mpegpipe"),
        ".mjpeg": ("mjpeg", "yuvj420p", "mjpeg"),
    }[out.suffix]
    stream: Any
    with av.open(str(path)) as source, av.open(str(out), "w", format=container) as target:
        stream = target.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 120, 160, pixels
        for index, frame in enumerate(source.decode(video=0)):
            image = frame.reformat(format=pixels)
            image.pts, image.time_base = index, Fraction(1, 25)
            target.mux(stream.encode(image))
        target.mux(stream.encode(None))


def test_the_oldest_frames_of_a_pipe_are_dropped_on_request(
    make_video: MakeVideo, pipe_in: Callable[..., object], tmp_path: Path
) -> None:
    pipe_in("cat", make_video(tmp_path / "a.ts"))
    with open_live("-", buffer=3, drop="oldest") as playback:
        wait_until(lambda: playback.dropped == 47)
        assert [frame.number for frame in playback] == [47, 48, 49]
        assert playback.dropped == 47


def test_sound_may_start_in_the_middle_of_a_pipe(
    make_video: MakeVideo, pipe_in: Callable[..., object], tmp_path: Path
) -> None:
    silent = make_video(tmp_path / "a.ts", seconds=12.0, size=(32, 32))  # longer than FFmpeg probes
    pipe_in("cat", silent, make_video(tmp_path / "b.ts", size=(32, 32), audio=True))
    with open_live("-") as playback:
        assert len(list(playback)) == 350


def test_a_pipe_without_video_is_refused_with_the_reason(
    pipe_in: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words").write_bytes(b"no video at all\n" * 500)
    (tmp_path / "nothing").write_bytes(b"")
    for name in ("words", "nothing"):
        pipe_in("cat", tmp_path / name)
        with pytest.raises(VideoError, match="standard input: not_video: "):
            open_live("-")
    pipe_in("sleep", str(PATIENCE))
    with pytest.raises(VideoError, match="standard input: timeout: "):
        open_live("-", limits=Limits(timeout=0.3))
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="nothing is piped"):
        open_live("-")


def test_a_silent_pipe_is_closed_immediately(
    make_video: MakeVideo, pipe_in: Callable[..., object], tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.ts")
    pipe_in("sh", "-c", f"cat '{path}'; exec sleep {10 * PATIENCE}")
    playback = open_live(
        "-", buffer=20, limits=Limits(timeout=10 * PATIENCE)
    )  # the rest fits in, so the reader waits for more
    frames = [next(playback) for _ in range(40)]
    playback.close()
    assert no_reader_is_left()
    assert [frame.number for frame in frames] == list(range(40))
