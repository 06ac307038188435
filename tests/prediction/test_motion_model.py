"""A model that was trained with `fit: motion`: evaluation, prediction, windows and live read the contract's regions."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import marey
from conftest import CallMarey
from marey import commands
from marey.encoders import FeatureCache
from marey.video import decode, write_video
from moving_figure import RATE, scene

PLACES = ((0.25, 0.2), (0.7, 0.3), (0.3, 0.8), (0.75, 0.75))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small_changes: list[str]) -> Iterator[Path]:
    """The folder of a run on figures that sway, slowly or quickly, in the corners of the frame."""
    root = tmp_path_factory.mktemp("motion")
    for label, step in (("quick", 2), ("slow", 1)):
        (root / "clips" / label).mkdir(parents=True)
        for number, at in enumerate(PLACES):
            frames = scene(at=at, seconds=2.0 * step)[::step]
            write_video(root / "clips" / label / f"p{number}_{label}.mp4", frames, frame_rate=RATE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAREY_CACHE", str(root / "cache"))
        commands.train(
            str(root / "clips"),
            recipe="chronophotograph",
            out=root / "run",
            set=[*small_changes, "fit=motion", "training.inner_folds=2"],
        )
        yield root / "run"


def test_evaluation_and_prediction_read_the_same_region(run: Path, tmp_path: Path) -> None:
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    model = marey.Predictor(run, cache=FeatureCache(tmp_path))
    for row, prediction in zip(rows, model.predict([row["path"] for row in rows]), strict=True):
        assert prediction.confidence == pytest.approx(float(row["confidence"]), abs=1e-5)


def test_the_model_says_motion(run: Path) -> None:
    configs = [json.loads(path.read_text()) for path in run.rglob("config.json")]
    assert {config["contract"]["fit"] for config in configs if "contract" in config} == {"motion"}


def test_frames_in_memory_are_predicted_as_their_file(run: Path) -> None:
    path = min((run.parent / "clips").rglob("*.mp4"))
    frames = decode(path, torch.arange(50).numpy() / RATE + 0.02).data
    model = marey.Predictor(run)
    (of_file,), (of_array,) = model.predict(path), model.predict(frames, frame_rate=RATE)
    assert of_array.confidence == pytest.approx(of_file.confidence, abs=0.02)


def test_long_video_is_annotated_and_streamed(run: Path, tmp_path: Path, call_marey: CallMarey) -> None:
    video = tmp_path / "long.mp4"
    write_video(video, torch.cat([scene(at=at) for at in PLACES[:2]]), frame_rate=RATE)
    done = call_marey("predict", run, video, "--mode", "window", "--window", "1", "--annotate", tmp_path / "seen.mp4")
    assert done.code == 0, done.err
    assert (tmp_path / "seen.mp4").stat().st_size
    assert list(marey.Predictor(run).stream(video))
