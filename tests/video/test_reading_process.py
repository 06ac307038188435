"""Files whose memory is limited are read in a process of their own, with the same frames and errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conftest import MakeVideo
from marey.errors import Reason, UsageError, VideoError
from marey.video import Limits, Region, decode, decode_each, frame_times, play, probe, reading_process
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not limit the memory of a process")

APART = Limits(max_memory=1 << 30, timeout=PATIENCE)


@pytest.fixture(scope="module")
def video(make_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("apart") / "a.mp4", rotation=90, b_frames=2, audio=True)


@pytest.fixture
def alone() -> Iterator[None]:
    """No process waits, so that the next file starts one."""
    reading_process._idle.end()
    yield
    reading_process._idle.end()


def waiting_pid() -> int:
    """Return the number of the only process that waits."""
    (process,) = reading_process._idle._processes
    return process.pid


def test_frames_and_facts_are_those_of_reading_in_this_process(video: Path) -> None:
    times = [0.0, 1.3, 0.5, 0.5]
    assert probe(video, limits=APART) == probe(video)
    assert frame_times(video, limits=APART).tolist() == frame_times(video).tolist()
    for fit in ("crop", Region(0.1, 0.2, 0.7, 0.9)):
        apart, here = (decode(video, times, size=(40, 50), fit=fit, limits=limits) for limits in (APART, Limits()))
        assert (apart.data == here.data).all()
        assert apart.timestamps.tolist() == here.timestamps.tolist()
    each = [list(decode_each(video, times, frames="keyframes", limits=limits)) for limits in (APART, Limits())]
    assert [place for place, _ in each[0]] == [place for place, _ in each[1]]
    assert all((one == other).all() for (_, one), (_, other) in zip(*each, strict=True))
    assert each[0][1][1] is each[0][2][1]


def test_a_file_is_played_with_the_same_frames(video: Path) -> None:
    played = []
    for limits in (APART, Limits()):
        with play(video, limits=limits) as playback:
            assert (playback.path, playback.live) == (video, False)
            facts = playback.size, playback.frame_rate, playback.duration
            frames = list(playback)  # all are held
            pixels = [playback.to_rgb(frame, size=(30, 20)) for frame in frames]
            whole = playback.to_rgb(frames[7], conversion="none")
        played.append((facts, [(each.number, each.time, each.end) for each in frames], pixels, whole))
    assert played[0][:2] == played[1][:2]
    assert all((one == other).all() for one, other in zip(played[0][2], played[1][2], strict=True))
    assert (played[0][3] == played[1][3]).all()


def test_frames_that_nobody_holds_take_no_memory(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4.0, size=(480, 640))  # 44 MB of frames
    with play(path, limits=Limits(max_memory=40 << 20, timeout=PATIENCE)) as playback:
        assert sum(playback.to_rgb(frame, size=(8, 8)).shape[0] == 3 for frame in playback) == 100


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "missing"), (b"", "empty"), (b"no video", "not_video"), (0.6, "truncated")]
)
def test_errors_come_back_with_their_reason(
    video: Path, tmp_path: Path, content: bytes | float | None, reason: Reason
) -> None:
    path = tmp_path / "b.mp4"
    if content is not None:
        data = video.read_bytes()
        path.write_bytes(data[: int(content * len(data))] if isinstance(content, float) else content)
    found = []
    for limits in (APART, Limits()):
        with pytest.raises(VideoError) as caught:
            decode(path, [0.0, 1.9], limits=limits)
        found.append((caught.value.path, caught.value.reason, caught.value.detail))
    assert found[0] == found[1]
    assert found[0][1] == reason


def test_wrong_arguments_are_wrong_there_too(video: Path) -> None:
    with pytest.raises(UsageError, match="threads has to be at least 1, not 0"):
        decode(video, [0.0], threads=0, limits=APART)
    with pytest.raises(UsageError, match="max_memory has to be more than 0"):
        Limits(max_memory=0)


@pytest.mark.usefixtures("alone")
def test_a_file_that_takes_more_memory_is_too_large_and_the_next_one_is_read(
    make_video: MakeVideo, video: Path, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.2, size=(1080, 1920))
    for read in (
        lambda limits: decode(path, np.zeros(20), limits=limits),
        lambda limits: list(play(path, limits=limits)),
    ):
        with pytest.raises(VideoError, match=r"more than the 16 MB of memory") as caught:
            read(Limits(max_memory=16 << 20, timeout=PATIENCE))
        assert caught.value.reason == "too_large"
        assert len(decode(video, [0.0], limits=APART)) == 1


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("sent", "reason", "detail"),
    [
        (signal.SIGSTOP, "timeout", "longer than the 0.1 s"),
        (signal.SIGSEGV, "corrupt", r"broke down \(signal SIGSEGV\)"),
        (signal.SIGKILL, "too_large", "more than the 1,024 MB of memory"),
    ],
)
def test_a_process_that_hangs_or_breaks_down_is_an_error_of_its_file_alone(
    video: Path, sent: signal.Signals, reason: Reason, detail: str
) -> None:
    decode(video, [0.0], limits=APART)
    pid = waiting_pid()
    os.kill(pid, sent)
    timeout = 0.1 if sent == signal.SIGSTOP else PATIENCE
    with pytest.raises(VideoError, match=detail) as caught:
        decode(video, [0.0], limits=Limits(max_memory=1 << 30, timeout=timeout))
    assert caught.value.reason == reason
    assert len(decode(video, [0.0], limits=APART)) == 1
    assert waiting_pid() != pid


@pytest.mark.usefixtures("alone")
def test_several_threads_read_at_a_time_and_processes_are_used_again(video: Path) -> None:
    def read() -> None:
        for _ in range(3):
            found.append(len(decode(video, [0.0, 1.0], limits=APART)))

    found: list[int] = []
    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 6
    assert 1 <= len(reading_process._idle._processes) <= 2


def test_a_reading_process_ends_with_the_one_that_started_it(video: Path) -> None:
    code = """
import os, signal, sys
from marey.video import Limits, play, reading_process
playback = play(sys.argv[1], limits=Limits(max_memory=1 << 30))
next(playback)
print(playback._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, video], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == -signal.SIGKILL

    def ended() -> bool:
        try:
            os.kill(int(done.stdout), 0)
        except ProcessLookupError:
            return True
        state = Path(f"/proc/{int(done.stdout)}/stat")
        return state.is_file() and state.read_text().rpartition(")")[2].split()[0] == "Z"  # nobody asked for its status

    wait_until(ended)


def test_a_system_that_cannot_limit_memory_reads_here_and_warns(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_process, "_CAN", False)
    with pytest.warns(UserWarning, match="cannot limit the memory"):
        assert len(decode(video, [0.0], limits=APART)) == 1


def test_where_the_system_does_not_refuse_memory_the_process_looks_itself() -> None:
    code = """
import sys, time
from pathlib import Path
from marey.video import reading_worker
reading_worker._STATM = Path("/no such file")
memory = reading_worker.Memory()
memory.limit(50 << 20)
time.sleep(0.2)
print("within", flush=True)
kept = b"x" * (100 << 20)
time.sleep(float(sys.argv[1]))
"""
    # Linux counts what the program that starts another one has taken: so a shell starts it.
    program = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", code, str(PATIENCE)]
    done = subprocess.run(program, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.stdout == "within\n"
    assert done.returncode == reading_process.OUT_OF_MEMORY
