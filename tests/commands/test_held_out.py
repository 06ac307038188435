"""`marey evaluate RUN`: the held-out clips of a run, each tested by a model that has not seen it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from marey import commands
from marey.errors import DatasetError, UsageError
from marey.evaluation import read_predictions
from marey.models import load_model

REGEX = r"(p\w+)_"


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory, small_set: Path, small_changes: list[str]) -> Path:
    """A run in three folds, on two actions of six people under names that no known pattern reads; not to be changed."""
    root = tmp_path_factory.mktemp("folded")
    for path in sorted(small_set.rglob("*.mp4")):
        action, person = path.parent.name, path.name.split("_")[0]
        (root / "clips" / action).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / "clips" / action / f"p{person[-2:]}_{action[:3]}.mp4")
    broken = root / "clips" / "walking" / "p01_broken.mp4"
    broken.write_bytes(b"no video")
    commands.data.scan(str(root / "clips"), quarantine=root / "bad.csv")
    commands.train(
        str(root / "clips"),
        out=root / "run",
        folds="3",
        set=small_changes,
        group_regex=REGEX,
        exclude=root / "bad.csv",
    )
    return root


def test_evaluate_without_data_repeats_the_run_fold_by_fold(folded: Path, tmp_path: Path) -> None:
    result = commands.evaluate(folded / "run", out=tmp_path / "e")
    before, after = (read_predictions(folder / "predictions.csv")[1] for folder in (folded / "run", tmp_path / "e"))
    for old, new in zip(before, after, strict=True):
        assert (Path(old.clip).name, old.label, old.group, old.fold) == (
            Path(new.clip).name,
            new.label,
            new.group,
            new.fold,
        )
        assert new.probabilities == pytest.approx(old.probabilities, abs=1e-5)
    assert (result.metrics.leak, result.metrics.clips, len(result.metrics.excluded)) == (None, 12, 1)
    assert result.metrics.protocol == json.loads((folded / "run" / "metrics.json").read_text())["protocol"]


def test_evaluate_on_the_data_of_the_run_tests_no_clip_by_a_model_that_learned_from_it(
    folded: Path, tmp_path: Path
) -> None:
    result = commands.evaluate(folded / "run", str(folded / "clips"), out=tmp_path / "e")
    assert result.metrics.leak is None
    assert result.metrics.accuracy == json.loads((folded / "run" / "metrics.json").read_text())["accuracy"]


def test_a_shuffled_test_stands_beside_the_given_one_with_the_interval_of_the_difference(
    folded: Path, tmp_path: Path
) -> None:
    result = commands.evaluate(folded / "run", frame_order="shuffled", out=tmp_path / "e")
    effect = result.frame_order
    assert effect is not None
    assert effect.given.accuracy == json.loads((folded / "run" / "metrics.json").read_text())["accuracy"]
    assert (effect.changed.accuracy, effect.difference.clips) == (result.metrics.accuracy, 12)
    assert effect.difference.accuracy == pytest.approx(effect.given.accuracy - effect.changed.accuracy)
    assert effect.difference.interval is not None
    written = json.loads((tmp_path / "e" / "frame_order.json").read_text())
    assert written == result.as_dict()["frame_order"]
    page = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "Use of temporal order" in page
    assert "leave" not in page.split("Use of temporal order")[1][:30]


@pytest.mark.long
def test_results_that_are_given_no_place_lie_beside_the_run(folded: Path) -> None:
    run = folded / "run"
    assert commands.evaluate(run).folder == folded / "run-held-out"
    assert commands.evaluate(run, frame_order="reversed").folder == folded / "run-held-out-reversed"
    assert commands.evaluate(run / "model", str(folded / "clips")).folder == folded / "run-on-clips"


def test_a_run_is_found_again_from_another_folder_and_after_its_data_have_moved(
    folded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    moved = Path(shutil.copytree(folded, tmp_path / "moved"))
    result = commands.evaluate(Path("moved/run"), "moved/clips", group_regex=REGEX, exclude=moved / "bad.csv")
    assert result.metrics.clips == 12
    shutil.rmtree(tmp_path / "moved")


def test_evaluate_without_data_is_refused_where_the_data_have_changed_or_are_not_known(
    folded: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(folded / "run" / "model", tmp_path / "model"))
    with pytest.raises(UsageError, match="does not say which data it was trained on"):
        commands.evaluate(model, out=tmp_path / "e")
    run = Path(shutil.copytree(folded / "run", tmp_path / "run"))
    values = json.loads((run / "run.json").read_text())
    values["origin"]["exclude"] = None
    (run / "run.json").write_text(json.dumps(values))
    with pytest.raises(UsageError, match=r"they have changed since.*--part all"):
        commands.evaluate(run, out=tmp_path / "e")
    with pytest.raises(UsageError, match="split=test needs data"):
        commands.evaluate(run, out=tmp_path / "e", split="test")


def test_the_model_of_all_clips_says_that_it_learned_from_them(folded: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(folded / "run" / "model", tmp_path / "model"))
    result = commands.evaluate(
        model, str(folded / "clips"), group_regex=REGEX, exclude=folded / "bad.csv", out=tmp_path / "e"
    )
    assert "12 identical files are on both sides of the split" in (result.metrics.leak or "")
    assert "6 groups are called as in the training (p01, p02, p03, ...)" in (result.metrics.leak or "")


def test_other_video_of_people_whom_the_model_knows_is_said_to_be_so(
    folded: Path, small_run: Path, tmp_path: Path, make_video: object
) -> None:
    model = load_model(folded / "run")
    assert model.config.made_with["groups"] == [f"p0{number}" for number in range(1, 7)]
    clip = tmp_path / "clips" / "boxing" / "p03_new.mp4"
    clip.parent.mkdir(parents=True)
    assert callable(make_video)
    make_video(clip, seconds=1.0)
    result = commands.evaluate(folded / "run", str(tmp_path / "clips"), group_regex=REGEX, out=tmp_path / "e")
    assert result.metrics.leak == (
        "1 group is called as in the training (p03): if they are the same, this number is too high for new video"
    )
    table = tmp_path / "untrimmed.csv"
    table.write_text(f"path,label,group,start,end\n{clip},boxing,p03,0,0.5\n{clip},walking,p03,0.5,1\n")
    untrimmed = commands.evaluate(folded / "run", str(table), mode="window", out=tmp_path / "w")
    assert [leak.value for leak in untrimmed.evaluation.leaks] == ["p03"]
    assert "called as in the training (p03)" in (tmp_path / "w" / "report.html").read_text(encoding="utf-8")


def test_labels_that_the_model_does_not_have_are_refused_before_any_clip_is_read(folded: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    clip = next((folded / "clips").rglob("*.mp4"))
    table.write_text(f"path,label\n{clip},boxing\n{tmp_path / 'none.mp4'},bowing\n")
    (tmp_path / "none.mp4").write_bytes(b"is never opened")
    for mode in ("clip", "window"):
        with pytest.raises(DatasetError, match="the model has no label 'bowing'; did you mean 'boxing'"):
            commands.evaluate(folded / "run", str(table), mode=mode, out=tmp_path / mode)
        assert not (tmp_path / mode).exists()


def test_results_are_never_mixed_with_a_run_or_with_other_things(folded: Path, small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(folded / "run", tmp_path / "run"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="holds a run; give an evaluation a folder of its own"):
        commands.evaluate(run, str(folded / "clips"), out=run)
    with pytest.raises(UsageError, match="holds a model"):
        commands.evaluate(run, out=run / "model")
    with pytest.raises(UsageError, match="holds a run; give a comparison a folder of its own"):
        commands.compare(str(folded / "clips"), recipes="default-0.1", out=run)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metrics.json").write_text("mine")
    with pytest.raises(UsageError, match="holds other things than an evaluation"):
        commands.evaluate(run, out=tmp_path / "mine")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert (tmp_path / "mine" / "metrics.json").read_text() == "mine"


@pytest.mark.long
def test_an_evaluation_replaces_an_earlier_one(folded: Path, tmp_path: Path) -> None:
    for _ in range(2):
        commands.evaluate(folded / "run", out=tmp_path / "e")


@pytest.mark.long
def test_quantize_asks_for_nothing_that_the_run_remembers(folded: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="nncf is not installed")
    pytest.importorskip("openvino", reason="openvino is not installed")
    assert commands.quantize(folded / "run", out=tmp_path / "int8", engine="pytorch").clips == 12
