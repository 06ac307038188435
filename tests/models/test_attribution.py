"""Contributions to an answer: they add up to it, and lie where the answer comes from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from marey.models import Classifier, FeatureHead, HeadSpec, create_head, full_mask, head_names
from marey.models.attribution import Pair, divide, last_map, outcomes
from marey.models.networks import EndToEndModel

DIM, CLASSES, PAIR = 12, 4, Pair(2, 0)
OPTIONS = {"lstm-dense": {"hidden": 48, "dense": 40}}  # by default it has 1,200 and 1,200


def clips(count: int, length: int, *, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(count, length, DIM, generator=generator) * 3 + 1 for name in ("gray", "colour")}


def trained(name: str, fusion: str = "late") -> Classifier:
    """A classifier of two streams in evaluation mode, none of whose parameters is where it began."""
    spec = HeadSpec.model_validate({"name": name, "fusion": fusion, "options": OPTIONS.get(name, {})})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(spec, {"gray": (DIM,), "colour": (DIM,)}, CLASSES)
        with torch.no_grad():
            for parameter in classifier.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        classifier.prepare(clips(20, 9, seed=1))
    if classifier.stream_weights is not None:
        classifier.stream_weights.copy_(torch.tensor([0.8, 0.2]))
    return classifier.eval()


def one_clip(length: int) -> dict[str, Tensor]:
    return {name: values[0] for name, values in clips(1, length).items()}


def means(classifier: Classifier, length: int) -> dict[str, Tensor]:
    """A clip that shows the mean of the training features all the time, or zeros where a head keeps none."""
    return {
        stream: (head.standardise.mean if isinstance(head, FeatureHead) else torch.zeros(DIM)).expand(length, -1)
        for stream, head in zip(classifier.streams, classifier.heads, strict=True)
    }


def margin_of(classifier: Classifier, clip: dict[str, Tensor]) -> float:
    return float(PAIR.margin(classifier({name: values[None] for name, values in clip.items()}))[0].detach())


@pytest.mark.parametrize("fusion", ["late", "early", "stacked"])
@pytest.mark.parametrize("name", ["pyramid", "lstm", "frame-average"])
def test_the_shares_of_the_heads_add_up_to_the_margin(name: str, fusion: str) -> None:
    classifier, clip = trained(name, fusion), one_clip(7)
    batch = {stream: values[None] for stream, values in clip.items()}
    found = outcomes(classifier, batch, full_mask(batch), PAIR)
    assert found.margins.shape == (1, len(classifier.heads))
    assert float(found.margins.sum()) == pytest.approx(margin_of(classifier, clip), rel=1e-4, abs=1e-4)
    assert torch.allclose(found.logits, classifier(batch), atol=1e-6)


def test_a_clip_of_which_nothing_is_known_gets_the_answer_for_the_mean_training_clip() -> None:
    classifier, clip = trained("mean"), one_clip(7)
    batch = {stream: values[None] for stream, values in clip.items()}
    found = outcomes(classifier, batch, torch.zeros(1, 7, dtype=torch.bool), PAIR)
    mean = means(classifier, 7)
    assert float(found.margins.sum()) == pytest.approx(margin_of(classifier, mean), abs=1e-4)


@pytest.mark.parametrize("length", [1, 2, 7, 16])
@pytest.mark.parametrize("fusion", ["late", "early", "stacked"])
@pytest.mark.parametrize("name", ["mean", "pyramid"])
def test_the_features_of_a_linear_head_add_up_to_its_margin_exactly(name: str, fusion: str, length: int) -> None:
    classifier, clip = trained(name, fusion), one_clip(length)
    parts, method = divide(classifier, clip, PAIR)
    batch = {stream: values[None] for stream, values in clip.items()}
    nothing = outcomes(classifier, batch, torch.zeros(1, length, dtype=torch.bool), PAIR)
    total = sum(float(values.double().sum()) for values in parts.values())
    assert method == "decomposition"
    assert {stream: values.shape for stream, values in parts.items()} == dict.fromkeys(clip, (length, DIM))
    assert total == pytest.approx(margin_of(classifier, clip) - float(nothing.margins.sum()), abs=1e-4)


@pytest.mark.parametrize("name", sorted({*head_names("features")} - {"zero-shot", "mean", "pyramid"}))
def test_integrated_gradients_add_up_to_the_change_of_the_margin(name: str) -> None:
    classifier, clip = trained(name), one_clip(6)
    parts, method = divide(classifier, clip, PAIR)
    begin = means(classifier, 6)
    change = margin_of(classifier, clip) - margin_of(classifier, begin)
    total = sum(float(values.sum()) for values in parts.values())
    assert method == "integrated gradients"
    assert total == pytest.approx(change, abs=0.05 + 0.1 * abs(change))


def test_a_head_that_reads_one_feature_owes_everything_to_it() -> None:
    classifier = Classifier(HeadSpec(name="mean", options={}), {"gray": (DIM,)}, CLASSES).eval()
    layer = classifier.heads[0].get_submodule("linear")
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[PAIR.target, 5] = 2.0
    parts, _ = divide(classifier, {"gray": one_clip(7)["gray"]}, PAIR)
    others = parts["gray"].clone()
    others[:, 5] = 0
    assert parts["gray"][:, 5].abs().min() > 0
    assert others.abs().max() == 0


class _UpperLeft(EndToEndModel):
    """A network whose last map is the brightness, and whose answer is that of the upper left quarter."""

    def __init__(self, *, layers: int) -> None:
        super().__init__((4, 3, 8, 8), CLASSES)
        self.brightness = nn.Conv3d(3, 1, 1, bias=False)
        self.after = nn.Sequential(*(nn.Identity() for _ in range(layers)))
        nn.init.ones_(self.brightness.weight)

    def forward_clip(self, pixels: Tensor) -> Tensor:
        bright = self.after(self.brightness(pixels.transpose(1, 2)))
        logit = bright[:, 0, :, :4, :4].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(logit), torch.zeros_like(logit), logit, -logit], dim=1)


def test_the_last_map_of_a_network_lies_where_its_answer_comes_from() -> None:
    network, clip = _UpperLeft(layers=0).eval(), torch.full((4, 3, 8, 8), 250, dtype=torch.uint8)
    clip[:2] = 128  # the first half says nearly nothing: gray is 0
    found = last_map(network, clip, PAIR)
    assert found is not None
    assert found.shape == (4, 8, 8)
    assert found[:, 4:].abs().max() == found[:, :, 4:].abs().max() == 0
    assert found[2:].sum() > 50 * found[:2].sum().abs()
    logits = network(clip[None], torch.ones(1, 4, dtype=torch.bool))
    assert float(found.sum()) == pytest.approx(float(PAIR.margin(logits)[0].detach()), rel=1e-4)


def test_a_map_in_the_first_half_of_a_network_is_none_of_its_last() -> None:
    clip = torch.full((4, 3, 8, 8), 250, dtype=torch.uint8)
    assert last_map(_UpperLeft(layers=3).eval(), clip, PAIR) is None


@pytest.mark.parametrize("name", ["c3d-lstm-gru", "lrcn-small", "convlstm", "cnn-lstm"])
def test_the_networks_of_marey_have_a_last_map(name: str) -> None:
    options = {"cnn-lstm": {"filters": 4, "narrow": 4}, "c3d-lstm-gru": {"filters": 2}, "convlstm": {"filters": 2}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create_head(name, (4, 3, 64, 64), CLASSES, options.get(name, {})).eval()
        found = last_map(network, torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8), PAIR)
    assert found is not None
    assert len(found) == 4
    assert found.abs().sum() > 0
