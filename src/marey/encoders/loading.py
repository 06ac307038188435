"""Encoders by name."""

from __future__ import annotations

import timm
import torch

from marey.encoders.contract import GIVEN, PIXELS, EncoderSpec
from marey.encoders.encoder import Encoder
from marey.encoders.engines import engine_name
from marey.encoders.frame import load_frame_encoder
from marey.encoders.pixels import PixelEncoder
from marey.encoders.video_networks import VIDEO_NETWORKS, ClipEncoder
from marey.encoders.video_transformers import VIDEO_TRANSFORMERS, TokenEncoder
from marey.encoders.weights import EMBEDDED
from marey.errors import UnknownNameError, UsageError


def load_encoder(
    spec: EncoderSpec, *, frames: int = 16, device: str | torch.device = "cpu", engine: str | None = None
) -> Encoder:
    """The encoder that a spec names, with its weights.

    Args:
        spec: which.
        frames: T of the clips that it will see; some networks are built for one number of them.
        device: where it runs.
        engine: what runs it: "pytorch", "openvino", "onnxruntime", "cuda", or "auto", the fastest of those that are
            installed and agree with PyTorch, after a short trial that is remembered; by default what the variable
            MAREY_ENGINE says, else "auto".

    Raises:
        UnknownNameError: neither marey nor timm has an encoder of that name, or marey no such engine.
        UsageError: it cannot do what the spec asks of it, or the engine cannot run it.
        WeightsError: its weights are not here and cannot be had, or are not those of this network.
    """
    if spec.name == GIVEN:
        raise UsageError(
            "this model was trained on features that came as files, and nobody here knows how to make them of a video: "
            "train on the videos instead, or on features that `marey data export` wrote"
        )
    engine_name(engine)
    if spec.precision == "int8":
        raise UsageError("int8 is made of a trained run: `marey quantise RUN DATA` writes a model that has it")
    if spec.name in PIXELS:
        return PixelEncoder(spec)
    own = (EMBEDDED, *PIXELS, *VIDEO_NETWORKS, *VIDEO_TRANSFORMERS)
    if spec.name not in own and not timm.is_model(spec.name):
        raise UnknownNameError("encoder", spec.name, [*own, *timm.list_models()])
    try:
        if spec.name in VIDEO_NETWORKS:
            return ClipEncoder(spec, frames=frames, device=device, engine=engine)
        if spec.name in VIDEO_TRANSFORMERS:
            return TokenEncoder(spec, frames=frames, device=device, engine=engine)
        return load_frame_encoder(spec, device=device, engine=engine)
    except UsageError:
        raise
    except (AttributeError, AssertionError, TypeError, ValueError, RuntimeError) as error:
        asked = f"size={spec.size}, grid={spec.grid}, precision={spec.precision}"
        raise UsageError(f"the encoder {spec.name} cannot run with {asked} on {device}: {error}") from error
