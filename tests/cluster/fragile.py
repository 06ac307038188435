"""An extension of marey for the tests of clusters: an encoder whose process dies at white images.

Where `MAREY_TEST_HOLD` names a folder with a file `hold`, the encoder stops before the call whose number the file has,
leaves a file with the number of its process, and goes on when `hold` is gone.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from marey.encoders import Architecture, Encoder, EncoderFamily, EncoderSpec, register_encoder

SIZE = (32, 32)


class FragileEncoder(Encoder):
    """The mean colour of each image."""

    per_image = True
    interpolation = "area"
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec, self.hash, self.size, self.dim = spec, "fragile-1", SIZE, 3
        self.device = torch.device("cpu")
        self.calls = 0

    def encode_clips(self, clips: Tensor) -> Tensor:
        if (clips.float().mean((1, 2, 3, 4)) > 240).any():
            ctypes.string_at(0)  # in this thread, now
        with self._counting:
            self.calls += 1
            calls = self.calls
        _wait(calls)
        with self._counting:
            self.images += clips.shape[0] * clips.shape[1]
        return clips.float().mean((3, 4)) / 255


def _wait(calls: int) -> None:
    hold = Path(os.environ.get("MAREY_TEST_HOLD", "nowhere"), "hold")
    while hold.exists() and calls >= int(hold.read_text()):
        hold.with_name(str(os.getpid())).touch()
        time.sleep(0.05)


@register_encoder("fragile")
class FragileFamily(EncoderFamily):
    """Mean colours."""

    per_image = True

    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> FragileEncoder:
        return FragileEncoder(spec)

    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        outputs = 3
        return Architecture(
            nn.Identity(),
            lambda images: images.new_empty(len(images), outputs),
            torch.empty(1, 3, *SIZE),
            SIZE,
            False,
            (outputs,),
            frames,
        )
