from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from marey.encoders import EncoderSpec, load_timm_backbone, weights_hash
from marey.encoders.fuse_conv_bn import fuse_conv_bn
from marey.encoders.timm_encoder import load_frame_encoder


def unlike_new(module: nn.Module) -> nn.Module:
    """A network whose normalisations have seen something: those of a new one do nothing."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.copy_(torch.randn(part.num_features, generator=generator) * 0.2)
            part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
            part.weight.data.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
            part.bias.data.copy_(torch.randn(part.num_features, generator=generator) * 0.2)
    return module.eval()


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d | nn.BatchNorm3d) for part in module.modules())


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("resnet18", 0),
        ("test_efficientnet", 0),  # its activations are inside of its normalisations, its padding depends on the input
        ("mobilenetv3_small_050", 0),
        ("regnetx_002", 0),
        ("test_vit", 0),  # has none
    ],
)
def test_folding_leaves_the_features_as_they_were(name: str, left: int) -> None:
    network = load_timm_backbone(EncoderSpec(name=name, weights="random", size=64 if "vit" not in name else None))
    unlike_new(network)
    had = norms(network)
    images = torch.randint(0, 256, (3, *network.shape), dtype=torch.uint8)
    with torch.inference_mode():
        before = network(images)
        fused = fuse_conv_bn(network, images[:1])
        after = network(images)
    assert fused == had - left
    assert norms(network) == left
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4 * float(before.std()))


class ReadTwice(nn.Module):
    """A convolution that is normalised, and looked at before that too."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        return torch.cat([self.norm(maps), maps], dim=1)


class RunTwice(nn.Module):
    """A convolution with two normalisations, each of one of its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.second(self.convolution(self.first(self.convolution(images))))
        return found


class OftenAndOnce(nn.Module):
    """A convolution that runs often beside one that runs once."""

    def __init__(self) -> None:
        super().__init__()
        self.often, self.once = RunTwice(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.once(self.often(images))
        return found


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(3, 4, 3, bias=False), nn.BatchNorm3d(4), nn.ReLU(), nn.BatchNorm3d(4))

    def forward(self, clips: Tensor) -> Tensor:
        found: Tensor = self.layers(clips)
        return found


@pytest.mark.parametrize("kind", [ReadTwice, RunTwice])
def test_a_convolution_with_two_readers_is_not_fused(kind: type[nn.Module]) -> None:
    module = unlike_new(kind())
    example = torch.randn(2, 3, 9, 9)
    before = {name: values.clone() for name, values in module.state_dict().items()}
    with torch.inference_mode():
        answer = module(example)
        assert fuse_conv_bn(module, example) == 0
        assert torch.equal(module(example), answer)
    assert module.state_dict().keys() == before.keys()
    assert all(torch.equal(values, before[name]) for name, values in module.state_dict().items())


def test_a_pair_that_cannot_be_fused_does_not_prevent_the_others() -> None:
    module = unlike_new(OftenAndOnce())
    assert fuse_conv_bn(module, torch.randn(2, 3, 12, 12)) == 1
    assert norms(module) == 2


def test_a_normalisation_after_something_else_stays() -> None:
    module = unlike_new(Plain())
    example = torch.randn(1, 3, 5, 9, 9)
    with torch.inference_mode():
        before = module(example)
        assert fuse_conv_bn(module, example) == 1
        torch.testing.assert_close(module(example), before, rtol=1e-5, atol=1e-5)
    assert norms(module) == 1


def test_the_hash_is_that_of_the_weights_as_they_were_loaded() -> None:
    spec = EncoderSpec(name="resnet18", weights="random", size=64)
    network = load_timm_backbone(spec)
    assert load_frame_encoder(spec).hash == network.hash == weights_hash(network.network)
