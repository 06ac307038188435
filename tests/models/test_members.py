"""The average of heads that were trained with several seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from marey.encoders import Contract, EncoderSpec, Stream
from marey.errors import ModelFormatError
from marey.models import (
    ActionModel,
    Classifier,
    HeadSpec,
    Members,
    ModelConfig,
    average,
    describable,
    describe,
    is_imprintable,
    load_model,
    new_classifier,
    save_model,
)
from marey.models.attribution import Pair, divide, outcomes
from marey.video import Sampling

LABELS = ("bend", "jump", "wave")
CONTRACT = Contract(
    sampling=Sampling(count=5),
    streams={"motion": Stream(kind="difference"), "frame": Stream(kind="appearance")},
    fit="stretch",
    encoder=EncoderSpec(name="resnet18"),
    encoder_hash="0" * 32,
    size=(160, 128),
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    dim=6,
)


def features(clips: int = 4) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(7)
    return {name: torch.randn(clips, 5, 6, generator=drawn) + 1 for name in CONTRACT.streams}


def members(head: str, count: int = 3) -> list[Classifier]:
    """Return classifiers of several seeds, with the same fixed parts and other weights."""
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        classifier = new_classifier(CONTRACT, HeadSpec(name=head, options={}), len(LABELS))
        classifier.prepare(features(20))
        for parameter in classifier.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        found.append(classifier.eval())
    return found


def model(head: str) -> tuple[ActionModel, list[Classifier]]:
    each = members(head)
    classifier, linear = average(each)
    spec = HeadSpec(name=head, options={})
    config = ModelConfig(contract=CONTRACT, head=spec, seeds=len(each), labels=LABELS, temperature=1.5)
    return ActionModel(config, classifier, members=linear), each


@pytest.mark.parametrize("head", ["pyramid", "mean", "frame-average", "lstm", "bilstm", "attention", "transformer"])
@torch.inference_mode()
def test_an_average_is_the_normalised_mean_of_the_log_probabilities(head: str) -> None:
    each = members(head)
    found = average(each)[0](features())
    expected = torch.stack([one(features()) for one in each]).mean(0).log_softmax(-1)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
    assert (each[0](features()) - expected).abs().max() > 0.01


def test_an_average_of_one_is_that_one() -> None:
    (one,) = members("lstm", 1)
    assert average([one]) == (one, None)


def test_linear_heads_are_averaged_into_one_layer_that_can_be_imprinted() -> None:
    classifier, linear = average(members("pyramid"))
    assert linear is not None
    assert is_imprintable(classifier)
    assert not any(isinstance(head, Members) for head in classifier.heads)
    assert classifier.state_dict().keys() == members("pyramid", 1)[0].state_dict().keys()


@pytest.mark.parametrize("head", ["pyramid", "lstm"])
def test_an_average_is_saved_in_one_file_with_its_members(tmp_path: Path, head: str) -> None:
    whole, each = model(head)
    save_model(whole, tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    read = load_model(tmp_path / "model")
    clip = {name: values[0] for name, values in features().items()}
    assert torch.equal(read.probabilities(clip), whole.probabilities(clip))
    alone = read.member_probabilities(clip)
    with torch.inference_mode():
        expected = [(one(features(4)).double() / 1.5).softmax(-1)[0] for one in each]
    torch.testing.assert_close(alone, torch.stack(expected), atol=1e-6, rtol=1e-5)
    again = alone.log().mean(0).softmax(-1)
    torch.testing.assert_close(again, read.probabilities(clip), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("head", ["pyramid", "lstm"])
@pytest.mark.parametrize("seeds", [2, 4])
def test_a_config_that_claims_another_number_of_members_is_refused(tmp_path: Path, head: str, seeds: int) -> None:
    save_model(model(head)[0], tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    values = {**json.loads(path.read_text(encoding="utf-8")), "seeds": seeds, "config_hash": None}
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelFormatError, match=r"does not fit its config\.json"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("head", ["lstm", "gru", "lrcn", "frame-average"])
@torch.inference_mode()
def test_an_average_reads_a_source_frame_by_frame_as_a_whole_clip(head: str) -> None:
    whole = model(head)[0]
    assert whole.classifier.causal
    states = whole.classifier.initial_state(5)
    clip = {name: values[0] for name, values in features().items()}
    steps = [whole.step({name: values[time] for name, values in clip.items()}, states) for time in range(5)]
    torch.testing.assert_close(steps[-1], whole.probabilities(clip), atol=1e-5, rtol=1e-4)


def test_the_contributions_of_an_average_are_those_of_its_members() -> None:
    each, pair = members("attention"), Pair(0, 2)
    clip = {name: values[0] for name, values in features().items()}
    parts, method = divide(average(each)[0], clip, pair)
    assert method == "integrated gradients"
    alone = [divide(one, clip, pair)[0] for one in each]
    for name, values in parts.items():
        expected = torch.stack([one[name] for one in alone]).mean(0)
        torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-3)
    batch = {name: values[None] for name, values in clip.items()}
    found = outcomes(average(each)[0], batch, torch.ones(1, 5, dtype=torch.bool), pair)
    torch.testing.assert_close(found.margins.sum(), pair.margin(found.logits)[0])


def test_a_clip_is_described_by_all_members_and_by_a_shared_input_once() -> None:
    for head, numbers in (("lstm", 2 * 3 * 128), ("frame-average", 2 * 6)):
        classifier = average(members(head))[0]
        assert describable(classifier)
        logits, descriptions = describe(classifier, features())
        assert descriptions.shape == (4, numbers)
        with torch.inference_mode():
            torch.testing.assert_close(logits, classifier(features()))


def test_models_of_one_seed_are_as_they_were(tmp_path: Path) -> None:
    whole, each = model("lstm")
    one = replace(whole, classifier=each[0], config=whole.config.model_copy(update={"seeds": 1}))
    save_model(one, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["seeds"]
    path.write_text(json.dumps({**values, "config_hash": None}), encoding="utf-8")  # of an earlier version
    clip = {name: values[0] for name, values in features().items()}
    assert torch.equal(load_model(tmp_path / "model").probabilities(clip), one.probabilities(clip))
