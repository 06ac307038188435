from __future__ import annotations

import os
import random
import resource
from collections.abc import Callable
from contextlib import nullcontext, suppress
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch

from conftest import MakeVideo, draw
from marey.errors import UsageError, VideoError
from marey.video import VideoWriter, decode, play, probe

SIZE = (120, 160)


def write(path: Path, times: list[float], *, size: tuple[int, int] = SIZE, **options: Any) -> Path:
    with VideoWriter(path, size=size, frame_rate=25.0, **options) as writer:
        for index, time in enumerate(times):
            writer.write(draw(index, size), time=time)
    return path


def test_written_frames_are_read_back(tmp_path: Path, read_index: Callable[[torch.Tensor], int]) -> None:
    path = write(tmp_path / "a.mp4", [i / 25 for i in range(50)])
    info = probe(path)
    assert (info.duration, info.frame_rate, info.frame_count, info.has_audio) == (2.0, 25.0, 50, False)
    frames = decode(path, [i / 25 for i in range(50)]).data
    assert [read_index(frame) for frame in frames] == list(range(50))
    drawn = torch.stack([torch.from_numpy(draw(i, SIZE)).permute(2, 0, 1) for i in range(50)])
    assert (frames.int() - drawn.int()).abs().float().mean() < 2


def test_times_of_a_variable_frame_rate_are_written_up_to_the_last_end(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.5, 0.54, 1.0, 1.04, 1.08, 1.12, 1.9, 2.0]
    path = tmp_path / "a.mp4"
    with VideoWriter(path, size=SIZE, frame_rate=25.0) as writer:
        for index, time in enumerate(times):
            grey = np.full((*SIZE, 3), 20 * index, np.uint8)  # an encoder likes to make B-frames of a fade
            writer.write(grey, time=time, end=2.7 if time == times[-1] else None)
    with play(path) as playback:
        frames = list(playback)
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1e-5)
    assert frames[-1].end == pytest.approx(2.7, abs=1e-4)
    assert probe(path).duration == pytest.approx(2.7, abs=1e-4)


def test_equal_times_lose_no_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [0.0, 0.04, 0.04, 0.04, 0.02, 0.2])
    with play(path) as playback:
        assert [frame.time for frame in playback] == pytest.approx([0, 0.04, 0.04, 0.04, 0.04, 0.2], abs=1e-4)


def test_written_files_can_be_played_in_browsers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [i / 25 for i in range(10)])
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 6)


@pytest.mark.parametrize("size", [(121, 163), (121, 160), (120, 163), (1, 1), (15, 400)])
def test_the_last_row_and_column_of_an_odd_size_are_written_twice(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write(tmp_path / "a.mp4", [0.0, 0.04, 0.08], size=size)
    info = probe(path)
    assert (info.height, info.width) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    image = decode(path, [0.0]).data[0, :, : size[0], : size[1]].permute(1, 2, 0).numpy()
    assert np.abs(image.astype(int) - draw(0, size)).mean() < 6


def test_the_bytes_do_not_depend_on_the_number_of_cpus(tmp_path: Path) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("CPUs are chosen on Linux only")
    allowed = os.sched_getaffinity(0)
    first = write(tmp_path / "a.mp4", [i / 25 for i in range(40)]).read_bytes()
    os.sched_setaffinity(0, {min(allowed)})
    try:
        second = write(tmp_path / "b.mp4", [i / 25 for i in range(40)]).read_bytes()
    finally:
        os.sched_setaffinity(0, allowed)
    assert first == second


def beep(seconds: float, at: float, rate: int) -> npt.NDArray[np.int16]:
    """Return silence with a tone of a tenth of a second."""
    wave_form = np.zeros(round(seconds * rate), np.int16)
    first, last = round(at * rate), round((at + 0.1) * rate)
    wave_form[first:last] = 20_000 * np.sin(np.arange(last - first) * 2 * np.pi * 1_000 / rate)
    return wave_form


def make_source(
    path: Path, codec: str, *, rate: int = 48_000, layout: str = "stereo", ahead: float = 0.0, start: float = 0.0
) -> Path:
    """Write two seconds of video with a beep 1.2 s after the first frame; the sound starts `ahead` of that frame."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264" if path.suffix != ".avi" else "mpeg4", rate=25)
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        sound: Any = container.add_stream(codec, rate=rate)
        sound.layout = layout
        channels = sound.layout.nb_channels
        shift = start + max(0.0, ahead)
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(draw(index, SIZE), format="rgb24")
            frame.pts, frame.time_base = index + round(shift * 25), Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = beep(2.0 + ahead, 1.2 + ahead, rate)
        for first in range(0, len(samples), 1024):
            part = np.repeat(samples[first : first + 1024], channels).reshape(1, -1)
            heard = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
            heard.sample_rate, heard.time_base = rate, Fraction(1, rate)
            heard.pts = first + round((shift - ahead) * rate)
            container.mux(sound.encode(heard))
        container.mux(sound.encode(None))
    return path


def onset(path: Path) -> float:
    """Return seconds from the first frame to the beep."""
    with av.open(str(path)) as container:
        image = next(container.decode(video=0)).time or 0.0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.abs(frame.to_ndarray().astype(np.float64)).max(axis=0)
            loud = loud / (32_768 if frame.format.name.startswith("s16") else 1)
            if (loud > 0.2).any():
                step = 1 if frame.format.is_planar else frame.layout.nb_channels
                return float((frame.time or 0.0) + np.argmax(loud > 0.2) // step / frame.sample_rate - image)
    raise AssertionError(f"{path.name} never beeps")


@pytest.mark.parametrize(
    ("name", "codec", "kept", "options"),
    [
        ("a.mp4", "aac", "aac", {}),
        ("a.mp4", "aac", "aac", {"layout": "mono", "rate": 22_050}),
        ("a.mkv", "aac", "aac", {"ahead": 0.5}),
        ("a.mkv", "aac", "aac", {"ahead": -0.6}),
        ("a.ts", "aac", "aac", {}),
        ("a.ts", "aac", "aac", {"ahead": 0.3}),
        ("a.mkv", "libopus", "opus", {}),
        ("a.mp4", "libmp3lame", "mp3float", {}),
        ("a.mkv", "ac3", "ac3", {}),
        ("a.mkv", "flac", "flac", {}),
        ("a.avi", "mp2", "aac", {}),
        ("a.ts", "mp2", "aac", {"ahead": 0.3}),
        ("a.mov", "pcm_s16le", "aac", {}),
        ("a.mkv", "pcm_s16le", "aac", {"ahead": 0.5, "rate": 11_025, "layout": "mono"}),
        ("a.mkv", "pcm_s16le", "aac", {"ahead": -0.6, "rate": 37_800}),
        ("a.mkv", "wavpack", "aac", {}),
        ("a.mkv", "pcm_s16le", "aac", {"layout": "5.1"}),
        ("a.mkv", "pcm_s16le", "aac", {"layout": "quad"}),
    ],
)
def test_sound_stays_in_sync_with_the_frames(
    tmp_path: Path, name: str, codec: str, kept: str, options: dict[str, Any]
) -> None:
    source = make_source(tmp_path / name, codec, **options)
    assert onset(source) == pytest.approx(1.2, abs=0.03)
    out = tmp_path / "out.mp4"
    with play(source) as playback, VideoWriter(out, size=SIZE, frame_rate=25.0, sound_of=source) as writer:
        for frame in playback:
            writer.write(playback.to_rgb(frame).permute(1, 2, 0).numpy(), time=frame.time, end=frame.end)
    assert onset(out) == pytest.approx(onset(source), abs=0.005)
    with av.open(str(out)) as container:
        assert [stream.codec_context.name for stream in container.streams.audio] == [kept]
        first = next(iter(container.demux(audio=0)))
        assert -0.15 < float((first.pts or 0) * first.time_base) < 0.65
    with av.open(str(out)) as container:  # anew: after seeking to 0, FFmpeg 8.1 leaves out what lies before it
        heard = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
        assert heard == pytest.approx(2.0 - max(0.0, -options.get("ahead", 0.0)), abs=0.1)
    assert probe(out).duration == pytest.approx(probe(source).duration, abs=0.04)
    assert list(tmp_path.glob(".*")) == []


def test_supported_sound_is_copied_byte_for_byte(tmp_path: Path) -> None:
    source = make_source(tmp_path / "a.mkv", "libopus")
    out = write(tmp_path / "out.mp4", [i / 25 for i in range(50)], sound_of=source)

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    assert packets(out) == packets(source)


def test_a_video_without_sound_is_silent_and_a_file_without_video_is_refused(
    make_video: MakeVideo, make_tone: Callable[[Path], Path], tmp_path: Path
) -> None:
    silent = write(tmp_path / "a.mp4", [0.0, 0.04], sound_of=make_video(tmp_path / "silent.mp4", seconds=0.2))
    assert not probe(silent).has_audio
    with pytest.raises(VideoError, match="no_video_stream"):
        write(tmp_path / "b.mp4", [0.0], sound_of=make_tone(tmp_path / "tone.wav"))
    with pytest.raises(VideoError, match="missing"):
        write(tmp_path / "b.mp4", [0.0], sound_of=tmp_path / "none.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "silent.mp4", "tone.wav"]


def test_sound_and_frames_are_interleaved_in_the_file(make_video: MakeVideo, tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", seconds=30.0, size=(32, 32), frame_rate=5.0, audio=True)
    out = write(tmp_path / "out.mp4", [i / 5 for i in range(150)], size=(32, 32), sound_of=source)
    with av.open(str(out)) as container:
        packets = [(packet.pos or 0, packet.stream.type) for packet in container.demux() if packet.size]
    kinds = [kind for _, kind in sorted(packets)]
    assert max(len(list(run)) for _, run in groupby(kinds)) < 120  # 3 s of sound


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "aac"),
        *(
            pytest.param(*kind, marks=pytest.mark.long)
            for kind in (("a.ts", "aac"), ("a.ts", "mp2"), ("a.mkv", "flac"), ("a.mkv", "pcm_s16le"))
        ),
    ],
)
def test_damaged_sound_gives_a_video_or_a_reason_code(tmp_path: Path, name: str, codec: str) -> None:
    data = make_source(tmp_path / name, codec).read_bytes()
    rng = random.Random(2)  # noqa: S311
    for _ in range(15):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 5, 50, 300])):
            damaged[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / name).write_bytes(damaged)
        with suppress(VideoError):
            out = write(tmp_path / "out.mp4", [i / 5 for i in range(10)], size=(32, 32), sound_of=tmp_path / name)
            assert probe(out).duration == pytest.approx(1.84)
            out.unlink()
        assert [path.name for path in tmp_path.iterdir()] == [name]


def test_sound_that_mp4_does_not_support_is_corrupt(tmp_path: Path) -> None:
    source = make_source(tmp_path / "a.mkv", "flac")
    data = bytearray(source.read_bytes())
    data[data.index(b"fLaC") + 4] = 255
    source.write_bytes(data)
    with pytest.raises(VideoError, match="corrupt: its sound cannot be put into an mp4 file"):
        write(tmp_path / "out.mp4", [i / 5 for i in range(10)], sound_of=source)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize(("start", "beeps"), [(10.0, {1, 11}), (0.0, {1})])
def test_a_broadcast_may_change_to_stereo_and_restart_its_clock(tmp_path: Path, start: float, beeps: set[int]) -> None:
    source = make_source(tmp_path / "mono.ts", "mp2", layout="mono", rate=44_100)
    later = make_source(tmp_path / "stereo.ts", "mp2", start=start)
    source.write_bytes(source.read_bytes() + later.read_bytes())
    out = write(tmp_path / "out.mp4", [i / 5 for i in range(60)], sound_of=source)
    with av.open(str(out)) as container:
        heard = [frame for frame in container.decode(audio=0) if np.abs(frame.to_ndarray()).max() > 0.2]
    assert {round(frame.time or 0.0) for frame in heard} == beeps


@pytest.mark.parametrize("error", [RuntimeError("the source broke"), KeyboardInterrupt()])
def test_a_failure_leaves_only_the_previous_file(make_video: MakeVideo, tmp_path: Path, error: BaseException) -> None:
    source = make_video(tmp_path / "source.mp4", audio=True)
    path = tmp_path / "a.mp4"
    for before in (None, b"before"):
        if before is not None:
            path.write_bytes(before)
        with (  # noqa: PT012
            pytest.raises(type(error)),
            VideoWriter(path, size=SIZE, frame_rate=25.0, sound_of=source) as writer,
        ):
            for index in range(30):
                writer.write(draw(index, SIZE), time=index / 25)
            raise error
        assert path.exists() == (before is not None)
        assert before is None or path.read_bytes() == before
        assert sorted(found.name for found in tmp_path.iterdir() if found != path) == ["source.mp4"]


def test_the_error_of_a_full_disk_names_the_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "a.mp4"
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with (  # noqa: PT012
            pytest.raises(OSError, match=r"could not be written: '.*/a\.mp4'"),
            VideoWriter(path, size=SIZE, frame_rate=25.0, crf=0) as writer,
        ):
            for index in range(200):
                writer.write(np.roll(noise, index, axis=0), time=index / 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_errors_about_arguments_name_the_value(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    for size in [(0, 8), (8,)]:
        with pytest.raises(UsageError, match="size has to be"):
            VideoWriter(path, size=size, frame_rate=25.0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"not 0\.0"):
        VideoWriter(path, size=SIZE, frame_rate=0.0)
    with pytest.raises(UsageError, match=r"a\.avi"):
        VideoWriter(tmp_path / "a.avi", size=SIZE, frame_rate=25.0)
    with pytest.raises(UsageError, match="no frames"), VideoWriter(path, size=SIZE, frame_rate=25.0):
        pass
    wrong: list[tuple[Any, float, str]] = [
        (np.zeros((*SIZE, 3), np.float32), 0.0, "float32"),
        (np.zeros((60, 80, 3), np.uint8), 0.0, r"\(60, 80, 3\)"),
        (np.zeros((*SIZE, 3), np.uint8), float("nan"), "not nan"),
        (np.zeros((*SIZE, 3), np.uint8), -0.1, "not -0.1"),
        (np.zeros((*SIZE, 3), np.uint8), 1e9, "too long"),
    ]
    for image, time, words in wrong:
        with (
            pytest.raises(UsageError, match=words),
            VideoWriter(path, size=SIZE, frame_rate=25.0) as writer,
        ):
            writer.write(image, time=time)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_every_odd_file_keeps_its_duration_its_size_and_its_sound(shared_data: Path, tmp_path: Path) -> None:
    refused = []
    for source in sorted((shared_data / "samples" / "odd").iterdir()):
        out = tmp_path / f"{source.stem}.mp4"
        times: list[float] = []
        broken = pytest.raises(VideoError) if source.name.startswith("corrupted") else nullcontext()
        with broken, play(source) as playback:
            blank = np.zeros((*playback.size, 3), np.uint8)  # only times are tested
            with VideoWriter(out, size=playback.size, frame_rate=playback.frame_rate, sound_of=source) as writer:
                for frame in playback:
                    writer.write(blank, time=frame.time, end=frame.end)
                    times.append(frame.time)
        if not out.exists():
            refused.append(source.name)
            continue
        before, after = probe(source), probe(out)
        assert after.duration == pytest.approx(before.duration, abs=1 / before.frame_rate + 1e-6), source.name
        assert after.frame_count == len(times)
        assert after.has_audio == before.has_audio
        height, width = playback.size
        assert (after.height, after.width) == (height + height % 2, width + width % 2)
        assert after.rotation == 0
        with play(out) as written:
            np.testing.assert_allclose([frame.time for frame in written], times, atol=1e-5)
    assert refused == ["corrupted_h264.mp4"]


def test_rotated_video_is_written_upright(shared_data: Path, tmp_path: Path) -> None:
    for rotation in (0, 90, 180, 270):
        source = shared_data / "samples" / "odd" / f"video_{rotation}.mov"
        with (
            play(source) as playback,
            VideoWriter(tmp_path / "a.mp4", size=playback.size, frame_rate=30.0, crf=5) as writer,
        ):
            for frame in playback:
                writer.write(playback.to_rgb(frame).permute(1, 2, 0).numpy(), time=frame.time)
        difference = decode(tmp_path / "a.mp4", [0.0]).data.int() - decode(source, [0.0]).data.int()
        assert difference.abs().float().mean() < 4


def test_a_frame_rate_of_almost_nothing_is_written(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", size=(32, 32), frame_rate=1e-5) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8), time=0.0, end=1.0)
    assert probe(tmp_path / "a.mp4").duration == pytest.approx(1.0, abs=0.01)
