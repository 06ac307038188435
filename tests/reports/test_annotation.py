from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from marey.errors import UsageError, VideoError
from marey.reports import Caption, annotate_video, chronophotograph_of, save_image, write_annotated_frames
from marey.video import decode, play, probe

MakeVideo = Callable[..., Path]
ReadIndex = Callable[[Any], int]

VARYING = [0.0, 0.04, 0.2, 0.23, 0.5, 1.1, 1.14, 1.3]


def caption_at(time: float) -> Caption:
    label = "walking" if time < 0.5 else "boxing"
    return Caption(label, 0.9, ((label, 0.9), ("running", 0.1)), time, 2.0)


def times_of(path: Path) -> list[float]:
    with play(path) as playback:
        return [frame.time for frame in playback]


def test_an_annotated_video_has_the_frames_times_and_sound_of_its_source(
    tmp_path: Path, make_video: MakeVideo, read_index: ReadIndex
) -> None:
    source = make_video(tmp_path / "source.mp4", seconds=2, size=(240, 320), audio=True, b_frames=2)
    annotate_video(source, tmp_path / "out.mp4", caption_at)
    before, after = probe(source), probe(tmp_path / "out.mp4")
    assert (after.height, after.width) == (240, 320)
    assert after.has_audio
    assert after.duration == pytest.approx(before.duration, abs=0.04)
    assert after.frame_rate == pytest.approx(25)
    assert times_of(tmp_path / "out.mp4") == pytest.approx(times_of(source), abs=1e-4)
    frames = decode(tmp_path / "out.mp4", np.arange(50) / 25)
    assert [read_index(frame.numpy()) for frame in frames.data] == list(range(50))


def test_an_annotated_video_plays_in_a_browser(tmp_path: Path, make_video: MakeVideo) -> None:
    annotate_video(make_video(tmp_path / "source.avi", codec="mpeg4"), tmp_path / "out.mp4", caption_at)
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_every_frame_has_the_caption_of_its_time(tmp_path: Path, make_video: MakeVideo) -> None:
    source = make_video(tmp_path / "source.mp4", seconds=1, size=(240, 320), moving=False)
    asked = []

    def caption(time: float) -> Caption:
        asked.append(time)
        return caption_at(time)

    annotate_video(source, tmp_path / "out.mp4", caption)
    assert asked == times_of(source)
    card = np.s_[:, :, 140:, :190]
    shown = decode(tmp_path / "out.mp4", [0.2, 0.4, 0.6, 0.8]).data.numpy()[card].astype(int)
    bare = decode(source, [0.2]).data.numpy()[card].astype(int)
    assert np.abs(shown[0] - bare[0]).max() > 100
    assert np.abs(shown[0] - shown[1]).mean() < 1 < np.abs(shown[1] - shown[2]).mean()
    assert np.abs(shown[2] - shown[3]).mean() < 1


def test_variable_frame_rate_and_rotation_are_kept(
    tmp_path: Path, make_video: MakeVideo, read_index: ReadIndex
) -> None:
    source = make_video(tmp_path / "source.mp4", pts=VARYING, size=(320, 240), rotation=90)
    annotate_video(source, tmp_path / "out.mp4", caption_at)
    info = probe(tmp_path / "out.mp4")
    assert (info.height, info.width, info.rotation) == (320, 240, 0)
    assert times_of(tmp_path / "out.mp4") == pytest.approx(VARYING, abs=1e-4)
    frames = decode(tmp_path / "out.mp4", VARYING).data
    assert [read_index(frame.numpy()) for frame in frames] == list(range(len(VARYING)))


def test_progress_counts_the_seconds_to_the_end(tmp_path: Path, make_video: MakeVideo) -> None:
    source, done = make_video(tmp_path / "source.mp4", seconds=1), list[float]()
    annotate_video(source, tmp_path / "out.mp4", caption_at, on_progress=done.append)
    assert done == pytest.approx(np.arange(1, 26) / 25)


def test_a_broken_source_leaves_the_earlier_file(tmp_path: Path, make_video: MakeVideo) -> None:
    whole = make_video(tmp_path / "whole.mkv", seconds=4)
    source = tmp_path / "source.mkv"
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "out.mp4").write_bytes(b"before")
    with pytest.raises(VideoError, match="truncated"):
        annotate_video(source, tmp_path / "out.mp4", caption_at)
    with pytest.raises(VideoError, match="truncated"):
        write_annotated_frames(source, tmp_path / "frames", caption_at)
    assert (tmp_path / "out.mp4").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "source.mkv", "whole.mkv"]


def test_a_video_does_not_replace_its_source(tmp_path: Path, make_video: MakeVideo) -> None:
    source = make_video(tmp_path / "source.mp4", seconds=0.5)
    before = source.read_bytes()
    (tmp_path / "link.mp4").symlink_to(source)
    for out in (source, tmp_path / "link.mp4"):
        with pytest.raises(UsageError, match="replace its own source"):
            annotate_video(source, out, caption_at)
    assert source.read_bytes() == before


def test_all_frames_are_written_as_images_with_numbers_and_times(
    tmp_path: Path, make_video: MakeVideo, read_index: ReadIndex
) -> None:
    source = make_video(tmp_path / "source.mp4", pts=VARYING, size=(240, 320))
    assert write_annotated_frames(source, tmp_path / "frames", caption_at, suffix=".png") == len(VARYING)
    paths = sorted((tmp_path / "frames").iterdir())
    assert [path.name for path in paths] == [f"{number:06d}_0m{time:06.3f}s.png" for number, time in enumerate(VARYING)]
    for number, path in enumerate(paths):
        with Image.open(path) as image:
            assert read_index(np.asarray(image).transpose(2, 0, 1)) == number


@pytest.mark.parametrize(
    ("every", "numbers"),
    [
        (0.25, [0, 3, 4, 6]),  # of 0, 0.25, 0.5 to 1.0, 1.25 s
        (0.21, [0, 2, 3, 4, 6]),
        (0.5, [0, 4]),
        (10.0, [0]),
        (0.001, list(range(8))),
    ],
)
def test_an_interval_gives_the_frames_on_screen_at_its_times(
    every: float, numbers: list[int], tmp_path: Path, make_video: MakeVideo
) -> None:
    source = make_video(tmp_path / "source.mkv", pts=VARYING)
    assert write_annotated_frames(source, tmp_path / "frames", caption_at, every=every) == len(numbers)
    assert sorted(int(path.name[:6]) for path in (tmp_path / "frames").iterdir()) == numbers


@pytest.mark.parametrize("every", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_interval_is_refused(every: float, tmp_path: Path, make_video: MakeVideo) -> None:
    with pytest.raises(UsageError, match="every has to be more than 0"):
        write_annotated_frames(make_video(tmp_path / "a.mp4"), tmp_path / "frames", caption_at, every=every)


def test_a_chronophotograph_shows_the_whole_clip(tmp_path: Path, make_video: MakeVideo) -> None:
    source = make_video(tmp_path / "source.mp4", seconds=1, size=(120, 320))
    plate = chronophotograph_of(source, exposures=4)
    single = decode(source, [0.5]).data[0].permute(1, 2, 0).numpy()

    def yellow(picture: Any) -> int:
        lower = picture[60:].astype(int)
        return int(np.count_nonzero((lower[..., 0] > 180) & (lower[..., 2] < 110)))

    assert plate.shape == (120, 320, 3)
    assert yellow(plate) > 2.5 * yellow(single)


@pytest.mark.long
def test_the_chronophotograph_of_a_large_video_is_reduced(tmp_path: Path, make_video: MakeVideo) -> None:
    source = make_video(tmp_path / "source.mp4", seconds=0.2, size=(1280, 720), rotation=270)
    assert chronophotograph_of(source, exposures=1).shape == (720, 405, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png"])
def test_an_image_is_written_in_the_format_of_its_suffix(suffix: str, tmp_path: Path) -> None:
    picture = np.full((8, 12, 3), (200, 30, 40), dtype=np.uint8)
    save_image(picture, tmp_path / "new" / f"a{suffix}")
    with Image.open(tmp_path / "new" / f"a{suffix}") as image:
        assert image.format == ("PNG" if suffix == ".png" else "JPEG")
        assert np.abs(np.asarray(image).astype(int) - picture).max() < 6
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_an_image_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.jpg or \.jpeg or \.png, not as 'a\.gif'"):
        save_image(np.zeros((2, 2, 3), np.uint8), tmp_path / "a.gif")
    with pytest.raises(UsageError, match="65,500"):
        save_image(np.zeros((1, 70_000, 3), np.uint8), tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())
