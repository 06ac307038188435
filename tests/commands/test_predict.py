from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from marey import commands
from marey.commands.steps.outputs import CaptionTrack
from marey.commands.steps.predictions import Predictions, Timelines
from marey.data import read_manifest
from marey.errors import UsageError
from marey.video import probe


@pytest.fixture(scope="module")
def clip(small_set: Path) -> Path:
    return sorted(small_set.rglob("*.mp4"))[0]


def pictures_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_clip_is_annotated_with_its_label_and_keeps_its_frames(small_run: Path, clip: Path, tmp_path: Path) -> None:
    answer = commands.predict(
        small_run, [str(clip)], annotate=tmp_path / "out" / "a.mp4", chronophotograph=tmp_path / "c.png"
    )
    assert isinstance(answer, Predictions)
    assert answer.written == (tmp_path / "out" / "a.mp4", tmp_path / "c.png")
    given, made = probe(clip), probe(tmp_path / "out" / "a.mp4")
    assert pictures_of(tmp_path / "out" / "a.mp4") == pictures_of(clip)
    assert (made.width, made.height) == (given.width, given.height)
    assert made.duration == pytest.approx(given.duration, abs=1 / given.frame_rate)
    with Image.open(tmp_path / "c.png") as image:
        assert image.size == (given.width, given.height)


def test_windows_give_segments_as_a_table_subtitles_a_timeline_and_thumbnails(
    small_run: Path, clip: Path, tmp_path: Path
) -> None:
    answer = commands.predict(
        small_run,
        [str(clip)],
        mode="window",
        window=0.4,
        threshold=0.0,
        annotate=tmp_path / "a.mp4",
        segments=tmp_path / "s.vtt",
        timeline=tmp_path / "t.png",
        thumbnails=tmp_path / "thumbs",
    )
    assert isinstance(answer, Timelines)
    (timeline,) = answer.timelines
    assert timeline.segments[0].start == 0
    assert timeline.segments[-1].end == pytest.approx(1.0, abs=0.05)
    assert (tmp_path / "s.vtt").read_text().startswith("WEBVTT\n")
    assert len(list((tmp_path / "thumbs").glob("0*.jpg"))) == len(timeline.segments)
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.width > 500
    commands.predict(small_run, [str(clip)], mode="window", window=0.4, threshold=0.0, segments=tmp_path / "s.csv")
    assert [found.label for found in read_manifest(tmp_path / "s.csv").clips] == [s.label for s in timeline.segments]


def test_no_probability_reaches_the_threshold_and_it_is_none_of_the_classes(small_run: Path, clip: Path) -> None:
    answer = commands.predict(small_run, [str(clip)], mode="window", window=0.4, threshold=1.0)
    assert isinstance(answer, Timelines)
    assert answer.timelines[0].segments == ()
    assert answer.usable


def test_frames_get_an_answer_each(small_run: Path, clip: Path, tmp_path: Path) -> None:
    answer = commands.predict(small_run, [str(clip)], mode="frame", window=0.4, frames=tmp_path / "frames")
    assert isinstance(answer, Timelines)
    assert len(answer.timelines[0].times) == pytest.approx(pictures_of(clip), abs=3)
    assert len(list((tmp_path / "frames").iterdir())) == pictures_of(clip)


def test_several_videos_go_into_a_folder_and_one_that_cannot_be_used_is_named(
    small_run: Path, clip: Path, tmp_path: Path
) -> None:
    fake = tmp_path / "fake.mp4"
    fake.write_text("no video")
    answer = commands.predict(small_run, [str(clip), str(fake)], annotate=tmp_path / "out")
    assert isinstance(answer, Predictions)
    assert [path.name for path in answer.written] == [f"{clip.stem}.mp4"]
    assert answer.predictions[1].reason == "not_video"
    timelines = commands.predict(
        small_run, [str(clip), str(fake)], mode="window", window=0.4, segments=tmp_path / "all.json"
    )
    assert isinstance(timelines, Timelines)
    assert [failed.reason for failed in timelines.failed] == ["not_video"]
    assert [video["source"] for video in json.loads((tmp_path / "all.json").read_text())] == [str(clip)]


def test_a_video_that_breaks_off_leaves_no_half_of_an_annotated_one(
    small_run: Path, make_video: object, tmp_path: Path
) -> None:
    assert callable(make_video)
    whole = make_video(tmp_path / "whole.mkv", seconds=4.0)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(0.8 * whole.stat().st_size)])
    answer = commands.predict(small_run, [str(cut)], annotate=tmp_path / "out.mp4")
    assert isinstance(answer, Predictions)
    assert answer.predictions[0].reason in ("truncated", "corrupt")
    assert not (tmp_path / "out.mp4").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.mkv", "whole.mkv"]


def test_a_clip_below_the_threshold_is_none_of_the_classes_wherever_it_is_shown(
    call_marey: Any, small_run: Path, clip: Path, tmp_path: Path
) -> None:
    known = commands.predict(small_run, [str(clip)])
    none = commands.predict(small_run, [str(clip)], threshold=1.0, annotate=tmp_path / "none.mp4")
    assert isinstance(known, Predictions)
    assert isinstance(none, Predictions)
    assert (none.predictions[0].label, none.usable) == (None, True)
    assert none.predictions[0].top(2) == known.predictions[0].top(2)
    caption = CaptionTrack.of_clip(none.predictions[0], 2, clip).caption_at(0.0)
    assert (caption.label, caption.confidence, caption.top) == (None, None, known.predictions[0].top(2))
    assert CaptionTrack.of_clip(known.predictions[0], 2, clip).caption_at(0.0).label == known.predictions[0].label

    shown = call_marey("predict", small_run, clip, "--threshold", "1", "--top", "2")
    assert shown.code == 0
    assert "none of these" in shown.out
    (label, share), _ = known.predictions[0].top(2)
    assert f"{label} {'>0.99' if share > 0.995 else f'{share:.2f}'}" in shown.out
    (answer,) = json.loads(call_marey("predict", small_run, clip, "--threshold", "1", "--json").out)
    assert (answer["label"], answer["confidence"]) == (None, answer["top"][0][1])
    (answer,) = json.loads(call_marey("predict", small_run, clip, "--threshold", "0.01", "--json").out)
    assert answer["label"] == answer["top"][0][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, r"threshold=1.5: Input should be less than or equal to 1"),
        ({"min_duration": 0.5}, r"--min-duration is for segments"),
        ({"segments": Path("s.vtt")}, r"--segments is for segments"),
        ({"annotate": Path("a.avi")}, r"--annotate writes .mp4, not 'a.avi'"),
        ({"chronophotograph": Path("a.gif")}, r"--chronophotograph writes .png or .jpg or .jpeg, not 'a.gif'"),
        ({"mode": "window", "segments": Path("s.txt")}, r"--segments writes .json, .csv, .vtt, not 's.txt'"),
        ({"mode": "window", "window": -1.0}, r"window=-1.0: Input should be greater than 0"),
        ({"mode": "window", "threshold": 2.0}, r"threshold=2.0: Input should be less than or equal to 1"),
        ({"mode": "sideways"}, r"no mode is called .sideways."),
        ({"max_seconds": 3.0}, r"max_seconds=3 ends a live source"),
        ({"top": 0}, r"top=0"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(
    small_run: Path, clip: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        commands.predict(small_run, [str(clip)], **options)  # type: ignore[arg-type]


def test_one_file_for_several_videos_is_refused(small_run: Path, small_set: Path, tmp_path: Path) -> None:
    videos = [str(path) for path in sorted(small_set.rglob("*.mp4"))[:2]]
    with pytest.raises(UsageError, match=r"--annotate .* is one file, and there are 2 videos"):
        commands.predict(small_run, videos, annotate=tmp_path / "a.mp4")
    with pytest.raises(UsageError, match=r"subtitles belong to one video"):
        commands.predict(small_run, videos, mode="window", segments=tmp_path / "a.vtt")
    with pytest.raises(UsageError, match=r"which is watched alone; 2 sources"):
        commands.predict(small_run, [videos[0], "rtsp://127.0.0.1/x"])


@pytest.mark.long
def test_a_pipe_is_watched_and_answers_come_a_line_each(small_run: Path, make_video: object, tmp_path: Path) -> None:
    assert callable(make_video)
    video = make_video(tmp_path / "piped.mkv", seconds=3.0)
    command = [sys.executable, "-m", "marey", "predict", str(small_run), "-", "--window", "0.8", "--json"]
    outputs = ["--annotate", str(tmp_path / "seen.mp4"), "--segments", str(tmp_path / "seen.csv"), "--threshold", "0"]
    with video.open("rb") as pipe:
        done = subprocess.run([*command, *outputs], stdin=pipe, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["time"] for answer in answers] == sorted(answer["time"] for answer in answers)
    assert answers[0]["time"] == pytest.approx(0.7, abs=0.05)
    assert {answer["label"] for answer in answers} <= {"boxing", "walking"}
    assert all(answer["dropped"] == 0 for answer in answers)
    assert pictures_of(tmp_path / "seen.mp4") == pictures_of(video)
    with (tmp_path / "seen.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert float(rows[-1]["end"]) <= 3.05


@pytest.mark.long
@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM])
def test_watching_that_is_ended_from_outside_keeps_its_recording(
    small_run: Path, make_video: object, tmp_path: Path, ends: signal.Signals
) -> None:
    assert callable(make_video)
    video = make_video(tmp_path / "piped.mkv", seconds=3.0)
    command = [sys.executable, "-m", "marey", "predict", str(small_run), "-", "--window", "0.8", "--json"]
    with subprocess.Popen(  # noqa: S603 - our own program
        [*command, "--annotate", str(tmp_path / "seen.mp4")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(video.read_bytes())
        process.stdin.flush()  # and it stays open: more could come
        assert json.loads(process.stdout.readline())["label"] in ("boxing", "walking", None)
        process.send_signal(ends)
        process.stdout.read()
    assert process.returncode == 0
    assert pictures_of(tmp_path / "seen.mp4") > 10
