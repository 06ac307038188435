"""Encoders without a network: raw frames for networks that are trained end to end, given features, and none."""

from __future__ import annotations

from typing import Final, NoReturn

import torch
from torch import Tensor, nn

from marey.encoders.contract import NO_ENCODER, PRECOMPUTED, EncoderSpec
from marey.encoders.encoder import Encoder, hw
from marey.encoders.malloc import tune_malloc
from marey.encoders.registry import Architecture, EncoderFamily, register_encoder
from marey.encoders.streams import luma
from marey.errors import UsageError

_SIZE: Final = (112, 112)
_CHANNELS: Final = {"pixels": 3, "grey-pixels": 1}


class RawFrames(Encoder):
    """Raw frames, uint8, in colour or gray.

    The cache keeps decoded clips of it: networks that are trained end to end read them in every epoch, mapped from
    the disk, and no video is decoded twice.
    """

    per_image = True
    interpolation = "area"
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        if spec.grid is not None or spec.precision != "float32":
            raise UsageError(f"the encoder '{spec.name}' gives raw frames: it has no grid and no precision")
        self.spec = spec
        self.hash = spec.name
        self.size = hw(spec.size, _SIZE)
        self.channels = _CHANNELS[spec.name]
        self.dim = self.channels * self.size[0] * self.size[1]
        self.device = torch.device("cpu")
        tune_malloc()  # for the networks that learn from these frames, layer by layer

    def encode_clips(self, clips: Tensor) -> Tensor:
        """Return the frames: uint8 (N, T, 3, H, W) to uint8 (N, T, C, H, W)."""
        self.check(clips, axes="N, T")
        self.count(len(clips.flatten(0, 1)))
        return clips if self.channels == 3 else luma(clips).unsqueeze(-3)


@register_encoder(*_CHANNELS)
class RawFramesFamily(EncoderFamily):
    """Frames as they are decoded; the head has the weights."""

    gives = "frames"
    per_image = True

    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> RawFrames:
        """Return the encoder."""
        return RawFrames(spec)

    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        """Return the shapes of the frames."""
        encoder = RawFrames(spec)
        shape = (frames, encoder.channels, *encoder.size)
        return Architecture(None, nn.Identity(), torch.empty(1, *shape), encoder.size, True, shape, frames)

    def channels(self, name: str) -> int:
        """Return 3, or 1 for gray."""
        return _CHANNELS[name]


@register_encoder(PRECOMPUTED)
class PrecomputedFamily(EncoderFamily):
    """Features that came as files: no video can be encoded with them."""

    gives = "nothing"

    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> NoReturn:
        """Refuse: there is no network."""
        raise UsageError(
            "this model was trained on features that came as files, and marey cannot compute them from a video: "
            "train on the videos instead, or on features that `marey extract` wrote"
        )

    def meta(self, spec: EncoderSpec, *, frames: int) -> NoReturn:
        """Refuse: there is no network."""
        self.load(spec, frames=frames, device="meta", engine=None)


class NoEncoder(Encoder):
    """No encoder, for recipes whose streams all make their features themselves."""

    per_image = True
    interpolation = "area"
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)
    hash = NO_ENCODER
    size = (1, 1)
    dim = 1

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        if spec.size is not None or spec.grid is not None or spec.precision != "float32":
            raise UsageError(f"the encoder '{spec.name}' encodes nothing: it has no size, no grid and no precision")
        self.spec = spec
        self.device = torch.device("cpu")

    def encode_clips(self, clips: Tensor) -> NoReturn:
        """Refuse: there is no network."""
        raise UsageError(f"the encoder '{self.spec.name}' sees no images")


@register_encoder(NO_ENCODER)
class NoEncoderFamily(EncoderFamily):
    """Streams that make their features themselves need no encoder."""

    gives = "nothing"
    per_image = True

    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> NoEncoder:
        """Return what refuses images."""
        return NoEncoder(spec)

    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        """Return the shapes of nothing."""
        encoder = NoEncoder(spec)
        example = torch.empty(1, 3, *encoder.size)
        return Architecture(nn.Identity(), nn.Identity(), example, encoder.size, False, (encoder.dim,), frames)
