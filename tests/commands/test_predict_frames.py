"""Tests of what is written and said of single frames and of what was read."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey import commands
from marey.commands.steps.predictions import Timelines
from marey.errors import UsageError
from marey.prediction import Predictor, label_single_frames
from marey.progress import Reporter
from marey.video import play


class Heard(Reporter):
    """Keeps the sentences."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


@pytest.fixture(scope="module")
def clip(small_set: Path) -> Path:
    return sorted(small_set.rglob("*.mp4"))[0]


@pytest.mark.parametrize("independent", [False, True])
def test_the_table_has_a_row_a_frame_with_its_time_and_the_probability_of_each_class(
    small_run: Path, clip: Path, tmp_path: Path, independent: bool
) -> None:
    window = None if independent else 0.4
    answer = commands.predict(
        small_run, clip, mode="frame", window=window, csv=tmp_path / "t" / "f.csv", independent=independent
    )
    assert isinstance(answer, Timelines)
    assert answer.written == (tmp_path / "t" / "f.csv",)
    (timeline,) = answer.timelines
    with play(clip) as playback:
        times = [frame.time for frame in playback]
    with (tmp_path / "t" / "f.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time"]) for row in rows] == pytest.approx(times, abs=1e-6)
    assert [int(row["frame"]) for row in rows] == list(range(len(times)))
    for row, time in zip(rows, times, strict=True):
        given = [float(row[f"p_{label}"]) for label in timeline.labels]
        assert sum(given) == pytest.approx(1, abs=1e-5)
        assert given == pytest.approx(timeline.probabilities_at(time).tolist(), abs=1e-6)
        assert (row["source"], row["predicted"]) == (str(clip), timeline.labels[int(np.argmax(given))])


def test_a_frame_by_itself_gets_the_answer_of_a_clip_that_is_only_this_frame(small_run: Path, clip: Path) -> None:
    predictor = Predictor(small_run)
    shares: list[float] = []
    timeline = label_single_frames(predictor.pipeline, clip, on_progress=shares.append)
    with play(clip) as playback:
        frames = [(frame.time, playback.to_rgb(frame)[None]) for frame in playback]
    assert timeline.times.tolist() == [time for time, _ in frames]
    for place in (0, len(frames) // 2, len(frames) - 1):
        alone = predictor.pipeline(frames[place][1], frame_rate=25.0)
        assert timeline.probabilities[place] == pytest.approx(alone, abs=1e-5)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0, abs=0.05)


def test_frames_by_themselves_are_refused_with_options_of_windows(small_run: Path, clip: Path) -> None:
    with pytest.raises(UsageError, match="add --mode frame"):
        commands.predict(small_run, clip, independent=True)
    with pytest.raises(UsageError, match="--window is for windows of several frames"):
        commands.predict(small_run, clip, mode="frame", window=0.4, independent=True)


def test_verbose_says_which_frames_were_read_and_the_shape_of_the_features(small_run: Path, clip: Path) -> None:
    heard, quiet = Heard(), Heard()
    commands.predict(small_run, clip, verbose=True, reporter=heard)
    commands.predict(small_run, clip, reporter=quiet)
    (said,) = set(heard.sentences) - {each for each in heard.sentences if each.startswith("reading clips")}
    predictor = Predictor(small_run)
    contract = predictor.model.config.contract
    count, dim = contract.sampling.count, contract.shape[0]
    assert f"{clip}: 25 frames of 160 x 120, 25 a second, 1.00 s; {count} timestamps" in said
    for stream in contract.streams:
        assert f"{stream} ({count}, {dim})" in said
    assert not any("timestamps" in each for each in quiet.sentences)


def test_verbose_says_how_a_video_was_watched(small_run: Path, clip: Path) -> None:
    heard = Heard()
    answer = commands.predict(small_run, clip, mode="window", window=0.4, verbose=True, reporter=heard)
    assert isinstance(answer, Timelines)
    (said,) = (each for each in heard.sentences if "windows of" in each)
    (timeline,) = answer.timelines
    assert f"windows of {timeline.window:.3g} s" in said
    assert f"probabilities {timeline.probabilities.shape}" in said


def test_the_options_work_on_the_command_line(
    call_marey: Callable[..., Any], small_run: Path, clip: Path, tmp_path: Path
) -> None:
    done = call_marey(
        "predict", str(small_run), str(clip), "--mode", "frame", "--independent", "--csv", str(tmp_path / "f.csv")
    )
    assert done.code == 0, done.err
    assert (tmp_path / "f.csv").is_file()
