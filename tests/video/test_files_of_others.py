"""Files with wrong clocks, of several streams, of other formats, and files that are none."""

from __future__ import annotations

import os
from pathlib import Path

import av
import pytest
from av.video.stream import VideoStream

from conftest import MakeVideo, draw
from marey.data import content_hash, read_folder
from marey.data.scan import scan
from marey.errors import VideoError
from marey.video import decode, play, probe
from marey.video.container_checks import damage_error
from marey.video.keyframes import Keyframes
from marey.video.limits import Limits
from marey.video.source import open_video


def reason_of(path: Path) -> tuple[str, str]:
    with pytest.raises(VideoError) as caught:
        probe(path)
    return caught.value.reason, caught.value.detail


def change_timescale(path: Path, ticks: int) -> Path:
    """State other ticks per second in the media header, and those of the whole in step."""
    data = bytearray(path.read_bytes())
    for kind in (b"mdhd", b"mvhd"):
        at = data.index(kind) + 16  # version and flags, creation, modification
        data[at : at + 4] = ticks.to_bytes(4, "big")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("ticks", [10**9, 2**31 - 1])
def test_a_video_of_microseconds_is_corrupt(make_video: MakeVideo, tmp_path: Path, ticks: int) -> None:
    path = change_timescale(make_video(tmp_path / "a.mp4", seconds=0.4), ticks)
    reason, detail = reason_of(path)
    assert reason == "corrupt"
    assert "e-0" in detail


def test_a_video_of_centuries_is_corrupt(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", pts=[0.0, 1.0, 1268 * 365.25 * 86_400])
    reason, detail = reason_of(path)
    assert (reason, "over a year" in detail, "e+10" in detail) == ("corrupt", True, True)
    with pytest.raises(VideoError, match="over a year"), play(path) as playback:
        list(playback)


def test_a_duration_of_400_digits_is_corrupt(make_video: MakeVideo, tmp_path: Path) -> None:
    path = tmp_path / "tagged.mkv"
    source = make_video(tmp_path / "a.mkv", seconds=0.4)
    with av.open(str(source)) as before, av.open(str(path), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        stream.metadata["DURATION_OF_IT"] = "x" * 410
        for packet in before.demux(video=0):
            if packet.size:
                packet.stream = stream
                after.mux(packet)
    data = path.read_bytes()
    value = (b"9" * 400 + b":00:00.000").ljust(410, b"0")
    assert data.count(b"DURATION_OF_IT") == 1
    at = data.index(b"DURATION_OF_IT")
    renamed = data[:at] + b"DURATION\0\0\0\0\0\0" + data[at + 14 :].replace(b"x" * 410, value, 1)
    path.write_bytes(renamed.replace(b"DURATION\x44", b"DURATIOM\x44"))
    assert reason_of(path) == ("corrupt", "its clock is wrong: by it, the video lasts inf s, over a year")
    assert [row.reason for row in scan([path, source])] == ["corrupt", None]


def test_of_two_video_streams_the_best_is_read_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for size in ((24, 32), (120, 160)):
            stream = container.add_stream("mpeg4", rate=25)
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
            streams.append((stream, size))
        for index in range(20):
            for stream, size in streams:
                frame = av.VideoFrame.from_ndarray(draw(index, size), format="rgb24")
                frame.pts = index
                container.mux(stream.encode(frame))
        for stream, _ in streams:
            container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        best = container.streams.best("video")
        assert isinstance(best, VideoStream)
        index, size = best.index, (best.height, best.width)
    info = probe(path)
    assert (info.height, info.width) == size
    assert f"it has 2 video streams; stream {index} is read" in info.faults


@pytest.mark.parametrize(
    ("name", "form", "codec"),
    [
        ("a.gif", "gif", "gif"),
        ("a.h264", "h264", "libx264"),
        ("a.hevc", "hevc", "libx265"),
        ("a.mjpeg", "mjpeg", "mjpeg"),
        ("a.dv", "dv", "dvvideo"),
    ],
)
def test_class_folders_hold_the_formats_that_predict_reads(tmp_path: Path, name: str, form: str, codec: str) -> None:
    size = (576, 720) if form == "dv" else (120, 160)
    kinds = {"gif": "rgb8", "mjpeg": "yuvj420p"}
    for action in ("sit", "walk"):
        (tmp_path / action).mkdir()
        with av.open(str(tmp_path / action / name), "w", format=form) as container:
            stream = container.add_stream(codec, rate=25)
            assert isinstance(stream, VideoStream)
            stream.height, stream.width, stream.pix_fmt = *size, kinds.get(form, "yuv420p")
            for index in range(10):
                frame = av.VideoFrame.from_ndarray(draw(index, size), format="rgb24")
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    clips = read_folder(tmp_path).clips
    assert sorted(str(clip.label) for clip in clips) == ["sit", "walk"]
    for clip in clips:
        assert decode(clip.path, [0.0]).data.shape == (1, 3, *size)
        assert probe(clip.path).duration == pytest.approx(0.4, abs=0.05)


def test_an_image_is_no_raw_video(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 120, 160, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(0, (120, 160)), format="rgb24")))
        container.mux(stream.encode(None))
    assert reason_of(path)[0] == "not_video"


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1024\n")
    reason, detail = reason_of(path)
    assert (reason, "Git LFS" in detail, "git lfs pull" in detail) == ("not_video", True, True)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").symlink_to("/dev/zero")
    for name in ("a.mp4", "b.mp4"):
        with pytest.raises(VideoError, match="a device or a pipe"):
            content_hash(tmp_path / name)
    assert [row.reason for row in scan([tmp_path / "a.mp4", tmp_path / "b.mp4"])] == ["not_video"] * 2


def test_a_link_to_itself_stops_no_folder(make_video: MakeVideo, tmp_path: Path) -> None:
    for action in ("sit", "walk"):
        (tmp_path / action).mkdir()
        make_video(tmp_path / action / "a.mp4", seconds=0.2)
    (tmp_path / "walk" / "loop").symlink_to("loop")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "sit" / "loop.mp4").symlink_to("loop.mp4")
    manifest = read_folder(tmp_path, missing="keep")
    assert len(manifest.clips) == 3
    assert sorted(str(row.reason) for row in scan(manifest)) == ["None", "None", "missing"]


def test_a_file_that_vanishes_is_missing(tmp_path: Path) -> None:
    assert damage_error(tmp_path / "gone.mp4", "it cannot be read any further").reason == "missing"


def test_key_frames_after_the_end_of_a_file_are_damage(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4.0, gop=12)
    with open_video(path, Limits(), headers_only=True) as source:
        keys = Keyframes(source)
        with pytest.raises(VideoError, match="corrupt"):
            keys._at(10**9)


def encode_as(path: Path, options: dict[str, str]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 120, 160, "yuv420p"
        for index in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(index, (120, 160)), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("parameters", "noted"),
    [
        ("interlaced=1:tff=1", "interlaced"),
        ("transfer=smpte2084", "HDR (PQ)"),
        ("transfer=arib-std-b67", "HDR (HLG)"),
        ("transfer=bt709", ""),
    ],
)
def test_the_scan_notes_interlaced_and_hdr_video(tmp_path: Path, parameters: str, noted: str) -> None:
    (row,) = scan([encode_as(tmp_path / "a.mp4", {"x264-params": parameters})])
    assert row.ok
    assert noted in row.detail if noted else row.detail == ""
