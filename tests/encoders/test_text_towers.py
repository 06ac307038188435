"""Networks with a text tower: their arithmetic is that of the library, on small random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from marey.encoders import TEXT_TOWERS, Contract, EncoderSpec, TextImageEncoder, architecture, load_encoder
from marey.errors import UsageError, WeightsError
from marey.models import ZeroShotHead
from marey.prediction.words import word_classifier
from marey.training import load_recipe
from small_text_towers import FRAMES, SIDE, small_tower, write_tower

transformers = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

SENTENCES = ["a video of a person wave", "a photo of the dog", "walking"]
each = pytest.mark.parametrize("name", sorted(TEXT_TOWERS))


def opened(name: str, folder: Path) -> tuple[TextImageEncoder, Contract]:
    encoder = load_encoder(write_tower(name, folder), frames=FRAMES, engine="pytorch")
    assert isinstance(encoder, TextImageEncoder)
    recipe = load_recipe("clip-zeroshot", changes=[f"encoder.name={name}", f"encoder.weights={folder}"])
    return encoder, Contract.from_recipe(recipe, encoder)


def clips(count: int = 2, frames: int = FRAMES) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, frames, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


def library_logits(name: str, images: Tensor, folder: Path) -> Tensor:
    """What the library itself answers for normalised images, or for a clip in the case of X-CLIP."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in TEXT_TOWERS[name].colours)
    pixels = (images / 255 - mean) / std
    given: dict[str, Any] = {"pixel_values": pixels}
    if name == "siglip2-naflex":
        patches = pixels.reshape(-1, 3, 4, 8, 4, 8).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, 192)
        given = {
            "pixel_values": patches,
            "pixel_attention_mask": torch.ones(len(patches), 16, dtype=torch.int64),
            "spatial_shapes": torch.tensor([[4, 4]] * len(patches)),
        }
    full = name.startswith("siglip2")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    fill = "max_length" if full else True
    tokens = tokenizer(SENTENCES, padding=fill, max_length=16, truncation=True, return_tensors="pt")
    given["input_ids"] = tokens["input_ids"]
    if not full:
        given["attention_mask"] = tokens["attention_mask"]
    with torch.no_grad():
        answer = small_tower(name)(**given)
    found: Tensor = answer.logits_per_video if name == "xclip" else answer.logits_per_image
    return found


def logits(encoder: TextImageEncoder, contract: Contract, features: Tensor) -> Tensor:
    recipe = load_recipe("clip-zeroshot")
    _, classifier = word_classifier(encoder, contract, recipe.head, SENTENCES, plain=True)
    (head,) = classifier.heads
    with torch.no_grad():
        found: Tensor = head(features, torch.ones(features.shape[:2], dtype=torch.bool))
    return found


@each
def test_logits_of_an_image_or_a_clip_are_those_of_the_library(name: str, tmp_path: Path) -> None:
    encoder, contract = opened(name, tmp_path)
    images = clips() if name == "xclip" else clips(3, 1)
    found = logits(encoder, contract, encoder.encode_clips(images))
    expected = library_logits(name, images if name == "xclip" else images[:, 0], tmp_path)
    assert found.shape == (len(images), 3)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_vectors_of_the_frames_are_averaged_over_the_clip(tmp_path: Path) -> None:
    encoder, contract = opened("clip", tmp_path)
    features = encoder.encode_clips(clips(1, 4))
    unit = torch.nn.functional.normalize(features, dim=-1).mean(1, keepdim=True)
    torch.testing.assert_close(logits(encoder, contract, features), logits(encoder, contract, unit))
    doubled = features * torch.tensor([1.0, 5.0, 1.0, 1.0]).view(1, 4, 1)  # the length of a vector says nothing
    torch.testing.assert_close(logits(encoder, contract, doubled), logits(encoder, contract, features))


@pytest.mark.parametrize("name", ["clip", "siglip2"])
def test_the_vectors_of_several_prompts_are_averaged(name: str, tmp_path: Path) -> None:
    encoder, _ = opened(name, tmp_path)
    one, other = (encoder.embed_words([[text]]).vectors for text in SENTENCES[:2])
    both = encoder.embed_words([SENTENCES[:2]]).vectors
    torch.testing.assert_close(both, torch.nn.functional.normalize(one + other, dim=-1))


def test_siglip_reads_small_letters_as_it_was_trained(tmp_path: Path) -> None:
    encoder, _ = opened("siglip2", tmp_path)
    first, second = encoder.embed_words([["A Person WAVES"], ["a person waves"]]).vectors
    torch.testing.assert_close(first, second)


def test_a_prompt_without_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'a person' has no \{label\} in it"):
        ZeroShotHead(4, 2, prompts="a video of {label} | a person")


@each
def test_the_network_is_counted_without_its_weights(name: str, tmp_path: Path) -> None:
    encoder, _ = opened(name, tmp_path)
    found = architecture(encoder.spec, frames=FRAMES)
    assert found.shape == (encoder.dim,)
    assert found.size == (SIDE, SIDE)
    assert found.length == encoder.encode_clips(clips(1)).shape[1]


def test_weights_without_a_tokenizer_are_told(tmp_path: Path) -> None:
    small_tower("clip").save_pretrained(tmp_path)
    encoder = load_encoder(EncoderSpec(name="clip", weights=str(tmp_path)), frames=FRAMES, engine="pytorch")
    assert isinstance(encoder, TextImageEncoder)
    with pytest.raises(WeightsError, match="no tokenizer beside the weights of 'clip'"):
        encoder.embed_words([["a dog"]])


def test_sizes_grids_and_lengths_that_the_network_cannot_have_are_refused(tmp_path: Path) -> None:
    spec = write_tower("xclip", tmp_path)
    with pytest.raises(UsageError, match="xclip is built for 8 frames, not 5"):
        load_encoder(spec, frames=5)
    with pytest.raises(UsageError, match="built for 32 x 32 pixels, not 48 x 48"):
        load_encoder(spec.model_copy(update={"size": 48}), frames=FRAMES)
    with pytest.raises(UsageError, match=r"no grid: --set encoder.grid=null"):
        load_encoder(spec.model_copy(update={"grid": (2, 2)}), frames=FRAMES)
