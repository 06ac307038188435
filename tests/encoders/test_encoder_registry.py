"""Encoder families: all registered ones on small random networks, and a new one from a recipe to features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from marey.encoders import (
    PRECOMPUTED,
    VIDEO_TRANSFORMERS,
    Architecture,
    Contract,
    Encoder,
    EncoderFamily,
    EncoderSpec,
    FrozenBackbone,
    architecture,
    encoder_names,
    family_of,
    load_encoder,
    register_encoder,
    registry,
    weights_hash,
    weights_origin,
)
from marey.errors import UnknownNameError, UsageError
from marey.training import load_recipe
from small_transformers import FRAMES, write_transformer

SMALL: dict[str, tuple[dict[str, Any], int]] = {
    "test_resnet": ({"size": 32}, 3),  # of the default family: any name of timm
    "efficientnet-lite0": ({"size": 32, "grid": (1, 1)}, 3),
    "pixels": ({"size": (20, 30)}, 3),
    "grey-pixels": ({"size": (20, 30)}, 3),
    "r2plus1d-18": ({"size": 32}, 2),
    "swin3d-t": ({"size": 64}, 2),
    "s3d": ({}, 14),
    "mvit-v2-s": ({}, 16),
    "xclip": ({}, 8),
}
SLOW = ("s3d", "mvit-v2-s", "swin3d-t", "clip", "siglip2", "siglip2-naflex", "xclip")
every_encoder = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] if name in SLOW else [])
        for name in ("test_resnet", *encoder_names())
    ],
)


def small(name: str, folder: Path) -> tuple[EncoderSpec, int]:
    """Return a small configuration of an encoder, and T."""
    if name in VIDEO_TRANSFORMERS:
        return write_transformer(name, folder), FRAMES
    changes, frames = SMALL.get(name, ({}, 4))  # a new family needs no entry if it is small
    return EncoderSpec(name=name, weights="random", **changes), frames


def noise(encoder: Encoder, frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, frames, 3, *encoder.size), dtype=torch.uint8, generator=generator)


@every_encoder
def test_every_encoder_gives_what_its_architecture_says_and_the_same_each_time(name: str, tmp_path: Path) -> None:
    spec, frames = small(name, tmp_path)
    encoder, again = (load_encoder(spec, frames=frames, engine="pytorch") for _ in range(2))
    family, found = family_of(spec), architecture(spec, frames=frames)
    clips = noise(encoder, frames)
    features = encoder.encode_clips(clips)
    assert torch.equal(features, again.encode_clips(clips))
    assert torch.equal(features[1:], encoder.encode_clips(clips[1:]))
    assert (encoder.hash, encoder.dim) == (again.hash, again.dim)
    assert encoder.size == found.size
    assert encoder.per_image == family.per_image
    if family.gives == "frames":
        assert features.dtype == torch.uint8
        assert features.shape[1:] == found.shape
    else:
        assert features.dtype == torch.float32
        assert features.shape[1:] == (found.length, encoder.dim) == (found.length, *found.shape)
        assert found.whole != family.per_image
    assert str(weights_origin(spec, head="mean", weights="random"))


@pytest.mark.parametrize(
    "name", [name for name in ("test_resnet", *encoder_names()) if family_of(EncoderSpec(name=name)).per_image]
)
def test_an_encoder_of_images_gives_the_same_for_one_whatever_its_neighbours(name: str, tmp_path: Path) -> None:
    spec, frames = small(name, tmp_path)
    encoder = load_encoder(spec, frames=frames, engine="pytorch")
    clips = noise(encoder, frames)
    assert torch.allclose(encoder.encode_clips(clips[:, 1:2]), encoder.encode_clips(clips)[:, 1:2], atol=1e-5)


@every_encoder
def test_a_quantizable_family_gives_a_network_of_one_image(name: str, tmp_path: Path) -> None:
    spec, _ = small(name, tmp_path)
    family = family_of(spec)
    if family.quantizable:
        assert len(family.backbone(spec).shape) == 3
    else:
        with pytest.raises(UsageError, match="has no network of single images"):
            family.backbone(spec)


class ToyEncoder(Encoder):
    """The mean colour of each image, by a network of one number."""

    per_image = True

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        network = nn.Linear(1, 1)
        nn.init.ones_(network.weight)

        def read(network: nn.Linear, pixels: Tensor) -> Tensor:
            return pixels.mean((-1, -2)) * network.weight

        frozen = FrozenBackbone(
            network,
            read,
            spec=spec,
            hash=weights_hash(network),
            shape=(3, 8, 8),
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            interpolation="area",
        )
        self.setup(frozen, device="cpu", engine="pytorch")


class ToyFamily(EncoderFamily):
    per_image = True

    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> ToyEncoder:
        return ToyEncoder(spec)

    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        return Architecture(nn.Linear(1, 1), nn.Flatten(), torch.empty(1, 3, 1, 1), (8, 8), False, (3,), frames)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register the toy family for one test."""
    monkeypatch.setattr(registry, "_BY_NAME", dict(registry._BY_NAME))
    register_encoder("toy")(ToyFamily)
    return "toy"


def test_a_family_of_ones_own_is_loaded_by_a_recipe(toy: str) -> None:
    recipe = load_recipe("default-0.1", changes=[f"encoder.name={toy}", "encoder.grid=null", "sampling.count=4"])
    encoder = load_encoder(recipe.encoder, frames=recipe.sampling.count)
    contract = Contract.from_recipe(recipe, encoder)
    assert (contract.size, contract.shape, contract.testing) == ((8, 8), (3,), recipe.testing)
    clips = noise(encoder, 4)
    torch.testing.assert_close(encoder.encode_clips(clips), clips.double().div(255).mean((-1, -2)).float())
    found = architecture(recipe.encoder, frames=4)
    assert found.run(found.example).shape[1:] == found.shape
    assert found.example.is_meta
    assert str(weights_origin(recipe.encoder, head="mean", weights="random")) == "none"
    assert toy in encoder_names()
    with pytest.raises(UnknownNameError, match="no encoder is called 'toi'; did you mean 'toy'"):
        load_encoder(EncoderSpec(name="toi"))


def test_a_name_belongs_to_one_family(toy: str) -> None:
    for options in ({}, {"precision": "int8"}, {"default": True}):
        with pytest.raises(ValueError, match="two encoder families claim"):
            register_encoder(*([] if options else [toy]), **options)(ToyFamily())


def test_an_unknown_encoder_answers_with_what_was_probably_meant() -> None:
    for name, meant in (("pixel", "pixels"), ("videome", "videomae"), ("resnet81", "resnet18"), ("s3", "s3d")):
        with pytest.raises(UnknownNameError, match=f"no encoder is called '{name}'; did you mean .*'{meant}'"):
            load_encoder(EncoderSpec(name=name))
    with pytest.raises(UnknownNameError, match=r"no encoder is called 'resnet81'; did you mean .*'resnet18'"):
        architecture(EncoderSpec(name="resnet81"), frames=4)


def test_precomputed_features_and_int8_cannot_be_loaded_by_name() -> None:
    for call in (load_encoder, architecture):
        with pytest.raises(UsageError, match="trained on features that came as files"):
            call(EncoderSpec(name=PRECOMPUTED), frames=4)
    with pytest.raises(UsageError, match="int8 is made of a trained run: `marey quantize RUN DATA`"):
        load_encoder(EncoderSpec(precision="int8"))
    assert PRECOMPUTED not in encoder_names()


def test_a_network_in_int8_has_the_architecture_and_the_origin_of_the_one_in_float32() -> None:
    spec = EncoderSpec(name="test_resnet", precision="int8")
    assert architecture(spec, frames=4).shape == architecture(EncoderSpec(name="test_resnet"), frames=4).shape
    assert str(weights_origin(EncoderSpec(precision="int8"), head="mean", weights="random")) == "with marey"
