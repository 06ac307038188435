from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from conftest import MakeVideo, draw
from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video import Frames, Limits, Sampling, decode, decode_each, probe
from marey.video.reader import Reader
from marey.video.source import open_video

Codec = Literal["libx264", "mpeg4"]
ReadIndex = Callable[[torch.Tensor], int]


def indices(frames: Frames, read_index: ReadIndex) -> list[int]:
    return [read_index(frame) for frame in frames.data]


def test_frames_are_uint8_rgb_of_the_requested_size(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", size=(120, 160))
    frames = decode(path, [0.0, 0.5, 1.0], size=(48, 64))
    assert frames.data.shape == (3, 3, 48, 64)
    assert frames.data.dtype == torch.uint8
    assert frames.data.is_contiguous()
    assert decode(path, [0.0]).data.shape == (1, 3, 120, 160)
    assert repr(frames) == "Frames(data=uint8 (3, 3, 48, 64), timestamps=0.000..1.000 s)"


def test_colours_are_those_that_were_drawn(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.2)
    for interpolation in ("nearest", "bilinear", "bicubic", "area"):
        image = decode(path, [0.0], interpolation=interpolation).data[0].permute(1, 2, 0).numpy()
        square, ground = image[65:85, 5:25].mean((0, 1)), image[100:118].mean((0, 1))
        np.testing.assert_allclose(square, (230, 180, 40), atol=6)
        np.testing.assert_allclose(ground, (60, 60, 60), atol=3)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        (f"a.{suffix}", codec)
        for codec in ("libx264", "mpeg4")
        for suffix in ("mp4", "mkv", "mov", "avi", "ts", "flv")
        if (suffix, codec) != ("flv", "mpeg4")
    ],
)
@pytest.mark.parametrize("b_frames", [0, 2])
def test_decode_returns_the_frame_of_each_timestamp_in_every_container(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path, name: str, codec: Codec, b_frames: int
) -> None:
    path = make_video(tmp_path / name, codec=codec, b_frames=b_frames)
    timestamps = np.arange(50) / 25
    frames = decode(path, timestamps + 0.01)
    assert indices(frames, read_index) == list(range(50))
    np.testing.assert_allclose(frames.timestamps, timestamps, atol=0.002)  # Matroska and flv count milliseconds


@pytest.mark.parametrize("width", [120, 134, 160, 516])
def test_a_frame_that_keeps_its_size_is_complete(make_video: MakeVideo, tmp_path: Path, width: int) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.2, size=(96, width))
    drawn = torch.from_numpy(draw(3, (96, width))).permute(2, 0, 1)
    difference = (decode(path, [0.12]).data[0].int() - drawn.int()).abs().float()
    assert difference.mean() < 4
    assert difference[:, 26:, -16:].max() < 12


@pytest.mark.parametrize("timestamps", [[1.3, 0.0, 0.01, 0.9, 0.02], []])
def test_frames_one_by_one_are_those_of_decode_and_one_tensor_while_one_is_shown(
    make_video: MakeVideo, tmp_path: Path, timestamps: list[float]
) -> None:
    path = make_video(tmp_path / "a.mp4")
    together = decode(path, timestamps, size=(30, 40)).data
    each = list(decode_each(path, timestamps, size=(30, 40)))
    assert [place for place, _ in each] == np.argsort(timestamps).tolist()
    assert all(torch.equal(image, together[place]) for place, image in each)
    assert len({id(image) for _, image in each}) == (3 if timestamps else 0)
    with pytest.raises(UsageError, match="have to be finite"):
        next(decode_each(path, [float("nan")]))


def test_timestamps_may_be_unsorted_and_repeated(make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4")
    frames = decode(path, [1.0, 0.0, 1.0, 0.4, 1.96, 0.4])
    assert indices(frames, read_index) == [25, 0, 25, 10, 49, 10]
    np.testing.assert_allclose(frames.timestamps, [1.0, 0.0, 1.0, 0.4, 1.96, 0.4])


def test_no_timestamps_give_no_frames(make_video: MakeVideo, tmp_path: Path) -> None:
    assert decode(make_video(tmp_path / "a.mp4", seconds=0.2), []).data.shape == (0, 3, 120, 160)


def test_a_variable_frame_rate_gives_the_frames_that_are_shown(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mp4", pts=[0.0, 0.04, 0.08, 1.0, 1.5, 3.0])
    frames = decode(path, [0.0, 0.079, 0.08, 0.99, 1.0, 1.49, 2.99, 3.0])
    assert indices(frames, read_index) == [0, 1, 2, 2, 3, 3, 4, 5]
    np.testing.assert_allclose(frames.timestamps, [0.0, 0.04, 0.08, 0.08, 1.0, 1.0, 1.5, 3.0], atol=1e-4)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4"])
def test_time_is_counted_from_the_first_frame(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path, name: str
) -> None:
    path = make_video(tmp_path / name, pts=[10 + i / 25 for i in range(50)], b_frames=2)
    frames = decode(path, [-1.0, 0.0, 0.5, 1.5])
    assert indices(frames, read_index) == [0, 0, 12, 37]
    assert frames.timestamps[0] == 0
    assert probe(path).duration == pytest.approx(2.0, abs=0.1)


def test_a_frames_own_timestamp_gives_that_frame(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", frame_rate=29.97, pts=[3 + i / 29.97 for i in range(40)])
    times = decode(path, np.arange(40) / 29.97 + 0.01).timestamps
    assert len(set(times.tolist())) == 40
    np.testing.assert_array_equal(decode(path, times).timestamps, times)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_phone_video_comes_out_upright(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path, rotation: int
) -> None:
    path = make_video(tmp_path / "a.mov", size=(160, 120), rotation=rotation)
    info = probe(path)
    assert (info.height, info.width, info.rotation) == (160, 120, rotation)
    for size in (None, (80, 100)):
        frames = decode(path, [0.2, 1.0], size=size)
        assert frames.data.shape == (2, 3, *(size or (160, 120)))
        assert indices(frames, read_index) == [5, 25]
    upright = torch.from_numpy(draw(25, (160, 120))).permute(2, 0, 1)
    difference = (decode(path, [1.0]).data[0].int() - upright.int()).abs().float()
    assert difference.mean() < 4


def test_crop_takes_the_middle_and_keeps_the_shape(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", size=(120, 240), seconds=0.2)
    whole = decode(path, [0.0]).data[0].int()
    cut = decode(path, [0.0], size=(120, 120), fit="crop").data[0].int()
    assert (cut - whole[:, :, 60:180]).abs().max() <= 2
    assert decode(path, [0.0], size=(33, 57), fit="crop").data.shape == (1, 3, 33, 57)
    assert decode(path, [0.0], size=(200, 20), fit="crop").data.shape == (1, 3, 200, 20)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.avi", "libx264")]
)
def test_seeking_gives_the_frames_of_sequential_decoding(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path, name: str, codec: Codec
) -> None:
    path = make_video(tmp_path / name, seconds=30.0, size=(64, 96), codec=codec, gop=25, b_frames=2)
    through = decode(path, np.arange(750) / 25 + 0.01)
    assert indices(through, read_index) == list(range(750))
    chosen = np.sort(np.random.default_rng(0).choice(750, 40, replace=False))
    for index in chosen:
        alone = decode(path, [index / 25 + 0.01])
        assert torch.equal(alone.data[0], through.data[index])
        assert alone.timestamps[0] == through.timestamps[index]
    assert torch.equal(decode(path, chosen[::6] / 25 + 0.01).data, through.data[chosen[::6]])


def test_a_distant_timestamp_is_reached_by_seeking_to_a_key_frame(make_video: MakeVideo, tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.avi"):
        path = make_video(tmp_path / name, seconds=30.0, size=(32, 48), gop=25)
        with open_video(path, Limits()) as source:
            reader = Reader(source)
            assert [round(frame.time, 2) for frame in reader.frames_at([0.4, 28.4, 28.8])] == [
                0.4,
                28.4,
                28.8,
            ]
            assert reader.packets < 100


def test_the_last_frame_is_returned_shortly_after_the_end(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mp4")
    assert indices(decode(path, [1.97, 2.0, 2.3]), read_index) == [49, 49, 49]


def test_a_timestamp_that_the_video_never_reaches_is_refused(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match=r"a frame at 20.000 s is requested of 2.000 s") as caught:
        decode(path, [0.0, 20.0])
    assert caught.value.reason == "too_short"
    with pytest.raises(VideoError, match="too_short"):
        decode(path, [1e30])
    assert len(decode(path, [-1e30])) == 1


@pytest.mark.long
def test_memory_does_not_grow_with_the_length_of_the_video(make_video: MakeVideo, tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="memory is measured on Linux only, and macOS")
    short = make_video(tmp_path / "short.mp4", seconds=1.0, size=(480, 640), codec="mpeg4", gop=250)
    long = make_video(tmp_path / "long.mp4", seconds=8.0, size=(480, 640), codec="mpeg4", gop=1000)
    program = (
        "import resource, sys\n"
        "from marey.video import Sampling, decode, decode_each, probe\n"
        "for path in sys.argv[1:]:\n"
        "    decode(path, Sampling(count=16).timestamps(0, probe(path).duration))\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, str(short), str(long)], capture_output=True, text=True, check=True
    )
    after_short, after_long = (int(line) * (1 if sys.platform == "darwin" else 1024) for line in done.stdout.split())
    assert after_long - after_short < 30 * 2**20  # all its 200 frames would be 184 MB


def test_invalid_arguments_of_decode_are_refused(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.2)
    with pytest.raises(UsageError, match="nan"):
        decode(path, [0.0, float("nan")])
    with pytest.raises(UsageError, match=r"\(1, 2\)"):
        decode(path, [[0.0, 1.0]])  # type: ignore[list-item]
    with pytest.raises(UsageError, match=r"\(0, 4\)"):
        decode(path, [0.0], size=(0, 4))
    with pytest.raises(UnknownNameError, match="'crop'"):
        decode(path, [0.0], fit="corp")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="'bicubic'"):
        decode(path, [0.0], interpolation="cubic")  # type: ignore[arg-type]


def test_paths_may_hold_spaces_and_any_alphabet(make_video: MakeVideo, tmp_path: Path) -> None:
    folder = tmp_path / "Étienne Jules, 行走: 100 %d"
    folder.mkdir()
    path = make_video(folder / "marche à pied.mp4", seconds=0.4)
    assert len(decode(str(path), Sampling(count=4).timestamps(0, probe(path).duration))) == 4
