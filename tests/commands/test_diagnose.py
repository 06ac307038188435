"""`marey diagnose`, and the short form of its answers in the report of a training."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey import commands
from marey.data import Clip, Split, find_leaks, load_data
from marey.errors import UsageError
from marey.evaluation import NearDuplicate
from marey.training import across_splits, leaks_of, make_splits
from marey.video import decode, write_video

REGEX = r"person(\d+)_"


@pytest.fixture(scope="module")
def linear_run(
    tmp_path_factory: pytest.TempPathFactory, small_set: Path, small_changes: list[str]
) -> tuple[Path, Path]:
    """A run by linear heads on clips of which one has the wrong label and one a mirrored copy, and its data."""
    data = tmp_path_factory.mktemp("planted") / "clips"
    shutil.copytree(small_set, data)
    wrong = data / "boxing" / "person03_boxing_d1_uncomp.mp4"
    shutil.move(wrong, data / "walking" / wrong.name.replace("_d1", "_d2"))
    frames = decode(data / "walking" / "person01_walking_d1_uncomp.mp4", np.arange(25) / 25.0).data
    write_video(data / "walking" / "person09_walking_d1_uncomp.mp4", frames.flip(-1), frame_rate=25.0, crf=28)
    run = data.parent / "run"
    changes = [change for change in small_changes if not change.startswith("training.")]
    commands.train(str(data), recipe="chronophotograph", out=run, folds="group", group_regex=REGEX, set=changes)
    return run, data


def test_the_copy_of_another_group_stands_beside_the_number_as_a_leak(linear_run: tuple[Path, Path]) -> None:
    run, _ = linear_run
    note = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["leaks"]["note"]
    assert "near-duplicate clip" in note
    assert "too high for new video" in note
    found = json.loads((run / "diagnosis.json").read_text(encoding="utf-8"))["near_duplicates"]
    names = [{Path(pair["first"]).name, Path(pair["second"]).name} for pair in found]
    assert names == [{"person01_walking_d1_uncomp.mp4", "person09_walking_d1_uncomp.mp4"}]
    assert "Typical and odd clips" in (run / "report.html").read_text(encoding="utf-8")


def test_a_run_is_diagnosed_from_its_own_data(linear_run: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = linear_run
    found = commands.diagnose(run, out=tmp_path / "found").findings
    assert found.checked == 13
    assert found.curve is not None
    assert found.curve.groups == 7
    assert sum(point.measured for point in found.curve.points) >= 3
    assert len(found.typical) == 2
    with (tmp_path / "found" / "diagnosis.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["question"] for row in rows} >= {"near-duplicate", "typical", "odd"}
    written = json.loads((tmp_path / "found" / "diagnosis.json").read_text(encoding="utf-8"))
    assert written == found.as_dict()
    page = (tmp_path / "found" / "diagnosis.html").read_text(encoding="utf-8")
    assert "Would more clips help?" in page
    assert "learning_curve" not in page  # the plot is in the page


def test_heads_that_take_long_are_answered_for_by_linear_ones(small_run: Path, tmp_path: Path) -> None:
    found = commands.diagnose(small_run, out=tmp_path / "found").findings
    assert any("linear heads" in note for note in found.notes)
    assert found.duplicates == ()
    assert found.checked == 12


def test_the_answers_are_shown_and_lie_beside_the_run(
    linear_run: tuple[Path, Path], call_marey: Callable[..., Any]
) -> None:
    run, _ = linear_run
    ended = call_marey("diagnose", run)
    assert ended.code == 0
    assert "pair of clips of different groups" in ended.out
    assert (run.with_name("run-diagnosis") / "diagnosis.html").is_file()


def test_a_model_without_its_run_cannot_be_diagnosed(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run / "model", tmp_path / "model")
    with pytest.raises(UsageError, match="a model without its run"):
        commands.diagnose(tmp_path / "model")


def test_a_diagnosis_is_not_written_into_a_run(small_run: Path) -> None:
    with pytest.raises(UsageError, match="holds a run"):
        commands.diagnose(small_run, out=small_run)


def test_only_copies_across_the_split_are_leaks(small_set: Path) -> None:
    manifest = load_data(str(small_set), group_regex=REGEX)
    protocol = make_splits(manifest, folds=None, test=0.3, seed=0)
    (split,) = protocol.splits
    compared = across_splits(len(manifest.clips), protocol.splits)
    one, other = split.train[:2]
    assert not compared(one)[other]
    assert compared(one)[split.test[0]]
    inside, across = NearDuplicate(one, other, 0.9, "frames"), NearDuplicate(one, split.test[0], 0.9, "frames")
    (leak,) = leaks_of([inside, across], manifest.clips, split)
    assert (leak.kind, leak.left, leak.right) == (
        "near_duplicate",
        (manifest.clips[one].id,),
        (manifest.clips[split.test[0]].id,),
    )


def test_a_file_of_the_same_bytes_is_counted_once(small_set: Path, tmp_path: Path) -> None:
    first = next(small_set.rglob("*.mp4"))
    shutil.copy(first, tmp_path / "copy.mp4")
    clips = [Clip(first, "a", "1"), Clip(tmp_path / "copy.mp4", "a", "2")]
    assert [leak.kind for leak in find_leaks(clips, (0,), (1,))] == ["content"]
    assert leaks_of([NearDuplicate(0, 1, 1.0, "frames")], clips, Split((0,), (), (1,))) == ()
