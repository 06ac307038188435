"""A frame that stays on screen for minutes: surveillance and screen recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_windows import RAW, MakeModel, make_model  # noqa: F401 - a fixture

from loopback import Camera
from marey.encoders import Contract
from marey.prediction import Segmentation
from marey.prediction.frame_sampler import FrameSampler
from marey.video import Sampling, open_live, play

PAUSE = 600.0  # s
PERIOD = 0.25


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory, make_video: Any) -> Path:
    """Return a video of twelve frames, with ten minutes between the sixth and the seventh."""
    times = [index / 5 + (PAUSE if index > 5 else 0) for index in range(12)]
    path: Path = make_video(tmp_path_factory.mktemp("paused") / "paused.mp4", pts=times, size=(48, 64))
    return path


def test_the_timestamps_of_a_pause_come_in_pieces_and_all_of_them(make_model: MakeModel, paused: Path) -> None:  # noqa: F811
    contract: Contract = make_model("gru")[0].model.config.contract
    with play(paused) as playback:
        sampler = FrameSampler(playback, contract, PERIOD)
        pieces = [(frame.number, [sample.index for sample in samples]) for frame, samples in sampler]
    assert max(len(samples) for _, samples in pieces) <= 65
    indices = [index for _, samples in pieces for index in samples]
    assert indices == list(range(len(indices)))
    assert len(indices) == pytest.approx((PAUSE + 2.4) / PERIOD, abs=2)
    assert sorted({number for number, _ in pieces}) == list(range(12))


def test_a_pause_is_encoded_and_classified_once(make_model: MakeModel, paused: Path) -> None:  # noqa: F811
    predictor, encoder = make_model("gru", sampling=Sampling(count=8))
    before = encoder.images
    timeline = predictor.timeline(paused, segmentation=RAW.model_copy(update={"window": 2.0}))
    assert encoder.images - before <= 12
    inside = timeline.probabilities[(timeline.times > 5) & (timeline.times < PAUSE - 5)]
    assert len(inside) > 2000
    np.testing.assert_allclose(inside, np.broadcast_to(inside[0], inside.shape), atol=1e-6)


def test_each_frame_before_and_after_a_pause_is_handed_to_on_frame_once(
    make_model: MakeModel,  # noqa: F811
    paused: Path,
) -> None:
    predictor, _ = make_model("gru")
    numbers: list[int] = []
    with pytest.warns(DeprecationWarning, match="stream_frames"):
        for _ in predictor.stream(
            paused, segmentation=Segmentation(window=2.0), on_frame=lambda frame, _: numbers.append(frame.number)
        ):
            pass
    assert numbers == list(range(12))


def test_after_an_interruption_windows_begin_anew_and_time_goes_on(make_model: MakeModel) -> None:  # noqa: F811
    predictor, _ = make_model("gru", sampling=Sampling(count=8))
    rule = Segmentation(window=0.5, stride=0.1, smooth=0.0)
    found, frames = [], []
    with (
        Camera(hurried=True, count=60) as camera,
        open_live(camera.url, buffer=1000, drop="never", reconnect=3000.0) as playback,
    ):
        for frame, predictions in predictor.stream_frames(playback, segmentation=rule, inference="window"):
            frames.append(frame)
            found += predictions
            if len([frame for frame in frames if frame.gap]) == 2:
                break
    starts = [frame.time for frame in frames if frame.gap]
    assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)
    first = [prediction for prediction in found if prediction.time < starts[0]]
    second = [prediction for prediction in found if starts[0] <= prediction.time < starts[1]]
    assert len(first) == len(second) > 3
    for one, other in zip(first, second, strict=True):  # the camera shows the same again
        assert other.time - starts[0] == pytest.approx(one.time)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
        assert other.lost > one.lost == 0
        assert "lost" in other.as_dict(1)
        assert "lost" not in one.as_dict(1)
