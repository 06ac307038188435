"""Encoders that see a whole clip, and the one that hands out its images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from marey.data import Clip
from marey.encoders import (
    VIDEO_NETWORKS,
    ClipEncoder,
    EncoderSpec,
    FeatureCache,
    RawFrames,
    Stream,
    View,
    architecture,
    build_video_network,
    extract,
    load_encoder,
)
from marey.errors import UsageError, WeightsError
from marey.video import Sampling, decode

SMALL = EncoderSpec(name="r2plus1d-18", weights="random", size=32)


def noise(count: int, frames: int, size: tuple[int, int], *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, frames, 3, *size), dtype=torch.uint8, generator=generator)


def test_pixels_are_handed_out_as_they_are() -> None:
    encoder = RawFrames(EncoderSpec(name="pixels", size=(24, 32)))
    clips = noise(2, 3, (24, 32))
    assert encoder.encode_clips(clips) is clips
    assert encoder.dim == 3 * 24 * 32
    assert encoder.images == 6


def test_gray_pixels_are_the_luma() -> None:
    encoder = RawFrames(EncoderSpec(name="grey-pixels", size=8))
    clips = noise(1, 2, (8, 8))
    gray = encoder.encode_clips(clips)
    assert gray.shape == (1, 2, 1, 8, 8)
    red, green, blue = clips.double().unbind(2)
    expected = 0.299 * red + 0.587 * green + 0.114 * blue
    assert (gray[:, :, 0].double() - expected).abs().max() <= 0.5


def test_pixels_have_no_grid() -> None:
    with pytest.raises(UsageError, match="'pixels' gives raw frames"):
        load_encoder(EncoderSpec(name="pixels", grid=(2, 2)))


def test_a_decoded_clip_is_kept_and_not_decoded_again(tmp_path: Path, make_video) -> None:  # type: ignore[no-untyped-def]
    path = make_video(tmp_path / "a.mp4", seconds=1.0)
    encoder = RawFrames(EncoderSpec(name="pixels", size=(30, 40)))
    contract = encoder.contract(sampling=Sampling(count=4), streams={"seen": Stream(kind="appearance")}, fit="stretch")
    assert contract.shape == (4, 3, 30, 40)
    cache = FeatureCache(tmp_path / "cache")
    clip = Clip(path)
    (first,) = extract([clip], encoder, contract, cache=cache)
    assert isinstance(first, dict)
    timestamps = contract.sampling.timestamps(0.0, 1.0)
    seen = decode(path, timestamps, size=(30, 40), interpolation="area").data
    assert torch.equal(first["seen"], seen)
    assert encoder.images == 4
    (again,) = extract([clip], encoder, contract, cache=cache)
    assert isinstance(again, dict)
    assert torch.equal(again["seen"], seen)
    assert encoder.images == 4
    (mirrored,) = extract([clip], encoder, contract, cache=cache, view=View(mirrored=True))
    assert isinstance(mirrored, dict)
    assert torch.equal(mirrored["seen"], seen.flip(-1))


def test_a_clip_becomes_one_vector() -> None:
    encoder = ClipEncoder(SMALL, frames=4)
    clips = noise(2, 4, (32, 32))
    features = encoder.encode_clips(clips)
    assert features.shape == (2, 1, encoder.dim)
    assert encoder.dim == 512
    assert features.dtype == torch.float32
    assert torch.equal(features[1:], encoder.encode_clips(clips[1:]))
    assert not torch.allclose(features[0], features[1])
    assert not torch.allclose(features, encoder.encode_clips(clips.flip(1)))


@pytest.mark.long
def test_a_clip_encoder_is_torchvisions_network_without_its_last_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = build_video_network("r2plus1d-18", frames=4, size=(32, 32), classes=7).eval()
    state = {name: values.contiguous() for name, values in whole.state_dict().items()}
    path = tmp_path / "inside.safetensors"
    save_file({name: values for name, values in state.items() if not name.startswith("fc.")}, path)
    encoder = ClipEncoder(SMALL.model_copy(update={"weights": str(path)}), frames=4)
    clips = noise(1, 4, (32, 32))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (encoder.mean, encoder.std))
    with torch.no_grad():
        pixels = ((clips / 255 - mean) / std).transpose(1, 2)
        expected = whole(pixels)
        linear = torch.nn.functional.linear(encoder.encode_clips(clips)[:, 0], state["fc.weight"], state["fc.bias"])
    torch.testing.assert_close(linear, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_weights_come_from_a_file_where_one_is_named(tmp_path: Path) -> None:
    network = build_video_network("r2plus1d-18", frames=4, size=(32, 32), classes=0)
    save_file({name: values.contiguous() for name, values in network.state_dict().items()}, tmp_path / "w.safetensors")
    spec = SMALL.model_copy(update={"weights": str(tmp_path / "w.safetensors")})
    encoder = ClipEncoder(spec, frames=4)
    assert encoder.hash != ClipEncoder(SMALL, frames=4).hash
    assert encoder.hash == ClipEncoder(spec, frames=4).hash


def test_weights_that_cannot_be_had_are_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens
    with pytest.raises(WeightsError, match=r"the weights of 'r2plus1d-18' \(Kinetics-400\).*efficientnet-lite0"):
        load_encoder(EncoderSpec(name="r2plus1d-18"), frames=8)


def test_a_clip_encoder_refuses_impossible_input() -> None:
    with pytest.raises(UsageError, match="one vector a clip, and has no grid"):
        load_encoder(EncoderSpec(name="s3d", weights="random", grid=(2, 2)), frames=16)
    with pytest.raises(UsageError, match="at least 14 frames, not 8"):
        load_encoder(EncoderSpec(name="s3d", weights="random"), frames=8)
    with pytest.raises(UsageError, match=r"takes uint8 \(N, T, 3, 32, 32\), not torch.uint8 \(1, 3, 32, 32\)"):
        ClipEncoder(SMALL, frames=4).encode_clips(noise(1, 1, (32, 32))[0])


@pytest.mark.parametrize(
    ("name", "dim"),
    [("resnet18", 512), ("pixels", None), ("efficientnet-lite0", 1280), *((n, None) for n in VIDEO_NETWORKS)],
)
def test_an_architecture_has_shapes_and_no_weights(name: str, dim: int | None) -> None:
    found = architecture(EncoderSpec(name=name), frames=16)
    if found.network is None:
        assert found.shape == (16, 3, 112, 112)
        return
    assert all(values.is_meta for values in found.network.parameters())
    assert found.run(found.example).flatten(1).shape[1:] == found.shape
    assert dim in (None, found.shape[0])
    assert found.length == (1 if name in VIDEO_NETWORKS else 16)


def test_vgg16_is_cut_down_to_its_convolutions_where_its_map_is_asked_for() -> None:
    found = architecture(EncoderSpec(name="vgg16", size=(96, 64), grid=(3, 2)), frames=10)
    assert found.network is not None
    assert sum(values.numel() for values in found.network.parameters()) == 14_714_688
    assert found.shape == (3072,)
