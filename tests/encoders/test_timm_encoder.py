from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants as hub
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn.functional import cosine_similarity

from marey.encoders import EncoderSpec, FrameEncoder, Stream, load_encoder
from marey.encoders.timm_encoder import load_frame_encoder
from marey.errors import UnknownNameError, UsageError, WeightsError
from marey.video import Sampling, frames_at


@cache
def embedded() -> FrameEncoder:
    return load_frame_encoder(EncoderSpec())


def photographs(size: tuple[int, int]) -> Tensor:
    """uint8 (4, 3, H, W): two photographs and their mirror images."""
    images = [
        frames_at(load_sample_image(name)[None], np.zeros(1), frame_rate=1.0, size=size, fit="crop").data
        for name in ("flower.jpg", "china.jpg")
    ]
    plain = torch.cat(images)
    return torch.cat([plain, plain.flip(-1)])


def noise(count: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator)


def test_the_default_encoder_gives_1280_numbers_a_image() -> None:
    encoder = embedded()
    assert (encoder.dim, encoder.size, encoder.interpolation) == (1280, (224, 224), "bicubic")
    assert encoder.mean == encoder.std == (0.5, 0.5, 0.5)
    features = encoder.encode(photographs(encoder.size))
    assert features.shape == (4, 1280)
    assert features.dtype == torch.float32
    assert features.isfinite().all()


def test_a_image_is_closer_to_its_mirror_image_than_to_another_picture() -> None:
    flower, palace, flower_mirrored, palace_mirrored = embedded().encode(photographs((224, 224)))
    other = cosine_similarity(flower, palace, dim=0)
    assert cosine_similarity(flower, flower_mirrored, dim=0) > other + 0.3
    assert cosine_similarity(palace, palace_mirrored, dim=0) > other + 0.3


def test_features_do_not_depend_on_the_other_images_of_the_batch() -> None:
    encoder = embedded()
    images = torch.cat([photographs(encoder.size), noise(14, encoder.size)])  # more than one batch
    together = encoder.encode(images)
    alone = torch.cat([encoder.encode(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(encoder.encode(images.flip(0)).flip(0), together, rtol=1e-5, atol=1e-5)


def test_the_network_is_frozen_and_answers_the_same_each_time() -> None:
    encoder = load_frame_encoder(EncoderSpec(name="test_efficientnet", weights="random"))
    images = noise(3, encoder.size)
    first = encoder.encode(images)
    assert not first.requires_grad
    assert torch.equal(first, encoder.encode(images))


def test_encoded_images_are_counted() -> None:
    encoder = load_frame_encoder(EncoderSpec(name="test_vit", weights="random"))
    assert encoder.images == 0
    encoder.encode(noise(3, encoder.size))
    encoder.encode(noise(2, encoder.size))
    assert encoder.images == 5
    assert encoder.encode(noise(0, encoder.size)).shape == (0, encoder.dim)
    assert encoder.images == 5


@pytest.mark.parametrize(
    "name",
    [
        "mobilenetv3_small_050",
        "test_byobnet",
        "test_mambaout",
        "test_vit4",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in (
                "resnet18",
                "convnext_atto",
                "vit_tiny_patch16_224",
                "swin_tiny_patch4_window7_224",  # its feature maps have the channels last
            )
        ),
    ],
)
def test_any_network_of_timm_gives_a_vector_a_image_or_one_a_cell(name: str) -> None:
    plain = load_frame_encoder(EncoderSpec(name=name, weights="random"))
    features = plain.encode(noise(2, plain.size))
    assert features.shape == (2, plain.dim)
    assert not torch.equal(features[0], features[1])
    cells = load_frame_encoder(EncoderSpec(name=name, weights="random", grid=(3, 2)))
    assert cells.hash == plain.hash
    features = cells.encode(noise(2, cells.size))
    assert features.shape == (2, cells.dim)
    assert cells.dim % 6 == 0
    assert features.isfinite().all()


def test_a_grid_says_where_in_the_image_something_is() -> None:
    encoder = load_frame_encoder(EncoderSpec(grid=(2, 2)))
    top_left = torch.full((1, 3, 224, 224), 127, dtype=torch.uint8)
    top_left[:, :, :100, :100] = photographs((100, 100))[:1]
    empty = encoder.encode(torch.full((1, 3, 224, 224), 127, dtype=torch.uint8)).view(-1, 2, 2)
    for image, row, column in ((top_left, 0, 0), (top_left.flip(-1), 0, 1), (top_left.flip(-2), 1, 0)):
        change = (encoder.encode(image).view(-1, 2, 2) - empty).abs().sum(0)
        assert int(change.argmax()) == 2 * row + column


def test_a_grid_of_one_cell_is_the_mean_of_the_last_feature_map() -> None:
    one = load_frame_encoder(EncoderSpec(name="test_efficientnet", weights="random", grid=(1, 1)))
    every = load_frame_encoder(EncoderSpec(name="test_efficientnet", weights="random", grid=(5, 5)))  # its whole map
    images = noise(2, one.size)
    maps = every.encode(images).view(2, one.dim, 5, 5)
    torch.testing.assert_close(one.encode(images), maps.mean((2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "test_vit"])
def test_another_size_of_the_input_can_be_asked_for(name: str) -> None:
    weights = "pretrained" if name == "efficientnet-lite0" else "random"
    encoder = load_frame_encoder(EncoderSpec(name=name, weights=weights, size=96))
    assert encoder.size == (96, 96)
    assert encoder.encode(noise(2, (96, 96))).shape == (2, encoder.dim)


@pytest.mark.long
def test_bfloat16_comes_close_to_float32() -> None:
    exact, fast = embedded(), load_frame_encoder(EncoderSpec(precision="bfloat16"))
    assert fast.hash == exact.hash
    images = photographs(exact.size)
    left, right = exact.encode(images), fast.encode(images)
    assert right.dtype == torch.float32
    assert not torch.equal(left, right)
    assert cosine_similarity(left, right).min() > 0.99


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 3, 224, 224),
        torch.zeros(1, 3, 224, 223, dtype=torch.uint8),
        torch.zeros(1, 1, 224, 224, dtype=torch.uint8),
        torch.zeros(3, 224, 224, dtype=torch.uint8),
        torch.zeros(1, 224, 224, 3, dtype=torch.uint8),
    ],
)
def test_images_of_another_type_or_size_are_refused(images: Tensor) -> None:
    with pytest.raises(UsageError, match=r"efficientnet-lite0 takes uint8 \(N, 3, 224, 224\), not torch"):
        embedded().encode(images)


def test_random_weights_are_the_same_each_time_and_leave_random_state_as_it_was() -> None:
    spec = EncoderSpec(name="test_vit", weights="random")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = load_frame_encoder(spec)
    assert torch.equal(torch.rand(1), expected)
    assert load_encoder(spec).hash == first.hash
    assert load_encoder(EncoderSpec(weights="random")).hash != embedded().hash


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("efficientnet-lite", "efficientnet-lite0"),
        ("resnet-18", "resnet18"),
        ("resnet18.a1_in2k", "resnet18.a1_in1k"),
        ("ResNet50", "resnet50"),
    ],
)
@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_an_unknown_encoder_answers_with_what_was_probably_meant(name: str, meant: str, weights: str) -> None:
    with pytest.raises(UnknownNameError, match=f"no encoder is called '{name}'; did you mean .*'{meant}'"):
        load_encoder(EncoderSpec(name=name, weights=weights))


def test_impossible_options_of_a_network_are_named_in_the_error() -> None:
    with pytest.raises(UsageError, match="test_vit cannot run with size=100"):
        load_encoder(EncoderSpec(name="test_vit", weights="random", size=100, grid=(2, 2)))


@pytest.mark.parametrize("endpoint", ["https://nowhere.invalid", "http://127.0.0.1:9"])
def test_weights_that_cannot_be_had_end_after_one_try_in_an_encoder_that_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setattr(hub, "ENDPOINT", endpoint)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    tries: list[object] = []
    connect = socket.create_connection

    def count_and_connect(*arguments: Any, **options: Any) -> socket.socket:
        tries.append(arguments)
        return connect(*arguments, **options)

    monkeypatch.setattr(socket, "create_connection", count_and_connect)
    with pytest.raises(WeightsError, match="the encoder 'efficientnet-lite0' needs no network") as caught:
        load_encoder(EncoderSpec(name="resnet18"))
    assert len(tries) == 1  # the hub's own client would try again for a minute
    assert "the pretrained weights of 'resnet18' are not on this machine" in str(caught.value)
    assert not hub.HF_HUB_OFFLINE  # the next one may try again


def test_the_contract_says_what_the_encoder_is() -> None:
    encoder = embedded()
    streams = {"motion": Stream(kind="difference")}
    contract = encoder.contract(sampling=Sampling(count=4), streams=streams, fit="crop")
    assert contract.encoder == encoder.spec
    assert contract.encoder_hash == encoder.hash
    assert (contract.size, contract.dim, contract.interpolation) == (encoder.size, encoder.dim, encoder.interpolation)
    assert (contract.mean, contract.std) == (encoder.mean, encoder.std)
    assert (contract.sampling.count, contract.streams, contract.fit) == (4, streams, "crop")
