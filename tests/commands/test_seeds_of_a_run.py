"""A run whose model is the average of several seeds: its table, its files, and its evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey import commands

CHANGES = ["training.epochs=3", "training.learning_rate=0.01", "head.options={hidden: 4}"]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of 30 clips of two classes, hard to tell apart."""
    root = tmp_path_factory.mktemp("features")
    (root / "theirs").mkdir()
    drawn = np.random.default_rng(0)
    lines = ["path,label"]
    for number in range(30):
        label = ("wave", "clap")[number % 2]
        values = drawn.normal(size=(6, 8)) + 0.35 * (number % 2)
        np.save(root / "theirs" / f"{number:02d}.npy", values.astype(np.float32))
        lines.append(f"{number:02d}.npy,{label}")
    (root / "theirs" / "meta.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    commands.exchange.import_data(root / "theirs", out=root / "ours")
    return root / "ours"


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("folds", [(), ("--folds", "2")])
def test_a_run_states_each_seed_and_its_evaluation_repeats_them(
    given: Path, tmp_path: Path, call_marey: Callable[..., Any], folds: tuple[str, ...]
) -> None:
    changes = [part for change in [*CHANGES, "training.seeds=3"] for part in ("--set", change)]
    done = call_marey("train", str(given), "--recipe", "bilstm", "--out", str(tmp_path / "run"), *folds, *changes)
    assert done.code == 0
    assert "seeds averaged" in done.out
    assert "alone from" in done.out
    found = metrics(tmp_path / "run")
    assert found["seeds"]["averaged"] == 3
    assert found["seeds"]["spread"] == pytest.approx(np.std(found["seeds"]["accuracy"], ddof=1))
    assert found["interval"]["seeds"] == 3
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The model is the average of 3 seeds" in page
    commands.evaluate(tmp_path / "run", out=tmp_path / "again")
    again = metrics(tmp_path / "again")
    assert {key: again[key] for key in ("seeds", "interval", "accuracy_interval")} == {
        key: found[key] for key in ("seeds", "interval", "accuracy_interval")
    }


def test_a_run_of_one_seed_says_that_its_interval_does_not_hold_it(
    given: Path, tmp_path: Path, call_marey: Callable[..., Any]
) -> None:
    changes = [part for change in [*CHANGES, "training.seeds=1"] for part in ("--set", change)]
    done = call_marey("train", str(given), "--recipe", "bilstm", "--out", str(tmp_path / "run"), *changes)
    assert "do not hold how much another" in " ".join(done.out.split())
    found = metrics(tmp_path / "run")
    assert (found["seeds"], found["interval"]["seeds"]) == (None, 1)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The seed of the training is kept: the interval does not hold" in page
