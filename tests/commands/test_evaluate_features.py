"""Models that are tested on features that came as files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey import commands
from marey.errors import DatasetError, UsageError
from marey.evaluation import read_predictions

SMALL = ["training.inner_folds=1", "views.mirrored=none"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, small_set: Path, small_changes: list[str]) -> Path:
    """The features of `small_set`, as `small_run` saw its clips; not to be changed."""
    out = tmp_path_factory.mktemp("features") / "out"
    commands.extract(str(small_set), recipe="default-0.1", out=out, set=small_changes)
    return out


def theirs(folder: Path, *, length: int = 16, dim: int = 8, seed: int = 0) -> Path:
    """Features of someone else's network, and two classes that differ in all of them."""
    source, chance = folder / "theirs", np.random.default_rng(seed)
    source.mkdir(parents=True)
    lines = ["path,label"]
    for number in range(24):
        values = chance.normal(size=(length, dim)) + 3 * (number % 2)
        np.save(source / f"{number:02d}.npy", values.astype(np.float32))
        lines.append(f"{number:02d}.npy,{('wave', 'clap')[number % 2]}")
    (source / "meta.csv").write_text("\n".join(lines) + "\n")
    commands.exchange.import_data(source, out=folder / "ours")
    return folder / "ours"


@pytest.fixture(scope="module")
def their_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of features that nobody here can make, beside the folder `theirs/ours`; not to be changed."""
    folder = tmp_path_factory.mktemp("their-run")
    changes = ["training.epochs=15", "training.learning_rate=0.01", "training.inner_folds=1"]
    commands.train(str(theirs(folder)), recipe="order-blind", out=folder / "run", set=changes)
    return folder / "run"


def answers(folder: Path) -> list[tuple[float, ...] | None]:
    _, rows = read_predictions(folder / "predictions.csv")
    return [row.probabilities for row in rows]


def test_features_of_clips_give_what_the_clips_give(
    small_run: Path, small_set: Path, exported: Path, tmp_path: Path
) -> None:
    of_clips = commands.evaluate(small_run, str(small_set), out=tmp_path / "clips", split="all")
    of_features = commands.evaluate(small_run, str(exported), out=tmp_path / "features")
    for one, other in zip(answers(tmp_path / "clips"), answers(tmp_path / "features"), strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    assert of_features.metrics.accuracy == of_clips.metrics.accuracy
    assert (tmp_path / "features" / "metrics.json").is_file()
    page = (tmp_path / "features" / "report.html").read_text(encoding="utf-8")
    (note,) = of_features.notes
    assert "whether the model was trained on those is not known" in note
    assert note in page


@pytest.mark.long
def test_the_order_of_the_table_does_not_matter(small_run: Path, exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "turned")
    table = tmp_path / "turned" / "features.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    half = len(rows) // 2  # one stream's rows, and the other's the other way round
    table.write_text("\n".join([header, *reversed(rows[half:]), *rows[:half]]) + "\n", encoding="utf-8")
    for folder in (exported, tmp_path / "turned"):
        commands.evaluate(small_run, str(folder), out=tmp_path / folder.name / "e")
    assert answers(tmp_path / exported.name / "e") == answers(tmp_path / "turned" / "e")


def test_a_model_of_features_is_tested_on_new_ones_and_knows_its_own(their_run: Path, tmp_path: Path) -> None:
    new = commands.evaluate(their_run, str(theirs(tmp_path, seed=1)), out=tmp_path / "new")
    assert (new.metrics.clips, new.metrics.leaks, new.notes) == (24, 0, ())
    assert new.metrics.accuracy > 0.9
    own = commands.evaluate(their_run, str(their_run.parent / "ours"), out=tmp_path / "own", split="all")
    tested = len(answers(their_run))
    assert own.metrics.leaks == 24 - tested
    assert "identical files" in (own.metrics.leak or "")


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ({"length": 12}, r"features by an unknown encoder, 12 x 8 here, and features by .* 16 x 8 there; they differ"),
        ({"dim": 9}, r"16 x 9 here, and .* 16 x 8 there; they differ in encoder hash, dim:"),
    ],
)
def test_features_of_another_size_are_refused(
    their_run: Path, tmp_path: Path, made: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DatasetError, match=sentence):
        commands.evaluate(their_run, str(theirs(tmp_path, **made)), out=tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_features_that_were_made_in_another_way_are_refused(
    small_run: Path, their_run: Path, small_set: Path, small_changes: list[str], exported: Path, tmp_path: Path
) -> None:
    commands.extract(
        str(small_set), recipe="default-0.1", out=tmp_path / "five", set=[*small_changes, "sampling.count=5"]
    )
    with pytest.raises(DatasetError, match=r"5 x \d+ here, and .* 4 x \d+ there; they differ in sampling:"):
        commands.evaluate(small_run, str(tmp_path / "five"), out=tmp_path / "e")
    with pytest.raises(DatasetError, match=r"features by an unknown encoder, .* by mobilenetv3_small_050, .* there"):
        commands.evaluate(small_run, str(theirs(tmp_path)), out=tmp_path / "e")
    with pytest.raises(DatasetError, match=r"by mobilenetv3_small_050, .* here, and features by an unknown encoder"):
        commands.evaluate(their_run, str(exported), out=tmp_path / "e")


def test_a_contract_of_other_features_than_those_that_are_there_is_refused(
    small_run: Path, exported: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported, tmp_path / "f")
    path = next((tmp_path / "f").rglob("*boxing*.npy"))
    np.save(path, np.load(path)[:, :7])
    with pytest.raises(DatasetError, match="has a contract of other features"):
        commands.evaluate(small_run, str(tmp_path / "f"), out=tmp_path / "e")
    with pytest.raises(DatasetError, match="features of different sizes"):
        commands.train(str(tmp_path / "f"), out=tmp_path / "run", set=SMALL)
    described = json.loads((exported / "features.json").read_text())
    described["contract"]["encoder"]["name"] = "pixels"
    shutil.copytree(exported, tmp_path / "g")
    (tmp_path / "g" / "features.json").write_text(json.dumps(described))
    with pytest.raises(DatasetError, match="has a contract of other features"):
        commands.train(str(tmp_path / "g"), out=tmp_path / "run", set=SMALL)


def test_clips_without_labels_are_refused(small_run: Path, exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "f")
    with (exported / "features.csv").open(newline="", encoding="utf-8") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    (tmp_path / "f" / "features.csv").write_text("\n".join(["path", *paths]) + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="12 of 12 clips have no label"):
        commands.evaluate(small_run, str(tmp_path / "f"), out=tmp_path / "e")


def test_features_that_are_no_numbers_count_as_wrong_with_a_reason(
    small_run: Path, exported: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported, tmp_path / "f")
    one, other = sorted((tmp_path / "f").rglob("*boxing*.npy"))[:2]
    np.save(one, np.full_like(np.load(one), np.nan))
    other.write_bytes(other.read_bytes()[:-7])
    result = commands.evaluate(small_run, str(tmp_path / "f"), out=tmp_path / "e")
    assert (result.metrics.clips, result.metrics.failed) == (12, 2)
    assert "NaN or infinite" in (tmp_path / "e" / "predictions.csv").read_text(encoding="utf-8")


def test_what_needs_the_videos_is_refused(small_run: Path, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds features of clips: windows, and another order of frames, need the vid"):
        commands.evaluate(small_run, str(exported), out=tmp_path / "e", frame_order="reversed")
    with pytest.raises(UsageError, match="holds features of clips"):
        commands.evaluate(small_run, str(exported), out=tmp_path / "e", mode="window")
