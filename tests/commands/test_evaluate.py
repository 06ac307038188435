from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from marey import commands
from marey.commands import COMMANDS
from marey.commands.registry import Table
from marey.errors import DatasetError, ModelFormatError, UsageError
from marey.evaluation import read_predictions


def manifest_of_tested(small_run: Path, to: Path, *, split: str = "test") -> Path:
    _, rows = read_predictions(small_run / "predictions.csv")
    lines = ["path,label,group,split", *(f"{row.path},{row.label},{row.group},{split}" for row in rows)]
    to.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return to


def test_evaluation_of_the_tested_clips_repeats_what_training_said(small_run: Path, tmp_path: Path) -> None:
    result = commands.evaluate(small_run, str(manifest_of_tested(small_run, tmp_path / "test.csv")), out=tmp_path / "e")
    _, before = read_predictions(small_run / "predictions.csv")
    _, after = read_predictions(tmp_path / "e" / "predictions.csv")
    for old, new in zip(before, after, strict=True):
        assert (old.clip, old.label) == (new.clip, new.label)
        assert old.probabilities is not None
        assert new.probabilities == pytest.approx(old.probabilities, abs=1e-5)
    assert result.metrics.leak is None
    assert result.metrics.protocol == "the test clips of the data"
    metrics = json.loads((small_run / "metrics.json").read_text())
    assert result.metrics.accuracy == metrics["accuracy"]
    for name in ("metrics.json", "predictions.csv", "report.html"):
        assert (tmp_path / "e" / name).is_file()


def test_the_scores_of_each_class_and_their_averages_are_shown_when_asked_for(
    small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    result = commands.evaluate(small_run, str(small_set), out=tmp_path / "e", split="all", per_class=True)
    shown = [item for item in COMMANDS["evaluate"].show(result) if isinstance(item, Table)]
    assert [table.columns for table in shown] == [("class", "precision", "recall", "F1", "support")]
    names = [row[0] for row in shown[0].rows]
    assert names == [*result.metrics.labels, "accuracy", "macro avg", "weighted avg"]
    assert shown[0].rows[-3][-1] == "12"
    plain = replace(result, per_class=False)
    assert not any(isinstance(item, Table) for item in COMMANDS["evaluate"].show(plain))


def test_the_cross_entropy_is_computed_before_and_after_calibration(small_run: Path) -> None:
    metrics = json.loads((small_run / "metrics.json").read_text())
    temperature = json.loads((small_run / "model" / "config.json").read_text())["temperature"]
    _, rows = read_predictions(small_run / "predictions.csv")
    assert all(row.uncalibrated is not None for row in rows)
    assert metrics["nll"] > 0
    assert metrics["cross_entropy"] > 0
    assert temperature == 1.0 or metrics["cross_entropy"] != pytest.approx(metrics["nll"], abs=1e-6)


def test_the_scores_of_classes_are_refused_for_windows(small_run: Path) -> None:
    with pytest.raises(UsageError, match="--per-class is for clips"):
        commands.evaluate(small_run, "d.csv", mode="window", per_class=True)  # type: ignore[call-overload]


def test_evaluation_on_the_clips_that_were_trained_on_says_so(small_run: Path, small_set: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(small_run / "model", tmp_path / "model"))
    result = commands.evaluate(model, str(small_set), out=tmp_path / "e")
    _, tested = read_predictions(small_run / "predictions.csv")
    assert result.metrics.clips == 12
    assert f"{12 - len(tested)} identical files" in (result.metrics.leak or "")
    page = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "this number is too high for new video" in page


def test_frames_in_another_order_are_said_in_the_protocol_and_give_other_numbers(
    small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    given, turned = (
        commands.evaluate(small_run, str(small_set), out=tmp_path / order, frame_order=order, split="all")
        for order in ("original", "reversed")
    )
    assert given.metrics.protocol == "all clips of the data"
    assert turned.metrics.protocol == "all clips of the data, frames reversed"
    rows = [read_predictions(result.folder / "predictions.csv")[1] for result in (given, turned)]
    pairs = [(a.probabilities, b.probabilities) for a, b in zip(*rows, strict=True)]
    assert any(not np.allclose(a or (), b or ()) for a, b in pairs)


def test_a_part_that_the_data_does_not_name_is_refused(small_run: Path, small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no clip .* is in the part 'val'; the parts it names: none"):
        commands.evaluate(small_run, str(small_set), out=tmp_path / "e", split="val")
    listed = manifest_of_tested(small_run, tmp_path / "m.csv", split="train")
    with pytest.raises(DatasetError, match=r"the parts it names: train"):
        commands.evaluate(small_run, str(listed), out=tmp_path / "e", split="test")
    assert commands.evaluate(small_run, str(listed), out=tmp_path / "e").metrics.clips >= 2


def test_a_label_that_the_model_has_not_is_refused_with_what_was_meant(
    small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    clip = sorted(small_set.rglob("*.mp4"))[0]
    (tmp_path / "m.csv").write_text(f"path,label\n{clip},boxxing\n")
    with pytest.raises(DatasetError, match=r"the model has no label 'boxxing'; did you mean 'boxing'\?"):
        commands.evaluate(small_run, str(tmp_path / "m.csv"), out=tmp_path / "e")


def test_clips_without_labels_are_refused(small_run: Path, small_set: Path, tmp_path: Path) -> None:
    clip = sorted(small_set.rglob("*.mp4"))[0]
    (tmp_path / "m.csv").write_text(f"path\n{clip}\n")
    with pytest.raises(DatasetError, match=r"1 of 1 clips have no label"):
        commands.evaluate(small_run, str(tmp_path / "m.csv"), out=tmp_path / "e")


def test_a_test_set_of_files_that_cannot_be_used_is_all_wrong_and_no_traceback(small_run: Path, tmp_path: Path) -> None:
    for label in ("boxing", "walking"):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "a.mp4").write_bytes(b"")
    result = commands.evaluate(small_run, str(tmp_path / "data"), out=tmp_path / "e")
    assert (result.metrics.clips, result.metrics.failed, result.metrics.accuracy) == (2, 2, 0.0)
    assert (tmp_path / "e" / "report.html").is_file()


def test_no_model_is_named(tmp_path: Path, small_set: Path) -> None:
    with pytest.raises(ModelFormatError, match="is not a model"):
        commands.evaluate(tmp_path / "none", str(small_set), out=tmp_path / "e")
