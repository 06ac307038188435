"""Small random video transformers, as the library `transformers` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from marey.encoders import VIDEO_TRANSFORMERS, EncoderSpec

SIDE, FRAMES = 36, 4
"""Size in pixels and T: by them every architecture can be divided."""

_LAYERS = {"hidden_size": 24, "num_attention_heads": 2}
_SMALL: dict[str, dict[str, Any]] = {
    "videomae": {"image_size": SIDE, "patch_size": 9, "num_frames": FRAMES, "num_hidden_layers": 2},
    "vjepa2": {
        "crop_size": SIDE,
        "patch_size": 9,
        "frames_per_clip": 8,
        "num_hidden_layers": 2,
        "num_pooler_layers": 1,
        "pred_hidden_size": 24,
        "pred_num_hidden_layers": 1,
        "pred_num_attention_heads": 2,
    },
    "videoprism": {
        "image_size": SIDE,
        "tubelet_size": [1, 9, 9],
        "num_frames": FRAMES,
        "num_spatial_layers": 2,
        "num_temporal_layers": 2,
    },
    "timesformer": {"image_size": SIDE, "patch_size": 9, "num_frames": FRAMES, "num_hidden_layers": 2},
}


def small_network(name: str, **changes: Any) -> Any:
    """Return a network with random weights, of two layers; skip where the installed version does not have it."""
    library = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    about = VIDEO_TRANSFORMERS[name]
    if not hasattr(library, about.model):
        pytest.skip(f"this version of transformers does not have {about.model}")
    wide = {} if name == "vjepa2" else {"intermediate_size": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(library, about.model)(
            getattr(library, about.config)(**_SMALL[name], **_LAYERS, **wide, **changes)
        )
        with torch.no_grad():  # some begin with positions of zero, which would hide a mistake
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)
    return network


def write_transformer(name: str, folder: Path, **changes: Any) -> EncoderSpec:
    """Write the weights of `small_network` into a folder, and return the encoder that reads them."""
    small_network(name, **changes).save_pretrained(folder)
    return EncoderSpec(name=name, weights=str(folder))
