"""Explanations of answers: their sums, their spans, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch

from marey.data import Clip
from marey.encoders import Contract, EncoderSpec, FeatureCache, MultiView, Stream, load_encoder, region_seen
from marey.errors import UnknownNameError, VideoError
from marey.models import ActionModel, HeadSpec, ModelConfig, new_classifier
from marey.prediction import Explanation, Predictor, explain_clip
from marey.synthetic import FRAME_RATE, draw
from marey.video import Region, Sampling, write_video


@pytest.fixture(scope="module")
def predictor(small_run: Path) -> Predictor:
    return Predictor(small_run)


@pytest.fixture(scope="module")
def clip(small_set: Path) -> Clip:
    return Clip(min(small_set.rglob("*boxing*.mp4")))


@pytest.fixture(scope="module")
def explanation(predictor: Predictor, clip: Clip) -> Explanation:
    return explain_clip(predictor, clip)


def network(tmp_path: Path, *, fusion: str = "late", head: str = "c3d-lstm-gru") -> Predictor:
    """A network on eight frames of 32 x 32 pixels that was never trained, with two streams."""
    encoder = load_encoder(EncoderSpec(name="pixels", size=32), frames=8)
    contract = encoder.contract(
        sampling=Sampling(count=8),
        streams={"frames": Stream(kind="appearance"), "change": Stream(kind="difference")},
        fit="stretch",
    )
    spec = HeadSpec.model_validate({"name": head, "fusion": fusion, "options": {"filters": 2} if "c3d" in head else {}})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = new_classifier(contract, spec, 3).eval()
    model = ActionModel(ModelConfig(contract=contract, head=spec, labels=("a", "b", "c")), classifier)
    return Predictor(model, encoder=encoder, cache=FeatureCache(tmp_path / "features"))


def still(path: Path) -> Clip:
    """A clip in which nothing moves."""
    frame = draw("boxing", actor=1, duration=0.04)[:1]
    write_video(path, frame.expand(25, -1, -1, -1), frame_rate=FRAME_RATE, crf=0)
    return Clip(path)


def test_the_margin_is_that_of_the_prediction(predictor: Predictor, clip: Clip, explanation: Explanation) -> None:
    (prediction,) = predictor.predict(clip, unknown="never")
    first, second = prediction.probabilities[:2]
    assert (explanation.label, explanation.explained, explanation.rival) == (prediction.label, *prediction.labels[:2])
    assert explanation.confidence == pytest.approx(first, abs=1e-6)
    assert explanation.margin == pytest.approx(log(first / second), abs=1e-4)


def test_streams_times_and_places_of_linear_heads_add_up_to_the_margin(explanation: Explanation) -> None:
    assert sum(stream.contribution for stream in explanation.streams) == pytest.approx(explanation.margin, abs=1e-6)
    assert explanation.where_by == "decomposition"
    assert explanation.where is not None
    # Both leave out the answer for a clip of which nothing is known.
    assert explanation.where.sum() == pytest.approx(explanation.when.sum(), abs=1e-3)
    places = [stream.where for stream in explanation.streams if stream.where is not None]
    times = [stream.when for stream in explanation.streams if stream.when is not None]
    assert (len(places), len(times)) == (2, 2)
    assert explanation.where == pytest.approx(places[0] + places[1])
    assert explanation.when == pytest.approx(times[0] + times[1])
    assert explanation.where.shape == (4, 2, 2)


def test_the_parts_in_time_cover_the_clip(explanation: Explanation) -> None:
    assert explanation.edges.tolist() == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert explanation.middles.tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875])


def test_the_other_class_of_two_has_the_opposite_explanation(
    predictor: Predictor, clip: Clip, explanation: Explanation
) -> None:
    other = explain_clip(predictor, clip, label=explanation.rival)
    assert (other.label, other.explained, other.rival) == (explanation.label, explanation.rival, explanation.label)
    assert other.margin == pytest.approx(-explanation.margin)
    assert other.when == pytest.approx(-explanation.when)
    assert other.sufficient == explanation.sufficient


def test_the_shortest_span_gives_the_same_answer_and_no_shorter_one_does(
    predictor: Predictor, clip: Clip, explanation: Explanation
) -> None:
    found: list[dict[str, torch.Tensor]] = []
    predictor.predict(clip, on_features=lambda _, features: found.append(features))
    classifier, answer = predictor.model.classifier, predictor.labels.index(explanation.label)

    def label_of(first: int, last: int) -> int:
        mask = torch.zeros(1, 4, dtype=torch.bool)
        mask[0, first : last + 1] = True
        return int(classifier({name: values[None] for name, values in found[0].items()}, mask).argmax())

    span = explanation.sufficient
    assert span.label == explanation.label
    assert label_of(span.first, span.last) == answer
    shorter = span.last - span.first
    assert all(label_of(first, first + shorter - 1) != answer for first in range(5 - shorter) if shorter)


def test_a_span_has_the_frames_that_its_streams_read(explanation: Explanation) -> None:
    span = explanation.sufficient
    assert 0 <= span.start <= explanation.edges[span.first]
    assert explanation.edges[span.last + 1] <= span.end <= 1.0


def test_shares_and_heat_lie_from_0_to_1(explanation: Explanation) -> None:
    shares, heat = explanation.place_shares(), explanation.heat()
    assert shares is not None
    assert heat is not None
    assert shares.sum() == pytest.approx(1.0)
    assert (heat.min(), heat.max()) == (0.0, 1.0) or heat.max() == 1.0 > heat.min() >= 0


def test_an_explanation_is_the_same_each_time(predictor: Predictor, clip: Clip, explanation: Explanation) -> None:
    assert explain_clip(predictor, clip).as_dict() == explanation.as_dict()


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_a_network_owes_nothing_to_the_times_of_a_clip_in_which_nothing_moves(fusion: str, tmp_path: Path) -> None:
    found = explain_clip(network(tmp_path, fusion=fusion), still(tmp_path / "still.mp4"))
    assert found.when_by == "still"
    assert found.when == pytest.approx(np.zeros(8), abs=1e-5)
    assert found.needed is None
    assert (found.sufficient.first, found.sufficient.last) == (0, 0)


def test_a_network_is_explained_by_its_last_map_and_by_what_its_streams_change(tmp_path: Path, clip: Clip) -> None:
    late = explain_clip(network(tmp_path), clip)
    assert late.where_by == "gradients of the last map"
    assert late.where is not None
    assert late.where.shape == (8, 2, 2)
    assert sum(stream.contribution for stream in late.streams) == pytest.approx(late.margin, abs=1e-6)
    early = explain_clip(network(tmp_path, fusion="early"), clip)
    assert early.where is not None
    assert [(stream.name, stream.when, stream.where) for stream in early.streams] == [
        ("frames", None, None),
        ("change", None, None),
    ]


def test_an_encoder_without_places_is_explained_by_what_is_covered(
    predictor: Predictor, clip: Clip, tmp_path: Path
) -> None:
    spec = EncoderSpec(name="mobilenetv3_small_050", weights="random", size=64)
    encoder = load_encoder(spec, frames=4, engine="pytorch")
    contract = encoder.contract(
        sampling=Sampling(count=4), streams={"frames": Stream(kind="appearance")}, fit="stretch"
    )
    head = HeadSpec(name="mean", options={})
    classifier = new_classifier(contract, head, 2).eval()
    model = ActionModel(ModelConfig(contract=contract, head=head, labels=("a", "b")), classifier)
    found = explain_clip(Predictor(model, encoder=encoder, cache=FeatureCache(tmp_path / "features")), clip)
    assert (found.when_by, found.where_by) == ("left out", "occlusion")
    assert found.where is not None
    assert found.where.shape == (4, 4, 4)
    nothing = explain_clip(
        Predictor(model, encoder=encoder, cache=FeatureCache(tmp_path / "features")), still(tmp_path / "still.mp4")
    )
    assert nothing.where == pytest.approx(np.zeros((4, 4, 4)), abs=1e-4)


def test_a_model_of_several_views_explains_the_first_and_says_so(predictor: Predictor, clip: Clip) -> None:
    config = predictor.model.config
    contract = config.contract.model_copy(update={"testing": MultiView(clips=3)})
    model = replace(predictor.model, config=config.model_copy(update={"contract": contract}))
    found = explain_clip(Predictor(model, encoder=predictor.pipeline.encoder), clip)
    assert found.notes[0] == "The model averages 3 readings of a clip; this explains the first of them."


def test_a_class_that_the_model_does_not_have_is_refused_with_those_that_it_has(
    predictor: Predictor, clip: Clip
) -> None:
    with pytest.raises(UnknownNameError, match="no class of this model is called 'boxng'; did you mean 'boxing'"):
        explain_clip(predictor, clip, label="boxng")


def test_a_file_that_is_no_video_is_refused_with_its_reason(predictor: Predictor, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    with pytest.raises(VideoError, match="not_video"):
        explain_clip(predictor, Clip(broken))
    with pytest.raises(VideoError, match="missing"):
        explain_clip(predictor, Clip(tmp_path / "none.mp4"))


def test_the_region_that_is_seen_follows_the_fit(predictor: Predictor, tmp_path: Path) -> None:
    contract: Contract = predictor.model.config.contract  # a square input
    wide = tmp_path / "wide.mp4"
    write_video(wide, torch.zeros(10, 3, 64, 128, dtype=torch.uint8), frame_rate=10.0)
    assert region_seen(Clip(wide), contract) == Region(0, 0, 1, 1)
    cropped = contract.model_copy(update={"fit": "crop"})
    assert region_seen(Clip(wide), cropped) == Region(0, 0.25, 1, 0.75)
    tall = tmp_path / "tall.mp4"
    write_video(tall, torch.zeros(10, 3, 128, 64, dtype=torch.uint8), frame_rate=10.0)
    assert region_seen(Clip(tall), cropped) == Region(0.25, 0, 0.75, 1)
    moving = tmp_path / "moving.mp4"
    frames = torch.full((30, 3, 120, 160), 90, dtype=torch.uint8)
    for index in range(30):
        frames[index, :, 30:50, 100 + index : 120 + index] = 220
    write_video(moving, frames, frame_rate=FRAME_RATE)
    seen = region_seen(Clip(moving), contract.model_copy(update={"fit": "motion"}))
    assert seen.contains(Region(30 / 120, 105 / 160, 48 / 120, 140 / 160))
    assert seen.area < 0.6
