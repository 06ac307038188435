from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from html_page import Page
from marey import Predictor, commands
from marey.data import Segment
from marey.errors import DatasetError, UnknownNameError, UsageError
from marey.evaluation import score_segments
from marey.synthetic import FRAME_RATE, draw
from marey.video import write_video

SPANS = (("boxing", 0.0, 2.4), ("walking", 2.4, 5.2), (None, 5.2, 6.0), ("boxing", 6.0, 8.0))


def film(path: Path, actor: int) -> list[str]:
    """Write a video of a person in several actions, and give its rows of a manifest."""
    parts = [
        draw(label or "empty", actor=actor, duration=end - start, take=number)
        for number, (label, start, end) in enumerate(SPANS)
    ]
    write_video(path, torch.cat(parts), frame_rate=FRAME_RATE)
    return [f"{path.name},{label},person{actor:02d},{start},{end},test" for label, start, end in SPANS if label]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of two people whom the model has not seen, and their manifest; not to be changed."""
    folder = tmp_path_factory.mktemp("films")
    rows = [row for actor in (11, 12) for row in film(folder / f"{actor}.mp4", actor)]
    (folder / "manifest.csv").write_text("\n".join(["path,label,group,start,end,split", *rows]) + "\n")
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_files_are_played_whole_and_scored_against_their_rows(small_run: Path, films: Path, tmp_path: Path) -> None:
    result = commands.evaluate(small_run, str(films), out=tmp_path, mode="window")
    assert result.evaluation.protocol == "the test videos of the data"
    assert result.scores.segments == 6
    assert result.scores.seconds == pytest.approx(16.0, abs=0.1)
    assert result.scores.unlabelled == pytest.approx(0.1, abs=0.01)
    assert result.scores.interval.unit == "groups"

    predictor = Predictor(small_run)
    truth = [Segment(start, end, label) for label, start, end in SPANS if label]
    names = [(films / f"{actor}.mp4").as_posix() for actor in (11, 12)]
    lines = {name: predictor.timeline(name) for name in names}
    plain = score_segments(
        {name: line.segments for name, line in lines.items()},
        dict.fromkeys(names, truth),
        {name: line.duration for name, line in lines.items()},
        groups={names[0]: "a", names[1]: "b"},
    )
    assert result.scores.f1 == plain.f1
    assert result.scores.frame_accuracy == pytest.approx(plain.frame_accuracy)
    assert result.scores.mean_ap == plain.mean_ap

    metrics = read(tmp_path / "metrics.json")
    assert metrics["f1"]["50"] == plain.f1[50]
    assert metrics["leaks"] == {"count": 0, "note": None}
    assert metrics["segmentation"]["smooth"] == 0.5
    first = read(tmp_path / "segments.json")[0]
    assert first["source"] == names[0]
    assert first["segments"] == [segment.as_dict() for segment in lines[names[0]].segments]
    assert [one["label"] for one in first["truth"]] == ["boxing", "walking", "boxing"]
    assert len(list((tmp_path / "plots").glob("timeline_*.png"))) == 2


@pytest.mark.long
def test_the_same_test_gives_the_same_bytes(small_run: Path, films: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        commands.evaluate(small_run, str(films), out=tmp_path / name, mode="window")
    for file in ("metrics.json", "segments.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_page_is_one_file_with_a_timeline_of_each_video(small_run: Path, films: Path, tmp_path: Path) -> None:
    result = commands.evaluate(small_run, str(films), out=tmp_path, mode="window")
    text = result.report.read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link"} & set(page.tags)
    assert not re.search(r"https?://", text)
    assert len(page.images) == 2
    for image in page.images:
        assert str(image["src"]).startswith("data:image/png;base64,")
        assert str(image["alt"]).startswith("Timeline of ")
    for words in ("F1@50", "mAP at tIoU 0.7", "edit score", "frame accuracy", "person11", "min_duration 1"):
        assert words in text
    assert '<aside class="warning"' not in text


def test_a_video_that_cannot_be_used_has_no_segments_and_is_named(small_run: Path, films: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = film(tmp_path / "data" / "good.mp4", 11)
    (tmp_path / "data" / "<b>cut.mp4").write_bytes((films / "12.mp4").read_bytes()[:600])
    (tmp_path / "data" / "none.mp4").touch()
    rows += ["<b>cut.mp4,boxing,p2,0,2,test", "<b>cut.mp4,walking,p2,2,4.5,test", "none.mp4,walking,p3,,,test"]
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(["path,label,group,start,end,split", *rows]) + "\n")
    result = commands.evaluate(small_run, str(tmp_path / "data"), out=tmp_path / "out", mode="window")
    assert result.scores.segments == 3 + 2 + 1
    good, cut, none = result.evaluation.videos
    assert (good.reason, none.reason) == (None, "empty")
    assert cut.reason in ("corrupt", "not_video", "truncated")
    assert (cut.duration, none.duration) == (4.5, 1.0)  # as far as the rows say
    assert [one.label for one in none.truth] == ["walking"]
    for video in (cut, none):
        assert result.scores.videos[video.name].f1[10] == 0.0
        assert result.scores.videos[video.name].frame_accuracy == 0.0
    assert read(tmp_path / "out" / "metrics.json")["failed_reasons"] == {str(cut.reason): 1, "empty": 1}
    assert read(tmp_path / "out" / "segments.json")[2]["reason"] == "empty"
    page = result.report.read_text(encoding="utf-8")
    assert "2 videos could not be used" in page
    assert "&lt;b&gt;cut.mp4" in page
    assert "<b>" not in page


def test_a_test_set_of_files_that_cannot_be_used_is_worth_nothing_and_no_traceback(
    small_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "data" / "boxing").mkdir(parents=True)
    (tmp_path / "data" / "boxing" / "a.mp4").touch()
    result = commands.evaluate(small_run, str(tmp_path / "data"), out=tmp_path / "out", mode="window")
    assert (result.scores.frame_accuracy, result.scores.f1[50], result.scores.mean_ap[0.5]) == (0.0, 0.0, 0.0)
    assert "Video by video" not in result.report.read_text(encoding="utf-8")


@pytest.mark.long
def test_whole_clips_of_a_class_folder_are_one_segment_each_and_training_files_are_said(
    small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    result = commands.evaluate(small_run, str(small_set), out=tmp_path, mode="window")
    assert result.scores.segments == 12
    assert result.evaluation.protocol == "all videos of the data"
    assert "identical files are on both sides" in str(result.evaluation.leak)
    page = result.report.read_text(encoding="utf-8")
    assert "The model was trained on these files" in page
    assert page.count("trained on these files</span>") == 2  # beside the answer, and in the table


def test_rows_of_one_file_in_two_parts_are_refused(small_run: Path, films: Path, tmp_path: Path) -> None:
    text = (films / "manifest.csv").read_text().replace("11.mp4,walking", f"{films}/11.mp4,walking")
    lines = (
        text.replace("11.mp4,boxing", f"{films}/11.mp4,boxing").replace("\n12.mp4", f"\n{films}/12.mp4").splitlines()
    )
    lines[1] = lines[1].replace(",test", ",train")
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DatasetError, match=r"11\.mp4 has rows in the part 'test' and in 'train'"):
        commands.evaluate(small_run, str(tmp_path / "m.csv"), out=tmp_path / "out", mode="window")
    whole = commands.evaluate(small_run, str(tmp_path / "m.csv"), out=tmp_path / "out", mode="window", split="all")
    assert whole.scores.segments == 6


def test_a_segment_after_the_end_of_its_video_is_missed_and_said(small_run: Path, films: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"path,label,start,end\n{films}/11.mp4,boxing,0,2\n{films}/11.mp4,boxing,90,95\n")
    result = commands.evaluate(small_run, str(tmp_path / "m.csv"), out=tmp_path / "out", mode="window")
    assert result.evaluation.notes == ("1 true segment begins after the end of its video, and counts as not found.",)
    assert result.scores.segments == 2
    assert result.scores.seconds == pytest.approx(8.0, abs=0.1)


def test_a_label_that_the_model_has_not_is_refused(small_run: Path, films: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"path,label,start,end\n{films}/11.mp4,boxxing,0,2\n")
    with pytest.raises(DatasetError, match=r"the model has no label 'boxxing'; did you mean 'boxing'\?"):
        commands.evaluate(small_run, str(tmp_path / "m.csv"), out=tmp_path / "out", mode="window")


def test_how_segments_are_found_can_be_changed(small_run: Path, films: Path, tmp_path: Path) -> None:
    result = commands.evaluate(
        small_run, str(films), out=tmp_path, mode="window", threshold=0.2, smooth=0, min_duration=100, stride=0.5
    )
    assert result.scores.found <= 2  # what is shorter than the video goes to its neighbour
    said = read(tmp_path / "metrics.json")["segmentation"]
    assert (said["threshold"], said["min_duration"], said["stride"]) == (0.2, 100.0, 0.5)
    assert said["release"] == pytest.approx(0.12)


def test_options_of_the_other_way_are_refused_and_not_passed_over(small_run: Path, films: Path, tmp_path: Path) -> None:
    evaluate: Any = commands.evaluate
    for options, said in (
        ({"threshold": 0.5}, "threshold is for windows: add --mode window"),
        ({"mode": "window", "frame_order": "reversed"}, "frame_order=reversed is for clips"),
        ({"mode": "window", "threshold": 2.0}, r"threshold=2\.0: .* less than or equal to 1"),
        ({"mode": "window", "window": 0.0}, r"window=0\.0: .* greater than 0"),
        ({"mode": "window", "smooth": float("nan")}, "smooth=nan"),
    ):
        with pytest.raises(UsageError, match=said):
            evaluate(small_run, str(films), out=tmp_path / "out", **options)
    with pytest.raises(UnknownNameError, match=r"did you mean .window."):
        evaluate(small_run, str(films), out=tmp_path / "out", mode="windowed")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_a_table_or_json(
    small_run: Path, films: Path, tmp_path: Path, call_marey: Callable[..., Any]
) -> None:
    done = call_marey("evaluate", small_run, films, "--mode", "window", "-o", tmp_path)
    assert done.code == 0
    for words in ("F1@50", "mAP at tIoU 0.5", "edit score", "6 and", "over 6 segments in 2 videos, the test videos"):
        assert words in done.out
    assert str(tmp_path / "report.html") in done.out
    answer = json.loads(call_marey("evaluate", small_run, films, "--mode", "window", "-o", tmp_path, "--json").out)
    assert answer["metrics"]["segments"] == 6
    assert set(answer["metrics"]["mean_ap"]) == {"0.3", "0.5", "0.7"}
