from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from marey.errors import UnknownNameError
from marey.models import Classifier, FeatureHead, HeadSpec, fuse, head_names

DIMS = {"frame": 6, "motion": 10}
SHAPES = {stream: (dim,) for stream, dim in DIMS.items()}


def features(count: int, length: int, *, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {stream: torch.randn(count, length, dim, generator=generator) for stream, dim in DIMS.items()}


def classifier(name: str = "mean", fusion: str = "late", classes: int = 4) -> Classifier:
    spec = HeadSpec.model_validate({"name": name, "fusion": fusion})
    torch.manual_seed(0)
    built = Classifier(spec, SHAPES, classes).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return built


@pytest.mark.parametrize("name", head_names("features"))
@pytest.mark.parametrize("fusion", ["late", "early"])
def test_streams_of_any_size_give_log_probabilities(name: str, fusion: str) -> None:
    answers = classifier(name, fusion)(features(3, 7))
    assert answers.shape == (3, 4)
    torch.testing.assert_close(answers.exp().sum(-1), torch.ones(3))


def test_late_fusion_has_a_head_a_stream_and_early_fusion_one_for_all() -> None:
    late, early = classifier(fusion="late"), classifier(fusion="early")
    assert [head.dim for head in late.heads] == [6, 10]
    assert [head.dim for head in early.heads] == [16]
    mask = torch.ones(3, 7, dtype=torch.bool)
    assert late.head_logits(late.forward_features(features(3, 7), mask), mask).shape == (2, 3, 4)
    assert early.head_logits(early.forward_features(features(3, 7), mask), mask).shape == (1, 3, 4)


def test_late_fusion_is_the_normalised_mean_of_log_probabilities() -> None:
    late = classifier("gru")
    mask = torch.ones(3, 7, dtype=torch.bool)
    logits = late.head_logits(late.forward_features(features(3, 7), mask), mask)
    product = (logits[0].softmax(-1) * logits[1].softmax(-1)).sqrt()
    expected = product / product.sum(-1, keepdim=True)
    torch.testing.assert_close(late(features(3, 7)).exp(), expected)
    torch.testing.assert_close(fuse(logits), late(features(3, 7)))


def test_one_stream_keeps_its_own_probabilities() -> None:
    logits = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fuse(logits).exp(), logits[0].softmax(-1))


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_every_stream_counts(fusion: str) -> None:
    built = classifier(fusion=fusion)
    plain = built(features(3, 7))
    for stream in DIMS:
        changed = {**features(3, 7), stream: features(3, 7, seed=1)[stream]}
        assert not torch.allclose(built(changed), plain)


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_the_order_in_which_streams_come_does_not_matter(fusion: str) -> None:
    built = classifier(fusion=fusion)
    given = features(3, 7)
    assert torch.equal(built(dict(reversed(given.items()))), built(given))


def test_no_mask_means_all_frames() -> None:
    built = classifier("transformer")
    given = features(3, 7)
    mask = torch.ones(3, 7, dtype=torch.bool)
    assert torch.equal(built(given), built(given, mask))
    mask[:, 5:] = False
    assert not torch.allclose(built(given), built(given, mask))


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_preparing_gives_each_head_the_scale_of_its_streams(fusion: str) -> None:
    built = classifier(fusion=fusion)
    given = {stream: values * 50 - 9 for stream, values in features(40, 7).items()}
    built.prepare(given)
    inputs = list(given.values()) if fusion == "late" else [torch.cat(list(given.values()), -1)]
    for head, values in zip(built.heads, inputs, strict=True):
        assert isinstance(head, FeatureHead)
        standard = head.standardise(values).flatten(0, 1)
        torch.testing.assert_close(standard.mean(0), torch.zeros(head.dim), atol=1e-4, rtol=0)
        torch.testing.assert_close(standard.std(0, correction=0), torch.ones(head.dim), atol=1e-3, rtol=0)


def test_an_unknown_head_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'transformer'"):
        Classifier(HeadSpec(name="transfomer", options={}), SHAPES, 3)


@pytest.mark.parametrize("wrong", [{"fusion": "middle"}, {"options": {"hidden": "large"}}, {"layers": 3}])
def test_a_head_with_impossible_values_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HeadSpec.model_validate({"name": "lstm", **wrong})
