"""Skeletons from the first command to the last: training, evaluation, prediction, windows and other streams beside."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import marey
from conftest import CallMarey
from keypoint_writers import write_mmpose
from marey import commands
from marey.data import Clip
from marey.encoders import FeatureCache
from marey.errors import DatasetError
from marey.prediction import Segmentation
from marey.synthetic import ACTIONS, FRAME_RATE, draw_joints
from marey.video import write_video

ACTORS = 6
FLOOR = 0.7
"""Share of the clips of actors that it has not seen; 1 in 6 is what guessing gives."""


@pytest.fixture(scope="module")
def skeletons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded set's clips of seven actors as skeletons beside videos in which nothing is to be seen."""
    root = tmp_path_factory.mktemp("skeletons")
    for number, action in enumerate(ACTIONS):
        (root / action).mkdir()
        for actor in range(1, ACTORS + 1):
            path = root / action / f"person{actor:02d}_{action}_d1_uncomp.mp4"
            noise = torch.randint(0, 256, (1, 3, 16, 16), generator=torch.Generator().manual_seed(9 * number + actor))
            frames = noise.to(torch.uint8).expand(100, -1, -1, -1)  # no two files have the same content
            write_video(path, frames, frame_rate=FRAME_RATE)
            write_mmpose(path, [draw_joints(action, actor=actor)])
    return root


@pytest.fixture(scope="module")
def run(skeletons: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on them, tested on three folds of actors."""
    out = tmp_path_factory.mktemp("runs") / "pose"
    quick = ["training.inner_folds=1", "training.C=0.01"]
    commands.train(str(skeletons), recipe="pose", out=out, folds="3", set=quick)
    return out


def test_the_drawn_actions_are_learnt_from_joints_alone(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["accuracy"] > FLOOR


def test_a_prediction_is_that_of_the_evaluation(run: Path, skeletons: Path, tmp_path: Path) -> None:
    result = commands.evaluate(run, data=str(skeletons), out=tmp_path / "evaluation")
    assert result.metrics.clips == len(ACTIONS) * ACTORS
    model = marey.Predictor(run, cache=FeatureCache(tmp_path / "cache"))
    path = skeletons / "boxing" / "person01_boxing_d1_uncomp.mp4"
    moved = Path(shutil.copy(path, tmp_path / "clip.mp4"))
    shutil.copy(path.with_suffix(".json"), tmp_path / "clip.json")
    (one,), (other,) = model.predict(path), model.predict(moved)
    assert one.label == "boxing"
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def test_a_window_of_a_long_video_is_predicted_as_its_span_read_as_a_clip(run: Path, skeletons: Path) -> None:
    model = marey.Predictor(run)
    path = skeletons / "handwaving" / "person02_handwaving_d1_uncomp.mp4"
    timeline = model.timeline(path, segmentation=Segmentation(window=1.6, smooth=0.0))
    assert {segment.label for segment in timeline.segments} == {"handwaving"}
    predictions = list(model.stream(path, segmentation=Segmentation(window=1.6, smooth=0.0)))
    start = 20 * 0.05
    (clip,) = model.probabilities([Clip(path, start=start, end=start + 1.6)])
    prediction = next(each for each in predictions if each.time == pytest.approx(start + 1.6 - 0.025))
    found = dict(zip(prediction.labels, prediction.probabilities, strict=True))
    assert [found[label] for label in model.labels] == pytest.approx(clip, abs=0.02)


def test_a_clip_without_keypoints_is_unusable_and_the_others_are_not(
    run: Path, skeletons: Path, tmp_path: Path, call_marey: CallMarey
) -> None:
    path = skeletons / "boxing" / "person01_boxing_d1_uncomp.mp4"
    bare = Path(shutil.copy(path, tmp_path / "bare.mp4"))
    first, second = marey.Predictor(run).predict([bare, path])
    assert (first.reason, second.label) == ("missing", "boxing")
    assert "looked in" in first.detail
    assert "bare.json" in first.detail
    outcome = call_marey("predict", run, bare)
    assert "bare.json" in outcome.out + outcome.err
    assert "Traceback" not in outcome.err


def test_training_without_any_keypoints_says_what_was_looked_for(
    small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DatasetError, match="none of the 12 clips can be used"):
        commands.train(str(small_set), recipe="pose", out=tmp_path / "run")
    assert "_uncomp.json" in (tmp_path / "run" / "quarantine.csv").read_text()


def test_keypoints_may_lie_in_a_folder_of_their_own(run: Path, skeletons: Path, tmp_path: Path) -> None:
    for file in skeletons.rglob("*.json"):
        target = tmp_path / "poses" / file.relative_to(skeletons)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    for action in ("boxing", "walking"):
        shutil.copytree(skeletons / action, tmp_path / "clips" / action, ignore=shutil.ignore_patterns("*.json"))
    named = f"streams.pose.keypoints={tmp_path / 'poses'}"
    result = commands.train(
        str(tmp_path / "clips"), recipe="pose", out=tmp_path / "run", set=[named, "training.C=0.01"]
    )
    assert result.metrics.failed == 0


def test_skeletons_stand_beside_an_image_stream_with_a_head_each(
    skeletons: Path, tmp_path: Path, small_changes: list[str]
) -> None:
    for action in ("boxing", "walking"):
        shutil.copytree(skeletons / action, tmp_path / "clips" / action)
    streams = "streams={appearance: {kind: appearance}, pose: {kind: pose}}"
    changes = [
        *small_changes,
        streams,
        "sampling.count=16",
        "selection.first=[]",
        "training.inner_folds=2",
        "training.validation=0.3",
    ]
    out = tmp_path / "run"
    for fusion in ("stacked", "early"):
        result = commands.train(
            str(tmp_path / "clips"), recipe="auto", out=out / fusion, set=[*changes, f"head.fusion={fusion}"]
        )
        config = json.loads((out / fusion / "model" / "config.json").read_text())
        taken = set(config["contract"]["streams"])
        assert taken == ({"pose"} if fusion == "stacked" else {"appearance", "pose"})  # there is nothing to see
        assert result.metrics.failed == 0
        assert result.metrics.accuracy == 1.0 or fusion != "stacked"
        with (out / fusion / "predictions.csv").open(newline="") as file:
            row = next(csv.DictReader(file))
        (prediction,) = marey.Predictor(out / fusion, cache=FeatureCache(tmp_path / "other")).predict(row["path"])
        for label, probability in zip(prediction.labels, prediction.probabilities, strict=True):
            assert probability == pytest.approx(float(row[f"p_{label}"]), abs=1e-5)


def test_the_recipe_is_listed_with_its_own_features(call_marey: CallMarey) -> None:
    outcome = call_marey("models", "pose")
    assert outcome.code == 0
    assert "Linear" in outcome.out


def test_drawn_joints_lie_on_the_figure() -> None:
    from marey.synthetic import draw

    frames, joints = draw("handwaving", actor=1, duration=0.4), draw_joints("handwaving", actor=1, duration=0.4)
    ground = draw("empty", actor=1, duration=0.4)
    changed = (frames.int() - ground.int()).abs().sum(1).numpy()
    for frame in range(len(frames)):
        for x, y, there in joints[frame]:
            assert there == 1
            assert changed[frame, round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].max() > 40
    assert np.isfinite(joints).all()
