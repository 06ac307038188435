"""Video transformers of Hugging Face, on small random ones that take the path of the large ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from marey.encoders import VIDEO_TRANSFORMERS, EncoderSpec, TokenEncoder, architecture, load_encoder
from marey.encoders.hugging_face import normalisation
from marey.encoders.video_transformers import pool_patches
from marey.errors import UsageError, WeightsError
from small_transformers import FRAMES, SIDE, small_network, write_transformer

transformers = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

PLACES = SIDE // 9
SPAN = {"videomae": 2, "vjepa2": 2, "videoprism": 1, "timesformer": 1}
"""Frames a timestamp of the tokens."""

each = pytest.mark.parametrize("name", sorted(VIDEO_TRANSFORMERS))


def clips(count: int = 2, frames: int = FRAMES, *, size: tuple[int, int] = (SIDE, SIDE)) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, frames, 3, *size), dtype=torch.uint8, generator=generator)


def normalised(name: str, images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in VIDEO_TRANSFORMERS[name].colours)
    return (images / 255 - mean) / std


@each
def test_a_clip_becomes_the_tokens_that_the_library_gives_timestamp_by_timestamp(name: str, tmp_path: Path) -> None:
    spec = write_transformer(name, tmp_path)
    tokens = load_encoder(spec, frames=FRAMES).encode_clips(clips())
    timestamps = FRAMES // SPAN[name]
    assert tokens.shape == (2, timestamps * PLACES**2, 24)
    library = small_network(name).eval()
    with torch.no_grad():
        expected = library(normalised(name, clips())).last_hidden_state
    if name == "timesformer":  # the library's order: a token of the clip, then place by place, frame by frame
        expected = expected[:, 1:].view(2, PLACES**2, FRAMES, 24).transpose(1, 2).reshape(2, -1, 24)
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-5)


@each
def test_the_tokens_of_a_timestamp_change_most_where_its_frame_changes(name: str, tmp_path: Path) -> None:
    encoder = load_encoder(write_transformer(name, tmp_path), frames=FRAMES, engine="pytorch")
    before, after = clips(1), clips(1)
    after[:, -1] = 0
    change = (encoder.encode_clips(after) - encoder.encode_clips(before)).abs().view(FRAMES // SPAN[name], -1).sum(-1)
    assert int(change.argmax()) == len(change) - 1


@each
def test_a_grid_averages_the_places_of_each_timestamp(name: str, tmp_path: Path) -> None:
    spec = write_transformer(name, tmp_path)
    every = load_encoder(spec, frames=FRAMES).encode_clips(clips())
    halves = load_encoder(spec.model_copy(update={"grid": (2, 1)}), frames=FRAMES).encode_clips(clips())
    timestamps = FRAMES // SPAN[name]
    assert halves.shape == (2, timestamps * 2, 24)
    rows = every.view(2, timestamps, PLACES, PLACES, 24)
    expected = torch.stack([rows[:, :, :2].mean((2, 3)), rows[:, :, 2:].mean((2, 3))], dim=2).flatten(1, 2)
    torch.testing.assert_close(halves, expected)


def test_pooling_over_every_place_changes_nothing() -> None:
    tokens = torch.randn(2, 3 * 4 * 5, 7)
    torch.testing.assert_close(pool_patches(tokens, 3, (4, 5), (4, 5)), tokens)


@each
def test_the_same_folder_has_the_same_hash(name: str, tmp_path: Path) -> None:
    spec = write_transformer(name, tmp_path)
    assert load_encoder(spec, frames=FRAMES).hash == load_encoder(spec, frames=FRAMES).hash


@pytest.mark.parametrize(
    ("name", "kind", "stated"),
    [
        ("vjepa2", "VJEPA2VideoProcessor", {}),
        ("videomae", "VideoMAEVideoProcessor", {}),
        ("videomae", "VideoMAEImageProcessor", {}),
        ("timesformer", "VideoMAEImageProcessor", {"image_mean": [0.45] * 3, "image_std": [0.225] * 3}),
        ("videoprism", "LlavaOnevisionVideoProcessor", {"do_normalize": False}),
        (
            "vjepa2",
            "VJEPA2VideoProcessor",
            {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
        ),
    ],
)
def test_clips_are_normalised_as_the_files_beside_the_weights_say(
    name: str, kind: str, stated: dict[str, Any], tmp_path: Path
) -> None:
    if not hasattr(transformers, kind):
        pytest.skip(f"this version of transformers does not have {kind}")
    own = getattr(transformers, kind)(**stated)
    own.save_pretrained(tmp_path)
    (mean, std), _ = normalisation(EncoderSpec(name=name, weights=str(tmp_path)))
    clip = clips(1)[0]
    frames = list(clip.permute(0, 2, 3, 1).numpy().astype(np.uint8))
    found = own(frames, do_resize=False, do_center_crop=False, return_tensors="pt")
    expected = next(iter(found[key] for key in ("pixel_values_videos", "pixel_values") if key in found))
    here = (clip / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(here, expected.view_as(here), rtol=0, atol=1e-5)


def test_vjepa_2_reads_a_clip_as_its_own_library_prepares_it(tmp_path: Path) -> None:
    spec = write_transformer("vjepa2", tmp_path)
    own = transformers.VJEPA2VideoProcessor(crop_size=SIDE)
    prepared = own(clips(1)[0], do_resize=False, return_tensors="pt")["pixel_values_videos"]
    with torch.no_grad():
        expected = small_network("vjepa2").eval()(prepared, skip_predictor=True).last_hidden_state
    found = load_encoder(spec, frames=FRAMES, engine="pytorch").encode_clips(clips(1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@each
def test_pretrained_weights_have_the_published_normalisation_without_a_file(name: str, tmp_path: Path) -> None:
    about = VIDEO_TRANSFORMERS[name]
    for weights in ("pretrained", str(tmp_path)):
        assert normalisation(EncoderSpec(name=name, weights=weights)) == (about.colours, about.interpolation)


def test_a_damaged_file_beside_the_weights_is_named(tmp_path: Path) -> None:
    spec = write_transformer("videomae", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5')
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json of .* cannot be read"):
        load_encoder(spec, frames=FRAMES)


@pytest.mark.parametrize("name", ["videomae", "timesformer"])
def test_a_network_for_one_length_refuses_another(name: str, tmp_path: Path) -> None:
    spec = write_transformer(name, tmp_path)
    with pytest.raises(UsageError, match=rf"{name} is built for 4 frames of 36 x 36 pixels, not 8"):
        load_encoder(spec, frames=8)


def test_a_network_for_any_length_takes_others_that_can_be_divided(tmp_path: Path) -> None:
    spec = write_transformer("vjepa2", tmp_path)
    assert load_encoder(spec, frames=6).encode_clips(clips(1, 6)).shape == (1, 3 * 16, 24)
    with pytest.raises(UsageError, match=r"takes frames 2 by 2.* 5 frames"):
        load_encoder(spec, frames=5)


@pytest.mark.parametrize(("frames", "size"), [(6, (SIDE, SIDE)), (FRAMES, (18, 45))])
def test_videoprism_takes_other_lengths_and_sizes_as_its_library_does(
    frames: int, size: tuple[int, int], tmp_path: Path
) -> None:
    spec = write_transformer("videoprism", tmp_path).model_copy(update={"size": size})
    images = clips(1, frames, size=size)
    encoder = load_encoder(spec, frames=frames)
    with torch.no_grad():
        expected = small_network("videoprism").eval()(images / 255, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(encoder.encode_clips(images), expected, rtol=1e-4, atol=1e-5)
    assert encoder.engine == "pytorch"  # ONNX does not have this interpolation
    assert architecture(spec, frames=frames).length == frames * (size[0] // 9) * (size[1] // 9)


@pytest.mark.parametrize("kind", ["joint_space_time", "space_only"])
def test_timesformer_takes_its_other_kinds_of_attention(kind: str, tmp_path: Path) -> None:
    encoder = load_encoder(write_transformer("timesformer", tmp_path, attention_type=kind), frames=FRAMES)
    tokens = encoder.encode_clips(clips())
    assert tokens.shape == (2, FRAMES * PLACES**2, 24)
    other = clips()
    other[:, 1:] = 0
    same = torch.allclose(encoder.encode_clips(other)[:, : PLACES**2], tokens[:, : PLACES**2], atol=1e-5)
    assert same == (kind == "space_only")


def test_weights_that_could_run_are_not_read(tmp_path: Path) -> None:
    spec = write_transformer("videomae", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="the weights of 'videomae'"):
        load_encoder(spec, frames=FRAMES)


@pytest.mark.parametrize("name", sorted(set(VIDEO_TRANSFORMERS) - {"videomae"}))
def test_weights_of_another_network_are_refused(name: str, tmp_path: Path) -> None:
    write_transformer("videomae", tmp_path)
    with pytest.raises((WeightsError, UsageError), match=r"of type 'videomae', not of|needs transformers"):
        load_encoder(EncoderSpec(name=name, weights=str(tmp_path)), frames=FRAMES)


def test_weights_that_are_not_complete_are_refused_and_not_filled_with_random_ones(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    spec = write_transformer("videomae", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state.pop(next(name for name in state if "encoder.layer.1" in name))
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 tensors of 'videomae', 'encoder\.layer\.1"):
        load_encoder(spec, frames=FRAMES)


def test_v_jepa_2_1_is_refused_where_the_library_would_compute_v_jepa_2(tmp_path: Path) -> None:
    if hasattr(transformers.VJEPA2Config(), "use_modality_embeddings"):
        pytest.skip("this version of transformers has V-JEPA 2.1")
    spec = write_transformer("vjepa2", tmp_path)
    stated = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(stated | {"use_modality_embeddings": True}))
    with pytest.raises(WeightsError, match=r"weights of V-JEPA 2\.1 .* install a version that has V-JEPA 2\.1"):
        load_encoder(spec, frames=FRAMES)


@each
def test_a_version_without_the_network_is_told_which_one_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Older:
        __version__ = "3.0"

    monkeypatch.setitem(__import__("sys").modules, "transformers", Older())
    with pytest.raises(
        UsageError, match=rf"'{name}' needs transformers {VIDEO_TRANSFORMERS[name].since} or later, and 3"
    ):
        load_encoder(EncoderSpec(name=name, weights="random"), frames=FRAMES)


def test_weights_that_cannot_be_fetched_are_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"'videomae' \(MCG-NJU/videomae-base\).*efficientnet-lite0"):
        TokenEncoder(EncoderSpec(name="videomae"), frames=16)
