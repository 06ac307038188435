from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from marey.data import Segment, read_manifest
from marey.errors import UsageError, VideoError
from marey.prediction import Timeline
from marey.reports import write_segments, write_thumbnails

SEGMENTS = (
    Segment(0.5, 4.2, "walking", 0.87),
    Segment(4.2, 9.00049, "a <b>&c --> d\nWEBVTT", 0.5),
    Segment(3725.5, 3725.5001, "拍手", 1.0),
)


def timeline(source: str | Path, segments: tuple[Segment, ...] = SEGMENTS) -> Timeline:
    labels = tuple(sorted({segment.label for segment in SEGMENTS}))
    times = np.array([0.5, 1.5])
    return Timeline(str(source), 4000.0, labels, times, np.full((2, 3), 1 / 3, np.float32), segments, 1.0)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_json_contains_each_video_with_its_segments(tmp_path: Path) -> None:
    found = [timeline("a.mp4"), timeline("b\udcff.mp4", ())]
    write_segments(found, tmp_path / "new" / "out.json")
    values = json.loads((tmp_path / "new" / "out.json").read_text(encoding="utf-8"))
    assert values == [one.as_dict() for one in found]
    assert left_in(tmp_path / "new") == ["out.json"]


def test_a_table_of_segments_is_a_manifest(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    (tmp_path / "clips").mkdir()
    video = make_video(tmp_path / "clips" / "one, two.mp4", seconds=0.2)
    write_segments([timeline(video)], tmp_path / "out.csv")
    clips = read_manifest(tmp_path / "out.csv").clips
    assert [(clip.start, clip.end, clip.label) for clip in clips] == [
        (0.5, 4.2, "walking"),
        (4.2, 9.00049, "a <b>&c --> d\nWEBVTT"),
        (3725.5, 3725.5001, "拍手"),
    ]
    assert {clip.path for clip in clips} == {video}
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "path,label,start,end,confidence"
    assert lines[1] == '"clips/one, two.mp4",walking,0.5,4.2,0.87'


def test_subtitles_are_escaped(tmp_path: Path) -> None:
    write_segments([timeline("a.mp4")], tmp_path / "out.vtt")
    cues: list[tuple[float, float, str]] = []
    with av.open(str(tmp_path / "out.vtt")) as container:
        for packet in container.demux():
            if packet.size:
                start = float((packet.pts or 0) * packet.time_base)
                cues.append((start, start + float((packet.duration or 0) * packet.time_base), bytes(packet).decode()))
    assert cues == [
        (0.5, 4.2, "walking 0.87"),
        (4.2, 9.0, "a &lt;b&gt;&amp;c --&gt; d WEBVTT 0.50"),
        (pytest.approx(3725.5), pytest.approx(3725.501), "拍手 &gt;0.99"),
    ]
    text = (tmp_path / "out.vtt").read_text(encoding="utf-8")
    assert text.startswith("WEBVTT\n\n1\n00:00:00.500 --> 00:00:04.200\n")
    assert "01:02:05.500 --> 01:02:05.501" in text


def test_a_video_without_segments_has_subtitles_and_a_table(tmp_path: Path) -> None:
    for name in ("out.vtt", "out.csv"):
        write_segments([timeline("a.mp4", ())], tmp_path / name)
    assert (tmp_path / "out.vtt").read_text() == "WEBVTT\n"
    assert (tmp_path / "out.csv").read_text() == "path,label,start,end,confidence\n"


@pytest.mark.parametrize("count", [0, 2])
def test_subtitles_belong_to_one_video(count: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"not to {count}: write \.json or \.csv"):
        write_segments([timeline("a.mp4")] * count, tmp_path / "out.vtt")
    assert not left_in(tmp_path)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.json, \.csv, \.vtt, not as 'out\.srt'"):
        write_segments([timeline("a.mp4")], tmp_path / "out.srt")


def test_the_earlier_file_stays_if_a_table_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("before")
    with pytest.raises(UsageError, match=r"is not UTF-8: rename the file, or write \.json"):
        write_segments([timeline(os.fsdecode(b"caf\xe9.mp4"))], tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "before"
    assert left_in(tmp_path) == ["out.csv"]


def test_a_thumbnail_shows_the_middle_of_its_segment(
    tmp_path: Path, make_video: Callable[..., Path], read_index: Callable[[Any], int]
) -> None:
    video = make_video(tmp_path / "video.mp4", seconds=4, size=(120, 160))
    segments = [Segment(0.0, 0.4, "walking"), Segment(1.0, 2.0, "../拍手 \x00/etc"), Segment(2.0, 4.0, "x" * 300)]
    paths = write_thumbnails(video, segments, tmp_path / "out")
    assert [path.name for path in paths] == [
        "0001_0m00.2s_walking.jpg",
        "0002_0m01.5s____拍手___etc.jpg",
        f"0003_0m03.0s_{'x' * 40}.jpg",
    ]
    for path, index in zip(paths, (5, 37, 75), strict=True):
        with Image.open(path) as image:
            assert image.size == (160, 120)
            assert read_index(np.asarray(image).transpose(2, 0, 1)) == index
    assert left_in(tmp_path / "out") == [*(path.name for path in paths), "sheet_001.jpg"]


@pytest.mark.long
def test_many_thumbnails_are_small_and_on_several_sheets(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    video = make_video(tmp_path / "video.mp4", seconds=2, size=(960, 540), rotation=90)
    segments = [Segment(number / 20, (number + 1) / 20, "walking") for number in range(27)]
    paths = write_thumbnails(video, segments, tmp_path / "out")
    assert len(paths) == 27
    with Image.open(paths[-1]) as image:
        assert image.size == (270, 480)
    assert left_in(tmp_path / "out")[-2:] == ["sheet_001.jpg", "sheet_002.jpg"]
    with Image.open(tmp_path / "out" / "sheet_001.jpg") as sheet:
        assert max(sheet.size) < 1500


def test_one_segment_has_no_sheet_and_none_has_no_thumbnail(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    video = make_video(tmp_path / "video.mp4", seconds=1)
    assert len(write_thumbnails(video, [Segment(0.0, 1.0, "a")], tmp_path / "one")) == 1
    assert len(left_in(tmp_path / "one")) == 1
    assert write_thumbnails(video, [], tmp_path / "none") == []
    assert left_in(tmp_path / "none") == []


def test_a_folder_with_other_images_is_not_changed(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    video = make_video(tmp_path / "video.mp4", seconds=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.jpg").write_text("before")
    with pytest.raises(UsageError, match="already exists and is not an empty folder"):
        write_thumbnails(video, [Segment(0.0, 1.0, "a")], tmp_path / "out")
    assert left_in(tmp_path / "out") == ["old.jpg"]


def test_a_segment_beyond_the_end_leaves_nothing(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    video = make_video(tmp_path / "video.mp4", seconds=1)
    with pytest.raises(VideoError, match="too_short"):
        write_thumbnails(video, [Segment(0.0, 1.0, "a"), Segment(8.0, 9.0, "b")], tmp_path / "out")
    assert left_in(tmp_path) == ["video.mp4"]
