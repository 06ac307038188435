"""Heads on features that came as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import marey
from marey import commands
from marey.errors import DatasetError, UsageError
from marey.models import load_model

SMALL = ["sampling.count=3", "encoder.size=64", "training.inner_folds=1", "views.mirrored=none"]


@pytest.mark.long
def test_exported_features_train_the_model_that_their_clips_train(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    of_clips = commands.train(str(small_set), out=tmp_path / "clips", set=SMALL)
    commands.extract(str(small_set), out=tmp_path / "features", set=SMALL)
    of_features = commands.train(str(tmp_path / "features"), out=tmp_path / "run", set=SMALL)
    assert of_features.metrics.accuracy == of_clips.metrics.accuracy
    clip = next(small_set.rglob("*walking*.mp4"))
    one, other = (marey.Predictor(tmp_path / run).predict(clip)[0] for run in ("clips", "run"))
    assert one.labels == other.labels
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Features of 16 x 8 numbers a clip, with a table, as someone else may have them."""
    source, chance = tmp_path / "theirs", np.random.default_rng(0)
    source.mkdir()
    lines = ["path,label"]
    for number in range(24):
        label = ("wave", "clap")[number % 2]
        np.save(source / f"{number:02d}.npy", (chance.normal(size=(16, 8)) + 3 * (number % 2)).astype(np.float32))
        lines.append(f"{number:02d}.npy,{label}")
    (source / "meta.csv").write_text("\n".join(lines) + "\n")
    commands.exchange.import_data(source, out=tmp_path / "ours")
    return tmp_path / "ours"


def test_features_of_others_train_a_head(foreign: Path, tmp_path: Path) -> None:
    changes = ["training.epochs=15", "training.learning_rate=0.01", "test=0.25"]
    result = commands.train(str(foreign), recipe="bilstm", out=tmp_path / "run", set=changes)
    assert result.metrics.accuracy >= 0.9
    assert load_model(tmp_path / "run").config.contract.dim == 8
    with pytest.raises(UsageError, match="features that came as files"):
        marey.Predictor(tmp_path / "run")


def test_where_clips_are_read_features_are_refused(foreign: Path, tmp_path: Path) -> None:
    for call in (
        lambda: commands.extract(str(foreign)),
        lambda: commands.data.split(str(foreign), out=tmp_path / "split.csv"),
    ):
        with pytest.raises(DatasetError, match="holds features and no video"):
            call()
