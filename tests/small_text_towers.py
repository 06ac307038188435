"""Small random networks with a text tower and a tokenizer, as the library `transformers` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from marey.encoders import TEXT_TOWERS, EncoderSpec

SIDE, FRAMES = 32, 8
WORDS = ["a", "video", "of", "photo", "person", "wave", "clap", "jump", "waves", "waving", "walking", "the", "dog"]

_LAYERS = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2}
_TEXT = {**_LAYERS, "vocab_size": len(WORDS) + 4, "max_position_embeddings": 16, "pad_token_id": 1}
_TEXT |= {"bos_token_id": 2, "eos_token_id": 3}
_VISION = {**_LAYERS, "image_size": SIDE, "patch_size": 8}
_SMALL: dict[str, dict[str, Any]] = {
    "clip": {"text_config": _TEXT, "vision_config": _VISION, "projection_dim": 16},
    "siglip2": {"text_config": {**_TEXT, "projection_size": 24}, "vision_config": _VISION},
    "siglip2-naflex": {
        "text_config": {**_TEXT, "projection_size": 24},
        "vision_config": {**_LAYERS, "patch_size": 8, "num_patches": 16},
    },
    "xclip": {
        "text_config": _TEXT,
        "vision_config": {
            **_VISION,
            "num_frames": FRAMES,
            "mit_hidden_size": 16,
            "mit_intermediate_size": 32,
            "mit_num_hidden_layers": 1,
            "mit_num_attention_heads": 2,
        },
        "projection_dim": 16,
        "prompt_num_attention_heads": 2,
        "prompt_layers": 1,
    },
}


def small_tower(name: str) -> Any:
    """Return a network with random weights; skip where the extra is not installed."""
    library = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    about = TEXT_TOWERS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(library, about.model)(getattr(library, about.config)(**_SMALL[name]))
        with torch.no_grad():  # large enough that images and sentences differ
            for key, parameter in network.named_parameters():
                if not key.startswith("logit_"):
                    parameter.add_(torch.randn_like(parameter) * 0.1)
            network.logit_scale.fill_(2.0)
            if hasattr(network, "logit_bias"):
                network.logit_bias.fill_(-1.5)
    return network.eval()


def small_tokenizer() -> Any:
    """Return a tokenizer of a few words, which ends each sentence with its own token."""
    tokenizers = pytest.importorskip("tokenizers", reason="the extra 'transformers' is not installed")
    library = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    special = ["<unk>", "<pad>", "<bos>", "<eos>"]
    known = {word: index for index, word in enumerate([*special, *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="<unk>"))  # noqa: S106 - no password
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 3)]
    )
    return library.PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        bos_token="<bos>",  # noqa: S106
        eos_token="<eos>",  # noqa: S106
    )


def write_tower(name: str, folder: Path) -> EncoderSpec:
    """Write network and tokenizer into a folder, and return the encoder that reads them."""
    small_tower(name).save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return EncoderSpec(name=name, weights=str(folder))
