"""Encoders that are fine-tuned, through the commands: trained, evaluated, tuned, and used by others."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import marey
from marey import commands
from marey.encoders import FeatureCache
from marey.errors import UsageError
from small_transformers import FRAMES, write_transformer

pytest.importorskip("lightning", reason="the extra 'networks' is not installed")

QUICK = ["training.epochs=2", "training.batch_size=4"]
TIMM = ["encoder.name=test_vit", "encoder.weights=random", "encoder.size=32", "sampling.count=3", *QUICK]


def require_same_answers(run: Path, cache: Path) -> None:
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    model = marey.Predictor(run, cache=FeatureCache(cache))
    for prediction, row in zip(model.predict([row["path"] for row in rows]), rows, strict=True):
        for label, probability in zip(prediction.labels, prediction.probabilities, strict=True):
            assert probability == pytest.approx(float(row[f"p_{label}"]), abs=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "videomae",
        pytest.param("timesformer", marks=pytest.mark.long),
        pytest.param("vjepa2", marks=pytest.mark.long),
        pytest.param("videoprism", marks=pytest.mark.long),
    ],
)
def test_a_frozen_recipe_is_fine_tuned_by_one_key(
    name: str, small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    write_transformer(name, tmp_path / "weights")
    changes = [f"encoder.weights={tmp_path / 'weights'}", f"sampling.count={FRAMES}", "encoder.grid=[2, 1]", *QUICK]
    commands.train(str(small_set), recipe=name, out=tmp_path / "run", set=[*changes, "training.unfreeze=1"])
    (tmp_path / "weights").rename(tmp_path / "elsewhere")  # the model has all that it needs
    require_same_answers(tmp_path / "run", tmp_path / "other")
    again = commands.evaluate(tmp_path / "run", str(small_set), out=tmp_path / "again")
    assert again.metrics is not None


def test_the_report_tells_how_many_parameters_were_trained(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    changes = [*TIMM, "training.unfreeze=0", "training.lora.rank=2"]
    commands.train(str(small_set), recipe="finetune", out=tmp_path / "run", set=changes)
    (row,) = commands.list_models(str(tmp_path / "run" / "recipe.yaml"), classes=2).rows
    assert row.counts is not None
    assert row.counts.trained < row.counts.parameters / 4
    said = f"{row.counts.trained:,} trained, {row.counts.parameters:,} in all"
    assert said in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    require_same_answers(tmp_path / "run", tmp_path / "other")


def test_the_number_of_blocks_can_be_searched(small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    search = "search={training.unfreeze: {choices: [1, 2]}}"
    found = commands.tune(str(small_set), recipe="finetune", out=tmp_path / "tune", set=[*TIMM, search], trials=2)
    assert found is not None


def test_what_cannot_be_trained_is_said_before_the_run_begins(small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="test_vit has 6 blocks, and 9 are to be trained"):
        commands.train(str(small_set), recipe="finetune", out=tmp_path / "run", set=[*TIMM, "training.unfreeze=9"])
    assert not (tmp_path / "run").exists()
