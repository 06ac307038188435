"""Video transformers of Hugging Face, on small random ones that take the path of the large ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from marey.encoders import EncoderSpec, TokenEncoder, load_encoder
from marey.encoders.video_transformers import pool_patches
from marey.errors import UsageError, WeightsError

transformers = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

FRAMES, SIDE = 4, 32
SMALL = {"patch_size": 8, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}

each = pytest.mark.parametrize("name", ["videomae", "vjepa2"])


def written(name: str, folder: Path) -> EncoderSpec:
    torch.manual_seed(0)
    if name == "videomae":
        config = transformers.VideoMAEConfig(image_size=SIDE, num_frames=FRAMES, intermediate_size=32, **SMALL)
        network = transformers.VideoMAEModel(config)
    else:
        predictor = {"pred_hidden_size": 24, "pred_num_hidden_layers": 1, "pred_num_attention_heads": 2}
        config = transformers.VJEPA2Config(crop_size=SIDE, frames_per_clip=8, **SMALL, **predictor)
        network = transformers.VJEPA2Model(config)
    network.save_pretrained(folder)
    return EncoderSpec(name=name, weights=str(folder))


def clips(count: int = 2, frames: int = FRAMES) -> Tensor:
    chance = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, frames, 3, SIDE, SIDE), dtype=torch.uint8, generator=chance)


@each
def test_a_clip_becomes_the_tokens_that_the_library_gives(name: str, tmp_path: Path) -> None:
    encoder = load_encoder(written(name, tmp_path), frames=FRAMES)
    tokens = encoder.encode_clips(clips())
    instants, places = FRAMES // 2, (SIDE // 8) ** 2
    assert tokens.shape == (2, instants * places, 24)
    assert encoder.dim == 24
    kind = "VideoMAEModel" if name == "videomae" else "VJEPA2Model"
    library = getattr(transformers, kind).from_pretrained(tmp_path).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = library((clips() / 255 - mean) / std).last_hidden_state
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-5)


@each
def test_a_grid_averages_the_places_of_each_instant(name: str, tmp_path: Path) -> None:
    spec = written(name, tmp_path)
    every = load_encoder(spec, frames=FRAMES).encode_clips(clips())
    halves = load_encoder(spec.model_copy(update={"grid": (2, 1)}), frames=FRAMES).encode_clips(clips())
    assert halves.shape == (2, 2 * 2, 24)
    rows = every.view(2, FRAMES // 2, 4, 4, 24)  # instants, rows, columns
    expected = torch.stack([rows[:, :, :2].mean((2, 3)), rows[:, :, 2:].mean((2, 3))], dim=2).flatten(1, 2)
    torch.testing.assert_close(halves, expected)


def test_pooling_over_every_place_changes_nothing() -> None:
    tokens = torch.randn(2, 3 * 4 * 5, 7)
    torch.testing.assert_close(pool_patches(tokens, 3, (4, 5), (4, 5)), tokens)


@each
def test_the_same_folder_has_the_same_hash(name: str, tmp_path: Path) -> None:
    spec = written(name, tmp_path)
    assert load_encoder(spec, frames=FRAMES).hash == load_encoder(spec, frames=FRAMES).hash


def test_a_network_for_one_length_refuses_another(tmp_path: Path) -> None:
    spec = written("videomae", tmp_path)
    with pytest.raises(UsageError, match=r"videomae is built for 4 frames of 32 x 32 pixels, not 8"):
        load_encoder(spec, frames=8)


def test_a_network_for_any_length_takes_others_that_can_be_divided(tmp_path: Path) -> None:
    spec = written("vjepa2", tmp_path)
    assert load_encoder(spec, frames=6).encode_clips(clips(1, 6)).shape == (1, 3 * 16, 24)
    with pytest.raises(UsageError, match=r"takes frames 2 by 2.* 5 frames"):
        load_encoder(spec, frames=5)


def test_weights_that_could_run_are_not_read(tmp_path: Path) -> None:
    spec = written("videomae", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="the weights of 'videomae'"):
        load_encoder(spec, frames=FRAMES)


def test_weights_that_cannot_be_fetched_are_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"'videomae' \(MCG-NJU/videomae-base\).*efficientnet-lite0"):
        TokenEncoder(EncoderSpec(name="videomae"), frames=16)
