from __future__ import annotations

import os
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from conftest import MakeVideo, draw
from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video import Limits, decode, play, probe
from waiting import Clock

ReadIndex = Callable[[torch.Tensor], int]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"b_frames": 2}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.mkv", {"frame_rate": 30_000 / 1001, "audio": True}),
        ("a.ts", {"frame_rate": 30.0}),
        ("a.mov", {"rotation": 90}),
        ("a.mp4", {"pts": [0.0, 0.1, 0.13, 0.7, 1.4, 1.44]}),
        ("a.mkv", {"pts": [3.0, 3.1, 3.13, 3.7, 4.4, 4.44]}),
    ],
)
def test_every_frame_is_played_once_and_equals_the_decoded_one(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    path = make_video(tmp_path / name, **options)
    with play(path) as playback:
        images = [(frame, playback.to_rgb(frame)) for frame in playback]
        assert not playback.live
        assert playback.dropped == playback.damaged == 0
        assert playback.size == (120, 160)
        assert playback.duration == pytest.approx(probe(path).duration)
        assert playback.frame_rate == pytest.approx(probe(path).frame_rate)
    frames = [frame for frame, _ in images]
    assert [read_index(image) for _, image in images] == list(range(len(images)))
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert frames[0].time == 0
    assert len(frames) == (len(options["pts"]) if "pts" in options else round(2 * options.get("frame_rate", 25)))
    assert all(before.time < after.time for before, after in pairwise(frames))
    assert frames[-1].time < frames[-1].end <= probe(path).duration + 0.05
    decoded = decode(path, [frame.time for frame in frames])
    np.testing.assert_allclose(decoded.timestamps, [frame.time for frame in frames], atol=1e-9)
    assert torch.equal(decoded.data, torch.stack([image for _, image in images]))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(
    "options",
    [
        {"size": (56, 56)},
        {"size": (56, 72), "fit": "crop", "anchor": "first"},
        {"size": (200, 90), "fit": "crop", "interpolation": "nearest"},
        {"size": (41, 77), "interpolation": "area"},
    ],
)
def test_played_frames_of_any_size_equal_those_of_decode(
    make_video: MakeVideo, tmp_path: Path, rotation: int, options: dict[str, Any]
) -> None:
    path = make_video(tmp_path / "a.mov", seconds=0.2, rotation=rotation)
    decoded = decode(path, [0.0, 0.12], **options).data
    with play(path) as playback:
        frames = list(playback)
        assert torch.equal(playback.to_rgb(frames[0], **options), decoded[0])
        assert torch.equal(playback.to_rgb(frames[3], **options), decoded[1])


def test_invalid_sizes_and_fits_of_played_frames_are_refused(make_video: MakeVideo, tmp_path: Path) -> None:
    with play(make_video(tmp_path / "a.mp4", seconds=0.2)) as playback:
        frame = next(playback)
        with pytest.raises(UsageError, match=r"\(0, 8\)"):
            playback.to_rgb(frame, size=(0, 8))
        with pytest.raises(UnknownNameError, match="squeeze"):
            playback.to_rgb(frame, fit="squeeze")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("aspect", "turned", "shown"),
    [
        (Fraction(1), False, (120, 160)),
        (Fraction(4, 3), False, (120, 213)),
        (Fraction(8, 9), False, (135, 160)),
        (Fraction(2), True, (320, 120)),
        (Fraction(40), False, (120, 160)),
    ],
)
def test_the_size_of_a_playback_is_the_display_size(
    tmp_path: Path, aspect: Fraction, turned: bool, shown: tuple[int, int]
) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 120, 160, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        if turned:
            stream.set_display_rotation(90)
        for index in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(index, (120, 160)), format="rgb24")))
        container.mux(stream.encode(None))
    with play(path) as playback:
        assert playback.size == shown
        frame = next(playback)
        assert playback.to_rgb(frame, size=playback.size).shape == (3, *shown)
        assert playback.to_rgb(frame).shape == ((3, 160, 120) if turned else (3, 120, 160))


def test_the_timeout_applies_to_each_frame_and_not_to_the_file(
    make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=1.0)
    clock = Clock("marey.video.limits", "marey.video.playback", patch=monkeypatch)
    with play(path, limits=Limits(timeout=3.0)) as playback:
        numbers = []
        for frame in playback:
            numbers.append(frame.number)
            clock.now += 4.0  # processing of the caller does not count
        assert numbers == list(range(25))
    with play(path, limits=Limits(timeout=3.0)) as playback:
        next(playback)
        clock.step = 2.0
        with pytest.raises(VideoError, match="timeout"):
            list(playback)
    with pytest.raises(VideoError, match="timeout"):
        play(path, limits=Limits(timeout=1.0))


def test_a_damaged_file_is_an_error_after_its_intact_frames(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4.0, gop=25)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat")
    middle = start + (data.index(b"moov") - start) // 2
    data[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    path.write_bytes(data)
    seen: list[int] = []
    with play(path) as playback, pytest.raises(VideoError, match="corrupt"):
        seen.extend(read_index(playback.to_rgb(frame)) for frame in playback)
    assert 25 < len(seen) < 75
    assert seen == list(range(len(seen)))


@pytest.mark.parametrize("duration_is_stated", [True, False])
def test_a_truncated_file_is_an_error_after_its_last_frame(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path, duration_is_stated: bool
) -> None:
    path = make_video(tmp_path / "a.mkv", seconds=4.0, audio=not duration_is_stated)
    data = path.read_bytes()
    if not duration_is_stated:
        data = data.replace(b"DURATION", b"XURATION")
    path.write_bytes(data[: int(0.6 * len(data))])
    seen: list[int] = []
    with play(path) as playback:
        assert (playback.duration is None) == (not duration_is_stated)
        with pytest.raises(VideoError, match="truncated"):
            seen.extend(read_index(playback.to_rgb(frame)) for frame in playback)
    assert len(seen) > 30
    assert seen == list(range(len(seen)))


def test_a_file_that_cannot_be_used_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "words.mp4").write_bytes(b"no video at all" * 100)
    for name, reason in [("none.mp4", "missing"), ("words.mp4", "not_video"), (".", "not_video")]:
        with pytest.raises(VideoError, match=reason):
            play(tmp_path / name)


def test_errors_of_the_caller_are_not_those_of_the_file(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.4)
    with pytest.raises(OSError, match="the disk is full"), play(path) as playback:  # noqa: PT012
        for _ in playback:
            raise OSError(28, "the disk is full")


def test_closing_early_closes_the_file(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4")
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("open files are counted on Linux only")

    def is_open() -> bool:
        return str(path) in [str(link.readlink()) for link in descriptors.iterdir() if link.is_symlink()]

    with play(path) as playback:
        next(playback)
        assert is_open()
    assert not is_open()
    assert list(playback) == []
    playback.close()
    play(path).close()
    assert not is_open()


def test_memory_does_not_grow_with_the_length_of_the_video(make_video: MakeVideo, tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("memory is read from /proc on Linux only")
    path = make_video(tmp_path / "a.mkv", seconds=24.0, size=(240, 320), codec="mpeg4", gop=250)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with play(path) as playback:
        for frame in playback:
            playback.to_rgb(frame, size=(56, 56))
            if frame.number == 100:
                before = resident()
        assert frame.number == 599
        assert resident() - before < 20 * 2**20  # the frames, held, would be 55 MiB
