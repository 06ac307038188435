"""Testing in several ways: other moments and other parts of the picture, and what they say together."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import marey
from conftest import MakeVideo
from marey import commands
from marey.data import Clip
from marey.encoders import EncoderSpec, FeatureCache, MultiView, PixelEncoder, Stream, View, read_clip
from marey.errors import RecipeError, UnknownNameError
from marey.prediction import mean_of_views
from marey.training import load_recipe
from marey.video import Sampling, decode

SMALL = ["encoder.size=32", "sampling.count=3", "training.epochs=2", "training.batch_size=8"]


def test_one_way_is_the_plain_one() -> None:
    assert MultiView().views == (View(),)


def test_three_crops_of_two_clips_are_six_views() -> None:
    views = MultiView(clips=2, crops=3).views
    assert len(set(views)) == 6
    assert {view.anchor for view in views} == {"first", "middle", "last"}
    assert {view.part for view in views} == {(0, 2), (1, 2)}


def test_a_crop_looks_at_either_end(make_video, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = make_video(tmp_path / "wide.mp4", size=(60, 160))
    whole = decode(path, [0.0], size=(60, 160)).data
    for anchor, left in (("first", 0), ("middle", 50), ("last", 100)):
        part = decode(path, [0.0], size=(60, 60), fit="crop", anchor=anchor).data  # type: ignore[arg-type]
        assert (part.int() - whole[..., left : left + 60].int()).abs().float().mean() < 2
    with pytest.raises(UnknownNameError, match="choose one of: first, last, middle"):
        decode(path, [0.0], size=(60, 60), fit="crop", anchor="centre")  # type: ignore[arg-type]


def test_a_clip_is_read_as_the_view_says(make_video, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = make_video(tmp_path / "wide.mp4", seconds=2.0, size=(60, 160))
    encoder = PixelEncoder(EncoderSpec(name="pixels", size=60))
    contract = encoder.contract(
        sampling=Sampling(count=2),
        streams={"seen": Stream(kind="appearance")},
        fit="crop",
        testing=MultiView(clips=2, crops=3),
    )
    late_right = read_clip(Clip(path), contract, view=View(part=(1, 2), anchor="last"))["seen"]
    instants = contract.sampling.instants(0.0, 2.0, part=(1, 2))
    expected = decode(path, instants, size=(60, 60), fit="crop", anchor="last", interpolation="area").data
    assert torch.equal(late_right, expected)


def test_crops_need_something_to_cut_off() -> None:
    with pytest.raises(RecipeError, match="needs fit: crop"):
        load_recipe("default", changes=["testing.crops=3"])


def test_the_views_of_a_clip_speak_with_their_mean() -> None:
    assert mean_of_views([(0.2, 0.8), (0.6, 0.4)]) == pytest.approx((0.4, 0.6))
    assert mean_of_views([(0.25, 0.75)]) == (0.25, 0.75)


def test_evaluation_and_prediction_average_the_same_views(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    changes = [*SMALL, "fit=crop", "testing.clips=2", "testing.crops=3"]
    commands.train(str(small_set), recipe="lrcn-small", out=tmp_path / "run", set=changes)
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    model = marey.Predictor(tmp_path / "run", cache=FeatureCache(tmp_path / "other"))
    clips = [Clip(Path(row["path"])) for row in rows]
    right = []
    for row, views in zip(rows, model.view_probabilities(clips), strict=True):
        assert isinstance(views, list)
        assert len(views) == 6
        assert len(set(views)) > 1
        expected = np.mean(views, axis=0)
        np.testing.assert_allclose([float(row[f"p_{label}"]) for label in model.labels], expected, atol=1e-9)
        right += [model.labels[int(np.argmax(one))] == row["label"] for one in views]
    for prediction, row in zip(model.predict([row["path"] for row in rows]), rows, strict=True):
        assert prediction.confidence == pytest.approx(float(row["confidence"]), abs=1e-9)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["view_accuracy"] == pytest.approx(sum(right) / len(right))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "accuracy of single views" in page
    again = commands.evaluate(tmp_path / "run", str(small_set), out=tmp_path / "again", part="all")
    assert again.metrics.view_accuracy is not None


@pytest.mark.long
def test_frames_in_memory_are_read_in_all_ways_too(
    small_set: Path, make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    commands.train(str(small_set), recipe="lrcn-small", out=tmp_path / "run", set=[*SMALL, "testing.clips=3"])
    model = marey.Predictor(tmp_path / "run")
    path = make_video(tmp_path / "a.mp4", seconds=4.0)
    frames = decode(path, np.arange(100) / 25.0 + 0.02).data
    (of_array,) = model.predict(frames, frame_rate=25.0)
    (short,) = model.view_probabilities([Clip(path, end=4.0)])
    assert isinstance(short, list)
    np.testing.assert_allclose(sorted(of_array.probabilities), sorted(mean_of_views(short)), atol=0.02)


@pytest.mark.long
def test_a_run_in_one_way_says_nothing_of_views(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    result = commands.train(str(small_set), recipe="lrcn-small", out=tmp_path / "run", set=SMALL)
    assert result.metrics.view_accuracy is None
    assert "view_accuracy" not in result.metrics.as_dict()
