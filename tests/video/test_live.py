from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from loopback import Camera, no_reader_is_left
from marey.errors import UsageError, VideoError
from marey.video import Limits, open_live
from waiting import PATIENCE, Clock, wait_until

ReadIndex = Callable[[torch.Tensor], int]
ENDLESS = Limits(timeout=10 * PATIENCE)  # a test that reaches this limit fails


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert no_reader_is_left()


def test_frames_of_a_camera_arrive_in_real_time(read_index: ReadIndex) -> None:
    opened = time.monotonic()
    with Camera(frame_rate=50) as camera, open_live(camera.url) as playback:
        assert (playback.size, playback.frame_rate, playback.duration, playback.live) == ((120, 160), 50.0, None, True)
        before = -1
        for frame in playback:
            assert read_index(playback.to_rgb(frame)) == frame.number > before
            assert frame.time == pytest.approx(frame.number / 50)
            assert frame.end == pytest.approx(frame.time + 0.02)
            assert opened <= frame.arrived <= time.monotonic()
            before = frame.number
            if frame.number > 60:
                break
    assert camera.gone.wait(PATIENCE)


@pytest.mark.long
def test_a_late_reader_gets_the_newest_frames_and_the_number_of_dropped_ones(read_index: ReadIndex) -> None:
    with Camera(frame_rate=50) as camera, open_live(camera.url, buffer=2) as playback:
        for delivered in range(6):
            lost = playback.dropped
            if delivered % 2 == 0:  # late, then immediately
                wait_until(lambda lost=lost: playback.dropped >= lost + 15)  # type: ignore[misc]
                lost = playback.dropped
            frame = next(playback)
            assert lost + delivered <= frame.number <= playback.dropped + delivered  # the camera goes on meanwhile
            assert read_index(playback.to_rgb(frame)) == frame.number <= camera.sent


def test_a_closed_connection_is_an_error_after_the_last_frame(read_index: ReadIndex) -> None:
    with Camera(hurried=True, count=70) as camera, open_live(camera.url, buffer=100) as playback:
        seen: list[int] = []
        with pytest.raises(VideoError, match=r"truncated: it ended after 1\.4 s: the connection was closed") as caught:
            seen.extend(read_index(playback.to_rgb(frame)) for frame in playback)
        assert caught.value.name == camera.url
        assert seen == list(range(70))
        assert list(playback) == []


def test_a_stalled_camera_is_an_error_after_the_timeout() -> None:
    for limit in (1.0, 4.0, 16.0, 64.0):
        last = 0.0
        with (  # noqa: PT012
            Camera(count=60, ending="stall") as camera,
            pytest.raises(VideoError, match=rf"timeout: .* {limit:g} s"),
            open_live(camera.url, limits=Limits(timeout=limit)) as playback,
        ):
            for frame in playback:
                last = frame.arrived
        if last:  # otherwise a slow machine did not open it in time
            assert time.monotonic() - last > limit - 0.1
            return
    raise AssertionError("the camera cannot be opened")


def test_a_restarted_camera_does_not_disturb_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock("marey.video.live", patch=monkeypatch).step = 0.001
    for ahead in (5_000.0, -0.8):
        times: list[float] = []
        with (
            Camera(hurried=True, count=100, leap=(60, ahead)) as camera,
            open_live(camera.url, buffer=200) as playback,
            pytest.raises(VideoError, match="truncated"),
        ):
            times.extend(frame.time for frame in playback)
        assert len(times) == 100
        steps = np.diff(times)
        assert (steps >= 0).all()
        np.testing.assert_allclose(steps[:59], 0.02, atol=1e-6)
        assert 0 < steps[59] < 0.02  # elapsed time of the clock
        np.testing.assert_allclose(steps[60:], 0.02, atol=1e-6)


def test_corrupt_frames_of_a_camera_are_left_out_and_counted(read_index: ReadIndex) -> None:
    with (
        Camera(hurried=True, count=100, damaged=[61, 75]) as camera,
        open_live(camera.url, buffer=200) as playback,
    ):
        seen: list[int] = []
        with pytest.raises(VideoError, match="truncated"):
            seen.extend(read_index(playback.to_rgb(frame)) for frame in playback)
    lost = sorted(set(range(100)) - set(seen))
    assert seen == sorted(seen)
    assert {61, 75} <= set(lost) <= {*range(61, 65), *range(75, 80)}
    assert 0 < playback.damaged <= len(lost)
    assert playback.dropped == 0


def test_closing_early_disconnects_the_camera() -> None:
    with Camera(frame_rate=50) as camera:
        playback = open_live(camera.url, limits=ENDLESS)
        next(playback)
        playback.close()
        playback.close()
        assert camera.gone.wait(PATIENCE)
        assert list(playback) == []


def test_a_garbage_collected_playback_is_closed() -> None:
    with Camera(frame_rate=50) as camera:
        for frame in open_live(camera.url, limits=ENDLESS):
            assert frame.number >= 0
            break
        del frame
        assert camera.gone.wait(PATIENCE)


@pytest.mark.long
def test_ctrl_c_ends_reading_immediately() -> None:
    code = (
        "import sys; from marey.video import Limits, open_live\n"
        f"with open_live(sys.argv[1], limits=Limits(timeout={ENDLESS.timeout})) as playback:\n"
        "    for frame in playback: print(frame.number, flush=True)\n"
    )
    with Camera(hurried=True, count=60, ending="stall") as camera:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code, camera.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert process.stdout is not None
        process.stdout.readline()
        wait_until(lambda: camera.sent == 60)  # then the reader waits for more
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=PATIENCE)
        assert output.decode().rstrip().endswith("KeyboardInterrupt")


def test_the_error_of_a_missing_camera_lists_existing_ones() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("cameras are opened on Linux only")
    with pytest.raises(VideoError, match="/dev/video987: missing: there is no such camera; there are: "):
        open_live("987")


def test_a_real_camera_gives_frames() -> None:
    devices = sorted(Path("/dev").glob("video*"))
    if not devices or not os.access(devices[0], os.R_OK):
        pytest.skip("there is no camera at /dev/video*")
    with open_live(str(devices[0])) as playback:
        frames = [next(playback) for _ in range(5)]
        assert frames[-1].time > frames[0].time
        assert playback.to_rgb(frames[0], size=playback.size).shape == (3, *playback.size)


def test_a_camera_that_breaks_off_is_opened_again_and_its_time_goes_on(
    read_index: ReadIndex, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Camera(hurried=True, count=60) as camera,
        open_live(camera.url, buffer=1000, reconnect=20 * PATIENCE, limits=ENDLESS) as playback,
    ):
        frames = []
        for frame in playback:
            frames.append((read_index(playback.to_rgb(frame)), frame))
            if len(frames) == 150:
                break
    assert [index for index, _ in frames] == [*range(60), *range(60), *range(30)]
    assert [frame.number for _, frame in frames] == list(range(150))
    gaps = {place: frame.gap for place, (_, frame) in enumerate(frames) if frame.gap}
    assert list(gaps) == [60, 120]
    assert playback.lost == pytest.approx(sum(gaps.values()))
    for place, gap in gaps.items():
        assert frames[place][1].time == pytest.approx(frames[place - 1][1].end + gap)
    assert "is opened again in 0.5 s" in caplog.text
    assert "is back after" in caplog.text


def test_a_dropped_frame_leaves_its_gap_to_the_next_one() -> None:
    with Camera(hurried=True, count=30) as camera:
        playback = open_live(camera.url, buffer=1, drop="oldest", reconnect=20 * PATIENCE, limits=ENDLESS)
        with playback:
            first = next(playback)
            wait_until(lambda: playback.lost > 0 and playback.dropped > 40)
            latest = next(playback)
    assert first.gap == 0
    assert latest.gap > 0


def test_a_camera_that_does_not_come_back_is_given_up() -> None:
    with Camera(hurried=True, count=60) as camera:
        playback = open_live(camera.url, buffer=100, reconnect=1.0, limits=ENDLESS)
        frames = [next(playback)]
        assert camera.gone.wait(PATIENCE)
    with pytest.raises(VideoError, match=r"broke off after .* s and did not come back within 1 s"):
        frames.extend(playback)
    assert len(frames) >= 60  # more where it was back before the server ended


def test_the_parts_of_a_broken_source_each_begin_at_zero() -> None:
    with (
        Camera(hurried=True, count=60) as camera,
        open_live(camera.url, buffer=1000, reconnect=20 * PATIENCE, limits=ENDLESS) as playback,
    ):
        parts = []
        for start, stretch in playback.stretches():
            parts.append((start, [frame.time for frame in stretch]))
            if len(parts) == 2:
                break
    (first, times), (second, others) = parts
    assert first == 0
    assert second > times[-1]
    assert times == pytest.approx(others)
    assert times == pytest.approx(np.arange(60) / 50)


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
def test_a_time_for_reconnecting_has_to_be_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(UsageError, match="reconnect has to be 0 or more seconds"):
        open_live("rtsp://127.0.0.1:1/camera", reconnect=seconds)
