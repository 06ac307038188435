from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from marey.encoders import Contract, EncoderSpec, Stream
from marey.errors import ModelFormatError
from marey.models import (
    ActionModel,
    Familiarity,
    FamiliarityConfig,
    HeadSpec,
    ModelConfig,
    describable,
    describe,
    distances_to_class,
    head_names,
    keep_some,
    load_model,
    new_classifier,
    save_model,
    stack_clips,
)
from marey.video import Sampling

CONTRACT = Contract(
    sampling=Sampling(count=6),
    streams={"frame": Stream(kind="appearance"), "motion": Stream(kind="difference", span=0.2)},
    fit="crop",
    encoder=EncoderSpec(name="resnet18.a1_in1k"),
    encoder_hash="f" * 32,
    size=(160, 128),
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    dim=9,
)


def clips(count: int, seed: int = 0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [{name: torch.randn(6, 9, generator=generator) for name in CONTRACT.streams} for _ in range(count)]


def model(head: str = "pyramid") -> ActionModel:
    config = ModelConfig(contract=CONTRACT, head=HeadSpec(name=head, options={}), labels=("a", "b"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ActionModel(config, new_classifier(CONTRACT, config.head, 2).eval())


def knowing(plain: ActionModel) -> ActionModel:
    _, rows = describe(plain.classifier, stack_clips(clips(8)))
    config = FamiliarityConfig(clips=8, groups=2, views=1, threshold=1.0, false_alarm=0.05)
    half = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    width = rows.shape[1]
    known = Familiarity(config, rows.half(), half, half.clone(), torch.zeros(width), torch.ones(width))
    return ActionModel(plain.config.model_copy(update={"familiarity": config}), plain.classifier, familiarity=known)


@pytest.mark.parametrize("head", [name for name in head_names("features") if name != "zero-shot"])
def test_every_trained_head_describes_a_clip_and_answers_the_same(head: str) -> None:
    plain = model(head)
    assert describable(plain.classifier)
    known = knowing(plain)
    probabilities, strange = known.batch_answers(clips(3, seed=1))
    assert torch.equal(probabilities, plain.batch_probabilities(clips(3, seed=1)))
    assert strange is not None
    assert strange.shape == (3,)
    assert strange.isfinite().all()


def test_a_head_that_does_not_train_describes_nothing() -> None:
    assert not describable(model("zero-shot").classifier)


def test_a_training_clip_is_more_familiar_than_another_one() -> None:
    known = knowing(model())
    _, own = known.batch_answers(clips(8))
    _, others = known.batch_answers([{name: 40 + 9 * one[name] for name in one} for one in clips(8, seed=5)])
    assert own is not None
    assert others is not None
    assert own.max() < others.min()


def test_what_is_kept_of_the_training_clips_is_saved(tmp_path: Path) -> None:
    before = knowing(model())
    save_model(before, tmp_path / "model")
    after = load_model(tmp_path / "model")
    assert after.config == before.config
    for one, other in zip(after.batch_answers(clips(3, 1)), before.batch_answers(clips(3, 1)), strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_a_model_of_an_earlier_version_loads_and_cannot_tell(tmp_path: Path) -> None:
    save_model(model(), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    values = json.loads(path.read_text("utf-8"))
    for name in ("familiarity", "weights_hash", "config_hash"):
        del values[name]
    path.write_text(json.dumps(values), "utf-8")
    found = load_model(tmp_path / "model")
    assert found.familiarity is None
    assert found.batch_answers(clips(2))[1] is None


def test_a_model_whose_descriptions_are_gone_is_refused(tmp_path: Path) -> None:
    save_model(knowing(model()), tmp_path / "whole")
    save_model(model(), tmp_path / "model")
    config = (tmp_path / "whole" / "config.json").read_text("utf-8")
    (tmp_path / "model" / "config.json").write_text(config, "utf-8")
    with pytest.raises(ModelFormatError, match=r"does not fit its config\.json"):
        load_model(tmp_path / "model")


def test_the_distance_is_that_to_the_predicted_class_alone() -> None:
    apart = torch.tensor([[1.0, 2.0, 9.0], [4.0, torch.inf, 6.0]], dtype=torch.float64)
    labels, predicted = torch.tensor([0, 0, 1]), torch.tensor([0, 1])
    assert distances_to_class(apart, labels, predicted).tolist() == [1.5, 6.0]


def test_where_no_clip_of_the_class_is_left_the_nearest_of_any_count() -> None:
    apart = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    assert distances_to_class(apart, torch.tensor([0, 0]), torch.tensor([1])).tolist() == [2.0]


def test_clips_that_are_kept_are_spread_over_classes_and_groups() -> None:
    labels, groups = [0] * 50 + [1] * 2, [place % 5 for place in range(52)]
    kept = keep_some(labels, groups, 10)
    assert len(kept) == 10
    assert {labels[place] for place in kept} == {0, 1}
    assert {groups[place] for place in kept} == {0, 1, 2, 3, 4}
