"""No encoder at all: the pictures themselves, for networks that are trained end to end."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from marey.encoders.contract import PIXELS, EncoderSpec
from marey.encoders.encoder import Encoder, sides
from marey.encoders.memory import keep_freed_memory
from marey.encoders.streams import luma
from marey.errors import UsageError

_SIZE: Final = (112, 112)


class PixelEncoder(Encoder):
    """Hands out the pictures as they are, uint8, in colour or grey.

    What the cache keeps of it are decoded clips: networks that are trained end to end read them in every epoch, mapped
    from the disk, and no video is decoded twice.
    """

    per_picture = True
    interpolation = "area"
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        if spec.grid is not None or spec.precision != "float32":
            raise UsageError(f"the encoder '{spec.name}' hands out pictures: it has no grid and no precision")
        self.spec = spec
        self.hash = spec.name
        self.size = sides(spec.size, _SIZE)
        self.colours = PIXELS[spec.name]
        self.dim = self.colours * self.size[0] * self.size[1]
        self.device = torch.device("cpu")
        keep_freed_memory()  # for the networks that learn from these pictures, layer by layer

    def encode_clips(self, clips: Tensor) -> Tensor:
        """uint8 (N, T, 3, H, W) to uint8 (N, T, C, H, W)."""
        self.check(clips, many="N, T")
        self.count(len(clips.flatten(0, 1)))
        return clips if self.colours == 3 else luma(clips).unsqueeze(-3)
