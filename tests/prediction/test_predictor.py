from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from marey.data import Clip
from marey.encoders import EncoderSpec, FeatureCache, Progress, load_encoder
from marey.errors import ModelFormatError, UsageError, VideoError
from marey.evaluation import read_predictions
from marey.models import ActionModel, load_model
from marey.prediction import Prediction, Predictor
from marey.video import decode, probe


@pytest.fixture(scope="module")
def predictor(small_run: Path) -> Predictor:
    return Predictor(small_run)


@pytest.fixture(scope="module")
def clip(small_set: Path) -> Path:
    return sorted(small_set.rglob("*.mp4"))[0]


def frames_of(path: Path) -> torch.Tensor:
    info = probe(path)
    return decode(path, np.arange(info.frame_count or 0) / info.frame_rate).data


def test_a_file_gets_every_label_most_probable_first(predictor: Predictor, clip: Path) -> None:
    (prediction,) = predictor.predict(clip)
    assert prediction.source == str(clip)
    assert sorted(prediction.labels) == sorted(predictor.labels) == ["boxing", "walking"]
    assert prediction.label == prediction.labels[0]
    assert prediction.confidence == prediction.probabilities[0] == max(prediction.probabilities)
    assert sum(prediction.probabilities) == pytest.approx(1.0)
    assert prediction.reason is None


def test_predict_gives_the_probabilities_of_the_evaluation_for_every_tested_file(
    predictor: Predictor, small_run: Path
) -> None:
    labels, rows = read_predictions(small_run / "predictions.csv")
    assert len(rows) >= 2
    for row in rows:
        (prediction,) = predictor.predict(row.path)
        predicted = dict(zip(prediction.labels, prediction.probabilities, strict=True))
        assert row.probabilities is not None
        assert [predicted[label] for label in labels] == pytest.approx(row.probabilities, abs=1e-5)


def test_predict_gives_a_file_the_same_alone_with_others_and_without_the_cache(
    predictor: Predictor, small_run: Path, small_set: Path, clip: Path, tmp_path: Path
) -> None:
    (alone,) = predictor.predict(clip)
    assert alone in predictor.predict(small_set)
    fresh = Predictor(small_run, cache=FeatureCache(tmp_path))
    together = {prediction.source: prediction for prediction in fresh.predict(small_set)}
    assert together[str(clip)].probabilities == pytest.approx(alone.probabilities, abs=1e-5)


def test_files_folders_and_patterns_go_together(predictor: Predictor, small_set: Path, clip: Path) -> None:
    found = predictor.predict([clip, str(small_set / "walking" / "person0[12]*.mp4"), small_set / "boxing"])
    assert len(found) == 8
    assert found[0].source == str(clip)


def test_frames_in_memory_are_predicted_as_their_file(predictor: Predictor, clip: Path) -> None:
    (file,) = predictor.predict(clip)
    frames = frames_of(clip)
    for array in (frames, frames.numpy(), frames.permute(0, 2, 3, 1).numpy()):
        (memory,) = predictor.predict(array, frame_rate=probe(clip).frame_rate)
        assert memory.source == "array 1"
        assert memory.labels == file.labels
        assert memory.probabilities == pytest.approx(file.probabilities, abs=0.02)  # resized on another way


def test_a_clip_keeps_its_span_beside_its_file(predictor: Predictor, clip: Path) -> None:
    span = Clip(clip, start=0.2, end=0.8)
    whole, part, again = predictor.predict([clip, span, span])
    assert (part.source, part) == (span.id, again)
    assert part.probabilities != whole.probabilities
    assert predictor.predict(span) == [part]


def test_predictions_come_in_the_order_of_the_sources(predictor: Predictor, clip: Path) -> None:
    frames = frames_of(clip)
    found = predictor.predict([frames, clip, frames], frame_rate=25.0)
    assert [prediction.source for prediction in found] == ["array 1", str(clip), "array 2"]
    assert found[0].probabilities == found[2].probabilities


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 8, 8), np.uint8),
        np.zeros((4, 8, 8, 4), np.uint8),
        np.zeros((4, 8, 8, 3), np.float32),
        torch.zeros(4, 3, 8, 8),
        np.zeros(3, np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_arrays_that_are_not_frames_are_refused(predictor: Predictor, array: Any) -> None:
    with pytest.raises(UsageError, match="uint8"):
        predictor.predict(array, frame_rate=25.0)


@pytest.mark.parametrize("frame_rate", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_frame_rate_is_refused(predictor: Predictor, frame_rate: float) -> None:
    with pytest.raises(UsageError):
        predictor.predict(np.zeros((4, 8, 8, 3), np.uint8), frame_rate=frame_rate)


def test_frames_need_their_rate(predictor: Predictor) -> None:
    frames: npt.NDArray[np.uint8] = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(UsageError, match=r"frame_rate=25\.0"):
        predictor.predict(frames)


def test_a_file_that_cannot_be_used_has_its_reason_beside_the_others(
    predictor: Predictor, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all\n" * 50)
    bad = ["none.mp4", "empty.mp4", "text.mp4"]
    found = predictor.predict([*(tmp_path / name for name in bad), clip])
    assert [prediction.reason for prediction in found] == ["missing", "empty", "not_video", None]
    assert all(prediction.detail and prediction.label is None for prediction in found[:3])
    assert all(prediction.confidence is None and prediction.top(3) == () for prediction in found[:3])


def test_no_sources_give_no_predictions(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_progress_is_reported_after_each_file(predictor: Predictor, small_set: Path) -> None:
    told: list[Progress] = []
    predictor.predict(small_set / "boxing", on_progress=told.append)
    assert [progress.done for progress in told] == [1, 2, 3, 4, 5, 6]


def test_another_order_of_the_frames_gives_other_probabilities(predictor: Predictor, clip: Path) -> None:
    given, turned = (predictor.probabilities([Clip(clip)], order=order)[0] for order in ("given", "reversed"))
    assert not isinstance(given, VideoError)
    assert not isinstance(turned, VideoError)
    assert given != turned


def test_a_folder_that_is_not_a_model_and_a_damaged_one_are_named(tmp_path: Path, small_run: Path) -> None:
    with pytest.raises(ModelFormatError, match="is not a model"):
        Predictor(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((small_run / "model" / name).read_bytes()[:100])
    with pytest.raises(ModelFormatError, match=r"config\.json cannot be read"):
        Predictor(tmp_path)


def test_a_model_of_other_encoder_weights_is_refused(small_run: Path) -> None:
    model = load_model(small_run)
    contract = model.config.contract.model_copy(update={"encoder_hash": "0" * 32})
    other = ActionModel(model.config.model_copy(update={"contract": contract}), model.classifier)
    with pytest.raises(ModelFormatError, match=r"trained on features of mobilenetv3_small_050 .*train it again"):
        Predictor(other)


def test_a_predictor_takes_a_loaded_model_and_a_loaded_encoder(
    small_run: Path, clip: Path, predictor: Predictor
) -> None:
    model = load_model(small_run / "model")
    encoder = load_encoder(EncoderSpec.model_validate(model.config.contract.encoder.model_dump()))
    assert Predictor(model, encoder=encoder).predict(clip) == predictor.predict(clip)


def test_below_the_threshold_the_label_is_none_and_the_probabilities_stay(predictor: Predictor, clip: Path) -> None:
    (known,) = predictor.predict(clip)
    assert known.confidence is not None
    (same,) = predictor.predict(clip, threshold=known.confidence)
    (none,) = predictor.predict(clip, threshold=known.confidence + 1e-9)
    assert (same.label, none.label) == (known.label, None)
    assert (none.labels, none.probabilities, none.confidence) == (known.labels, known.probabilities, known.confidence)
    frames = np.zeros((10, 64, 64, 3), np.uint8)
    assert predictor.predict(frames, frame_rate=10.0, threshold=1.0, unknown="never")[0].label is None
    assert none.as_dict(2)["label"] is None
    assert none.as_dict(2)["top"] == known.as_dict(2)["top"]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_of_0_to_1_is_refused(predictor: Predictor, clip: Path, threshold: float) -> None:
    with pytest.raises(UsageError, match=r"threshold=\S+: a probability lies from 0 to 1"):
        predictor.predict(clip, threshold=threshold)


def test_a_prediction_as_json_has_the_agreed_keys() -> None:
    prediction = Prediction("a.mp4", ("walk", "run", "box"), (0.5, 0.3, 0.2))
    assert prediction.as_dict(2) == {
        "source": "a.mp4",
        "label": "walk",
        "confidence": 0.5,
        "top": [["walk", 0.5], ["run", 0.3]],
    }
    failed = Prediction("b.mp4", (), (), "empty", "no bytes")
    assert failed.as_dict(2) == {"source": "b.mp4", "reason": "empty", "detail": "no bytes"}


def test_the_text_of_a_prediction_is_short() -> None:
    assert repr(Prediction("a.mp4", ("walk", "run"), (0.75, 0.25))) == (
        "Prediction('a.mp4', label='walk', confidence=0.750)"
    )
    assert repr(Prediction("b.mp4", (), (), "empty", "no bytes")) == "Prediction('b.mp4', reason='empty')"
