"""Every network that is trained end to end, by name; counts of parameters are those of the published tables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from marey.encoders import Contract, EncoderSpec, RawFrames, Stream
from marey.errors import UsageError
from marey.models import (
    ActionModel,
    Classifier,
    Head,
    HeadSpec,
    ModelConfig,
    count_parameters,
    create_head,
    head_names,
    list_layers,
    load_model,
    new_classifier,
    save_model,
)
from marey.models.head import InputDropout
from marey.models.networks.convlstm import ConvLSTM2D
from marey.video import Sampling

CLASSES = 4
SMALL: dict[str, tuple[int, int, int, int]] = {
    "s3d": (14, 3, 224, 224),  # its pooling is laid out for this size
    "mvit-v2-s": (16, 3, 224, 224),
    "swin3d-t": (4, 3, 64, 64),
    "r2plus1d-18": (4, 3, 32, 32),
}
LIGHT = tuple(name for name in head_names("frames") if name not in ("s3d", "mvit-v2-s"))
SLOW = ("s3d", "mvit-v2-s", "swin3d-t", "r2plus1d-18")


def of(name: str, *further: str) -> object:
    """The parameters of a test of a network; those of large ones are long."""
    return pytest.param(name, *further, marks=[pytest.mark.long] if name in SLOW else [])


every_network = pytest.mark.parametrize("name", [of(name) for name in head_names("frames")])
every_light_network = pytest.mark.parametrize("name", [of(name) for name in LIGHT])


def shape_of(name: str) -> tuple[int, int, int, int]:
    return SMALL.get(name, (5, 3, 40, 48))


def build(name: str, *, seed: int = 0, **options: float) -> Head:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create_head(name, shape_of(name), CLASSES, options)


def clips(name: str, count: int = 2, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    shape = shape_of(name)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    return images, torch.ones(count, shape[0], dtype=torch.bool)


def test_the_networks_that_people_start_from_are_there() -> None:
    promised = {"cnn-lstm", "lrcn-small", "convlstm", "c3d-lstm-gru", "r2plus1d-18", "s3d", "mvit-v2-s", "swin3d-t"}
    assert promised <= set(head_names("frames"))


@every_network
def test_images_give_a_logit_a_class(name: str) -> None:
    network = build(name).eval()
    with torch.no_grad():
        logits = network(*clips(name, 1))
    assert logits.shape == (1, CLASSES)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@every_light_network
def test_a_clip_answers_the_same_alone_and_among_others(name: str) -> None:
    network = build(name).eval()
    images, mask = clips(name, 3)
    with torch.no_grad():
        together = network(images, mask)
        alone = torch.cat([network(images[i : i + 1], mask[:1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@every_light_network
def test_every_weight_learns(name: str) -> None:
    network = build(name).train()
    nn.functional.cross_entropy(network(*clips(name, 4)), torch.arange(4) % CLASSES).backward()
    still = [
        key
        for key, weight in network.named_parameters()
        if weight.requires_grad and (weight.grad is None or not weight.grad.any())
    ]
    # What comes before a normalisation that takes the mean away has nothing to learn of it.
    assert [key for key in still if not key.endswith(".bias")] == []


@every_light_network
def test_the_same_seed_gives_the_same_network_and_the_same_answer(name: str) -> None:
    one, again, other = (build(name, seed=seed).eval() for seed in (0, 0, 1))
    with torch.no_grad():
        assert torch.equal(one(*clips(name)), again(*clips(name)))
        assert not torch.allclose(one(*clips(name)), other(*clips(name)))


@every_light_network
def test_the_order_of_the_frames_counts(name: str) -> None:
    network = build(name).eval()
    images, mask = clips(name)
    with torch.no_grad():
        assert not torch.allclose(network(images.flip(1), mask), network(images, mask), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "fusion"),
    [*(of(name, "late") for name in LIGHT), *(of(name, "early") for name in LIGHT if name not in SMALL)],
)
def test_a_network_that_was_saved_answers_the_same(tmp_path: Path, name: str, fusion: Literal["late", "early"]) -> None:
    frames, _, height, width = shape_of(name)
    encoder = RawFrames(EncoderSpec(name="pixels", size=(height, width)))
    streams = {"seen": Stream(kind="appearance"), "moved": Stream(kind="difference")}
    contract: Contract = encoder.contract(sampling=Sampling(count=frames), streams=streams, fit="stretch")
    config = ModelConfig(contract=contract, head=HeadSpec(name=name, fusion=fusion, options={}), labels=("a", "b"))
    torch.manual_seed(0)
    classifier = new_classifier(contract, config.head, 2)
    both = {stream: clips(name, 3, seed=seed)[0] for seed, stream in enumerate(streams)}
    classifier.train()(both)  # batch normalisation has seen something
    before = ActionModel(config, classifier.eval())
    save_model(before, tmp_path / "model")
    after = load_model(tmp_path / "model")
    one = {stream: values[0] for stream, values in both.items()}
    assert torch.equal(after.probabilities(one), before.probabilities(one))


def test_tuned_cnn_and_lstm_has_the_parameters_of_its_table() -> None:
    counted = count_parameters(create_head("cnn-lstm", (10, 1, 80, 80), 6))
    assert counted.total == 4_547_014
    assert counted.statistics == 1_152


def test_vgg16_with_lstm_has_the_parameters_of_its_table() -> None:
    assert count_parameters(create_head("lstm-dense", (3072,), 6)).total == 36_461_062 - 14_714_688


def test_an_lstms_second_biases_are_the_difference_to_what_pytorch_counts() -> None:
    lstm = nn.LSTM(7, 5, num_layers=2, bidirectional=True)
    every = sum(values.numel() for values in lstm.parameters())
    assert count_parameters(lstm).total == every - 2 * 2 * 4 * 5
    assert count_parameters(nn.GRU(7, 5)).total == sum(values.numel() for values in nn.GRU(7, 5).parameters())


def test_the_table_of_layers_names_shapes_and_adds_up() -> None:
    network = create_head("cnn-lstm", (10, 1, 80, 80), 6).eval()
    with torch.no_grad():
        layers = list_layers(
            network, lambda: network(torch.zeros(1, 10, 1, 80, 80), torch.ones(1, 10, dtype=torch.bool))
        )
    assert layers[0].output == (10, 320, 78, 78)
    assert [layer.output for layer in layers if layer.kind == "LSTM"] == [(1, 10, 96)]
    assert layers[-1].output == (1, 6)
    assert sum(layer.parameters for layer in layers) == 4_547_014


def test_a_layer_that_is_called_at_each_step_has_one_row() -> None:
    network = ConvLSTM2D(3, 4, kernel=1).eval()
    with torch.no_grad():
        layers = list_layers(network, lambda: network(torch.zeros(1, 5, 3, 2, 2)))
    assert len({layer.name for layer in layers}) == len(layers)
    assert sum(layer.parameters for layer in layers) == count_parameters(network).total


def test_attention_has_a_row_with_all_its_parameters() -> None:
    network = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.GELU())
    layers = list_layers(network.train(), lambda: network(torch.zeros(1, 3, 8)))
    (attention,) = (layer for layer in layers if layer.kind == "MultiheadAttention")
    assert attention.parameters == 4 * 8 * 8 + 4 * 8
    assert sum(layer.parameters for layer in layers) == count_parameters(network).total


def test_a_convolutional_lstm_of_one_pixel_is_an_lstm() -> None:
    torch.manual_seed(0)
    image, plain = ConvLSTM2D(3, 4, kernel=1).eval(), nn.LSTM(3, 4, batch_first=True)
    image.normalise.eps = 1e-30  # of a mean of 0 and a variance of 1: nothing is normalised; PyTorch refuses 0
    state = {
        "weight_ih_l0": image.of_input.weight.flatten(1),
        "weight_hh_l0": image.of_state.weight.flatten(1),
        "bias_ih_l0": image.normalise.bias,
        "bias_hh_l0": torch.zeros(16),
    }
    plain.load_state_dict(state)
    values = torch.randn(2, 6, 3)
    states = image(values[..., None, None])[..., 0, 0]
    torch.testing.assert_close(states, plain(values)[0])


def test_the_dense_layer_of_vgg16_with_bilstm_is_held_small() -> None:
    head = create_head("bilstm-dense", (8,), 3, {"l2": 0.5})
    dense = head.get_submodule("dense")
    assert isinstance(dense, nn.Linear)
    penalty = head.penalty()
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.5 * dense.weight.square().sum().item())
    both = Classifier(HeadSpec(name="bilstm-dense", options={"l2": 0.5}), {"a": (8,), "b": (8,)}, 3)
    total = both.penalty()
    assert total is not None
    assert total.item() > penalty.item() / 2
    assert Classifier(HeadSpec(name="mean", options={}), {"a": (8,)}, 3).penalty() is None


def test_dropout_of_the_inputs_drops_the_same_numbers_in_all_frames_of_a_clip() -> None:
    torch.manual_seed(0)
    dropped = InputDropout(0.5)(torch.ones(3, 5, 40)) == 0
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert 0.2 < dropped.float().mean() < 0.8
    assert not torch.equal(dropped[0], dropped[1])
    assert torch.equal(InputDropout(0.5).eval()(torch.ones(3, 5, 40)), torch.ones(3, 5, 40))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_c3d_averages_over_the_image_with_many_times_fewer_weights(*, bidirectional: bool) -> None:
    torch.manual_seed(0)
    shape, options = (16, 3, 64, 64), {"filters": 4, "bidirectional": bidirectional}
    flat, averaged = (
        create_head("c3d-lstm-gru", shape, 5, {**options, "pooling": pooling}) for pooling in ("flatten", "average")
    )
    pixels, mask = torch.rand(2, *shape), torch.ones(2, 16, dtype=torch.bool)
    for head in (flat, averaged):
        assert head.eval()(pixels, mask).shape == (2, 5)
    lstms = [head.get_submodule("lstm") for head in (flat, averaged)]
    assert [lstm.input_size for lstm in lstms if isinstance(lstm, nn.LSTM)] == [32 * 4 * 4, 32]
    linear = flat.get_submodule("linear")
    assert isinstance(linear, nn.Linear)
    assert linear.in_features == (128 if bidirectional else 64)


def test_a_head_refuses_the_other_kind_of_input_and_names_those_that_take_it() -> None:
    with pytest.raises(UsageError, match=r"'lstm' takes features, and this encoder gives frames.*cnn-lstm"):
        create_head("lstm", (4, 3, 8, 8), 2)
    with pytest.raises(UsageError, match=r"'cnn-lstm' takes frames, and this encoder gives features.*'pixels'"):
        create_head("cnn-lstm", (12,), 2)


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("mvit-v2-s", (8, 3, 224, 224), "built for 16 frames of 224 x 224"),
        ("s3d", (4, 3, 224, 224), "at least 14 frames, not 4"),
        ("r2plus1d-18", (4, 1, 32, 32), "three channels, not 1"),
    ],
)
def test_clips_that_a_network_cannot_take_are_refused(name: str, shape: tuple[int, int, int, int], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        create_head(name, shape, 2)


def test_weights_to_begin_from_are_refused_where_there_are_none() -> None:
    with pytest.raises(UsageError, match="no weights to begin from for a CNNLSTM"):
        build("cnn-lstm").load_pretrained("pretrained")
