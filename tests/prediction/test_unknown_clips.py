"""Unknown clips, on drawn video: noise and black frames against people who box and walk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from marey.errors import UnknownNameError
from marey.models import load_model
from marey.prediction import UNKNOWN, Predictor, Segmentation
from marey.video import write_video


@pytest.fixture(scope="module")
def predictor(small_run: Path) -> Predictor:
    return Predictor(small_run)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("noise") / "noise.mp4"
    frames = np.random.default_rng(0).integers(0, 256, (75, 3, 64, 64), dtype=np.uint8)
    write_video(path, torch.from_numpy(frames), frame_rate=25)
    return path


def test_noise_is_unknown_with_a_reason_and_the_nearest_class(predictor: Predictor, noise: Path) -> None:
    (found,) = predictor.predict(noise)
    assert (found.label, found.unknown) == (UNKNOWN, True)
    assert found.unfamiliarity is not None
    assert found.unfamiliarity > 1
    clips = predictor.model.config.familiarity
    assert clips is not None
    assert found.why == f"unlike all {clips.clips} clips it learned from"
    values = found.as_dict(1)
    assert (values["label"], values["unknown"], values["nearest"]) == (UNKNOWN, True, found.labels[0])


def test_a_training_clip_is_known(predictor: Predictor, small_set: Path) -> None:
    found = predictor.predict(small_set)
    known = [each for each in found if not each.unknown]
    assert len(known) >= len(found) - 2
    assert all(each.label == each.labels[0] for each in known)
    assert known[0].as_dict(1)["unknown"] is False


def test_never_gives_the_most_probable_class(predictor: Predictor, noise: Path) -> None:
    (found,) = predictor.predict(noise, unknown="never")
    assert found.label == found.labels[0]
    assert found.unfamiliarity is not None
    with pytest.raises(UnknownNameError, match="mark"):
        predictor.predict(noise, unknown="perhaps")  # type: ignore[arg-type]


def test_windows_and_streams_of_noise_are_unknown_where_that_is_asked_for(predictor: Predictor, noise: Path) -> None:
    mark = Segmentation(unknown="mark")
    assert [segment.label for segment in predictor.timeline(noise, segmentation=mark).segments] == [UNKNOWN]
    assert UNKNOWN not in [segment.label for segment in predictor.timeline(noise).segments]
    streamed = list(predictor.stream(noise, inference="window", segmentation=mark))
    assert {each.label for each in streamed} == {UNKNOWN}
    assert streamed[-1].as_dict(1)["unfamiliarity"] > 1


def test_a_model_without_descriptions_says_nothing_of_unknown_clips(small_run: Path, noise: Path) -> None:
    (found,) = Predictor(replace(load_model(small_run), familiarity=None)).predict(noise)
    assert (found.unfamiliarity, found.unknown, found.label) == (None, False, found.labels[0])
    assert "unknown" not in found.as_dict(1)
