"""The files that a prediction leaves: looked at before the work, written after the answer, and each by itself."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from marey import commands
from marey.commands.steps.predictions import Predictions, Timelines, totals
from marey.data import Segment
from marey.errors import UsageError

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def videos(small_set: Path) -> list[str]:
    return [str(path) for path in sorted(small_set.rglob("*.mp4"))[:2]]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def stems(videos: list[str]) -> set[str]:
    return {Path(video).stem for video in videos}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_labelled_frames_of_several_videos_have_a_folder_each(
    small_run: Path, videos: list[str], tmp_path: Path
) -> None:
    answer = commands.predict(small_run, videos, frames=tmp_path / "frames")
    assert isinstance(answer, Predictions)
    assert answer.unwritten == ()
    assert names(tmp_path / "frames") == stems(videos)
    assert all(len(names(folder)) == 25 for folder in answer.written)


def test_thumbnails_of_several_videos_have_a_folder_each(small_run: Path, videos: list[str], tmp_path: Path) -> None:
    outputs: Any = {
        name: tmp_path / name for name in ("annotate", "frames", "chronophotograph", "timeline", "thumbnails")
    }
    answer = commands.predict(small_run, videos, mode="window", window=0.4, threshold=0.0, **outputs)
    assert isinstance(answer, Timelines)
    assert answer.unwritten == ()
    assert names(tmp_path / "thumbnails") == names(tmp_path / "frames") == stems(videos)
    assert all((tmp_path / "thumbnails" / stem).glob("0001_*.jpg") for stem in stems(videos))
    assert names(tmp_path / "annotate") == {f"{stem}.mp4" for stem in stems(videos)}
    assert (
        names(tmp_path / "chronophotograph")
        == names(tmp_path / "timeline")
        == {f"{stem}.png" for stem in stems(videos)}
    )


def full(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "old.txt").touch()
    return path


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (lambda at: {"frames": full(at / "f")}, r"--frames: .*f already exists and is not an empty folder"),
        (lambda at: {"thumbnails": full(at / "t")}, r"--thumbnails: .*t already exists"),
        (lambda at: {"annotate": at / "file" / "a.mp4"}, r"--annotate: .*a\.mp4 cannot be written: .*file is a file"),
        (lambda at: {"segments": at / "file" / "b" / "s.csv"}, r"--segments: .* cannot be written: .*file is a file"),
        (lambda at: {"chronophotograph": at / "folder.png"}, r"--chronophotograph: .*folder\.png is a folder"),
        (lambda at: {"chronophotograph": at / ("p" * 300 + ".png")}, r"--chronophotograph: .*File name too long"),
        (
            lambda at: {"chronophotograph": at / "p.png", "timeline": at / "p.png"},
            r"--timeline .* take the place of --chronophotograph",
        ),
        (lambda at: {"frames": at / "f", "thumbnails": at / "f"}, r"--thumbnails .* take the place of --frames"),
        (lambda at: {"frames": at / "f", "annotate": at / "f" / "a.mp4"}, r"a\.mp4 \(--annotate\) would lie in .*f, a"),
        (
            lambda at: {"annotate": at / "own.mp4"},
            r"--annotate .*own\.mp4 would take the place of a video that is read",
        ),
        (lambda at: {"timeline": at / "t.jpg"}, r"--timeline writes \.png, not 't\.jpg'"),
    ],
)
def test_an_output_that_could_not_be_written_is_refused_before_any_work(
    videos: list[str], tmp_path: Path, outputs: Callable[[Path], Any], sentence: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    shutil.copy(videos[0], tmp_path / "own.mp4")
    asked = outputs(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=sentence):  # the model is not even looked for
        commands.predict(tmp_path / "no-model", [str(tmp_path / "own.mp4")], mode="window", **asked)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_one_of_several_videos_that_is_there_already_is_refused_before_any_work(
    videos: list[str], tmp_path: Path
) -> None:
    no_model = tmp_path / "no-model"
    full(tmp_path / "frames" / Path(videos[1]).stem)
    with pytest.raises(UsageError, match=r"--frames: .* already exists"):
        commands.predict(no_model, videos, frames=tmp_path / "frames")
    twin = shutil.copy(videos[0], tmp_path / Path(videos[0]).name)
    with pytest.raises(UsageError, match=r"2 videos are called"):
        commands.predict(no_model, [videos[0], str(twin)], thumbnails=tmp_path / "t", mode="window")
    with pytest.raises(UsageError, match=r"--annotate .* would take the place of a video that is read"):
        commands.predict(no_model, [str(twin), videos[1]], annotate=tmp_path)


def test_a_source_that_leads_in_a_circle_is_missing_and_the_others_are_written(
    small_run: Path, videos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    answer = commands.predict(small_run, [str(tmp_path / "loop.mp4"), videos[0]], chronophotograph=tmp_path / "all")
    assert isinstance(answer, Predictions)
    assert [prediction.reason for prediction in answer.predictions] == ["missing", None]
    assert (names(tmp_path / "all"), answer.unwritten) == ({f"{Path(videos[0]).stem}.png"}, ())


def test_a_live_source_is_not_watched_for_a_file_that_could_not_be_written(tmp_path: Path) -> None:
    no_model = tmp_path / "no-model"
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--annotate: .*file is a file"):
        commands.predict(no_model, ["-"], annotate=tmp_path / "file" / "seen.mp4")
    with pytest.raises(UsageError, match=r"--segments writes"):
        commands.predict(no_model, ["-"], segments=tmp_path / "seen.txt")


def test_the_answer_is_known_before_a_file_is_written(small_run: Path, videos: list[str], tmp_path: Path) -> None:
    seen: list[tuple[Any, list[Path]]] = []

    def hear(answer: Any) -> None:
        seen.append((answer, list(tmp_path.iterdir())))

    clips = commands.predict(small_run, videos, chronophotograph=tmp_path / "p", on_answer=hear)
    assert isinstance(clips, Predictions)
    ((heard, files),) = seen
    assert (heard.predictions, heard.written, files) == (clips.predictions, (), [])
    assert len(clips.written) == 2
    seen.clear()
    shutil.rmtree(tmp_path / "p")
    windows = commands.predict(small_run, videos, mode="window", segments=tmp_path / "s.csv", on_answer=hear)
    assert isinstance(windows, Timelines)
    ((heard, files),) = seen
    assert (heard.timelines, files) == (windows.timelines, [])


def test_what_cannot_be_written_is_named_and_the_others_go_on(
    small_run: Path, videos: list[str], tmp_path: Path
) -> None:
    def spoil(answer: Any) -> None:
        (tmp_path / "annotate").touch()  # where the check saw that a folder could be made
        (tmp_path / "frames" / Path(videos[0]).stem / "somebody's").mkdir(parents=True)

    answer = commands.predict(
        small_run, videos, annotate=tmp_path / "annotate", frames=tmp_path / "frames", chronophotograph=tmp_path / "p",
        on_answer=spoil,
    )  # fmt: skip
    assert isinstance(answer, Predictions)
    assert all(prediction.label is not None for prediction in answer.predictions)
    assert [path.relative_to(tmp_path).parts[0] for path in answer.written] == ["p", "frames", "p"]
    first, *_ = map(str, answer.unwritten)
    assert first == f"{tmp_path / 'annotate' / Path(videos[0]).stem}.mp4 was not written: File exists"
    assert [failed.path.parent.name for failed in answer.unwritten] == ["annotate", "frames", "annotate"]


def test_a_video_that_breaks_off_behind_the_sampled_frames_keeps_its_label_and_its_output_is_named(
    small_run: Path, make_video: Any, tmp_path: Path
) -> None:
    whole = make_video(tmp_path / "whole.avi", seconds=4.0)
    (tmp_path / "cut.avi").write_bytes(whole.read_bytes()[: int(0.9 * whole.stat().st_size)])
    answer = commands.predict(small_run, [str(tmp_path / "cut.avi")], annotate=tmp_path / "out.mp4", unknown="never")
    assert isinstance(answer, Predictions)
    assert answer.predictions[0].label in ("boxing", "walking")
    (failed,) = answer.unwritten
    assert (failed.path, "truncated" in failed.why) == (tmp_path / "out.mp4", True)
    assert names(tmp_path) == {"whole.avi", "cut.avi"}


@pytest.mark.parametrize("form", ["--json", pytest.param("--top=2", marks=pytest.mark.long)])
@pytest.mark.parametrize("mode", ["clip", "window", pytest.param("frame", marks=pytest.mark.long)])
def test_a_full_disk_costs_no_answer(
    call_marey: Call, small_run: Path, videos: list[str], tmp_path: Path, mode: str, form: str
) -> None:
    asked: list[Any] = ["predict", small_run, *videos, "--mode", mode, form, "--annotate", tmp_path / "a"]
    asked += (
        ["--chronophotograph", tmp_path]
        if mode == "clip"
        else ["--chronophotograph", tmp_path, "--segments", tmp_path / "s.json"]
    )
    assert call_marey("predict", small_run, *videos).code == 0  # features are in the cache
    with files_of_at_most(2_000):
        ended = call_marey(*asked)
    assert ended.code == 3
    assert "Traceback" not in ended.err
    if form == "--json":
        assert [answer["source"] for answer in json.loads(ended.out)] == videos
    else:
        assert all(video in ended.out for video in videos)
        assert ("written   " in ended.out) == (mode != "clip")
    said = [line.split(": ", 1)[1] for line in ended.err.splitlines() if line.startswith("marey: ")]
    assert said == [
        f"{path} was not written: File too large{why}"
        for stem in sorted(stems(videos))
        for path, why in (
            (tmp_path / "a" / f"{stem}.mp4", "; the video could not be written"),
            (tmp_path / f"{stem}.png", ""),
        )
    ]
    assert names(tmp_path) == ({"a"} if mode == "clip" else {"a", "s.json"})
    assert names(tmp_path / "a") == set()


def test_a_live_source_is_watched_on_when_its_recording_fails(
    call_marey: Call, small_run: Path, make_video: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "piped.mkv", seconds=3.0)
    with video.open() as pipe, files_of_at_most(2_000):
        monkeypatch.setattr("sys.stdin", pipe)
        ended = call_marey(
            "predict", small_run, "-", "--window", "0.8", "--threshold", "0", "--json",
            "--annotate", tmp_path / "seen.mp4", "--segments", tmp_path / "seen.csv",
        )  # fmt: skip
    assert ended.code == 3
    assert json.loads(ended.out.splitlines()[-1])["time"] == pytest.approx(2.9, abs=0.2)
    assert (
        ended.err == f"marey: {tmp_path / 'seen.mp4'} was not written: File too large; the video could not be written\n"
    )
    assert names(tmp_path) == {"piped.mkv", "seen.csv"}


class Hearer(commands.Reporter):
    """Hears which stages of work are begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[commands.Stage]:
        self.begun.append(title)
        yield commands.Stage()


def test_a_list_or_features_that_could_not_be_written_are_refused_before_any_work(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    reporter = Hearer()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"bad\.csv cannot be written: .*file is a file"):
        commands.data.scan(str(small_set), quarantine=tmp_path / "file" / "bad.csv", reporter=reporter)
    for name in ("features", "features.npz"):
        with pytest.raises(UsageError, match=r"cannot be written: .*file is a file"):
            commands.extract(str(small_set), out=tmp_path / "file" / name, set=small_changes, reporter=reporter)
    (tmp_path / "f.npz").touch()
    with pytest.raises(UsageError, match=r"f\.npz exists, and is left as it is"):
        commands.extract(str(small_set), out=tmp_path / "f.npz", set=small_changes, reporter=reporter)
    assert reporter.begun == []


def test_a_scan_is_shown_when_its_list_cannot_be_written(call_marey: Call, small_set: Path, tmp_path: Path) -> None:
    shutil.copytree(small_set, tmp_path / "clips")
    for number in range(9):
        (tmp_path / "clips" / "boxing" / f"empty_{number}.mp4").touch()
    with files_of_at_most(100):
        ended = call_marey("data", "scan", tmp_path / "clips", "--quarantine", tmp_path / "bad.csv")
    assert ended.code == 3
    assert "12 of 21 usable" in ended.out
    assert ended.err == f"marey: {tmp_path / 'bad.csv'} was not written: File too large\n"
    assert names(tmp_path) == {"clips"}


def test_the_time_of_each_action_is_added_up_where_one_comes_twice() -> None:
    segments = [Segment(0.0, 60.0, "walk", 0.9), Segment(60.0, 90.0, "wave", 0.8), Segment(90.0, 120.0, "walk", 0.7)]
    (table,) = totals(segments, 200.0)
    assert table.columns == ("action", "segments", "in total", "share")
    assert table.rows == [("walk", "2", "1:30.0", "45 %"), ("wave", "1", "0:30.0", "15 %")]
    assert list(totals(segments[:2], 200.0)) == []
    assert list(totals([], 0.0)) == []


def test_a_file_is_not_opened_again(videos: list[str]) -> None:
    with pytest.raises(UsageError, match=r"reconnect=5 is for live sources, and '.*' is a file"):
        commands.predict("runs/none", videos[0], mode="window", reconnect=5.0)
