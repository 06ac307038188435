"""Frozen networks, what they are shown, and the cache of what they said."""

from __future__ import annotations

from marey.encoders.architecture import Architecture, architecture
from marey.encoders.cache import FeatureCache, cache_home
from marey.encoders.contract import (
    FRAME_ORDERS,
    GIVEN,
    PIXELS,
    Contract,
    EncoderSpec,
    FrameOrder,
    MultiView,
    Precision,
    View,
    clip_span,
    read_clip,
    read_clip_views,
    read_frames,
    typical_duration,
)
from marey.encoders.encoder import Encoder
from marey.encoders.engine import Engine
from marey.encoders.engines import ENGINES, engine_name, installed_engines
from marey.encoders.extract import Features, Progress, Reading, extract, iterate_views
from marey.encoders.frame import FrameEncoder, load_frame_network
from marey.encoders.frozen import FrozenNetwork
from marey.encoders.loading import load_encoder
from marey.encoders.origin import WeightsOrigin, weights_origin
from marey.encoders.pixels import PixelEncoder
from marey.encoders.quantised import ENCODER_FILES, QuantisedEncoder, QuantisedNetwork, quantise_network
from marey.encoders.streams import STREAM_KINDS, Stream, StreamKind
from marey.encoders.trial import TOLERANCE, Measured, Trial, agrees, processor
from marey.encoders.video_networks import VIDEO_NETWORKS, ClipEncoder, VideoNetwork, build_video_network, load_kinetics
from marey.encoders.video_transformers import VIDEO_TRANSFORMERS, TokenEncoder, VideoTransformer
from marey.encoders.weights import EMBEDDED, embedded_path, load_local, weights_hash

__all__ = [
    "EMBEDDED",
    "ENCODER_FILES",
    "ENGINES",
    "FRAME_ORDERS",
    "GIVEN",
    "PIXELS",
    "STREAM_KINDS",
    "TOLERANCE",
    "VIDEO_NETWORKS",
    "VIDEO_TRANSFORMERS",
    "Architecture",
    "ClipEncoder",
    "Contract",
    "Encoder",
    "EncoderSpec",
    "Engine",
    "FeatureCache",
    "Features",
    "FrameEncoder",
    "FrameOrder",
    "FrozenNetwork",
    "Measured",
    "MultiView",
    "PixelEncoder",
    "Precision",
    "Progress",
    "QuantisedEncoder",
    "QuantisedNetwork",
    "Reading",
    "Stream",
    "StreamKind",
    "TokenEncoder",
    "Trial",
    "VideoNetwork",
    "VideoTransformer",
    "View",
    "WeightsOrigin",
    "agrees",
    "architecture",
    "build_video_network",
    "cache_home",
    "clip_span",
    "embedded_path",
    "engine_name",
    "extract",
    "installed_engines",
    "iterate_views",
    "load_encoder",
    "load_frame_network",
    "load_kinetics",
    "load_local",
    "processor",
    "quantise_network",
    "read_clip",
    "read_clip_views",
    "read_frames",
    "typical_duration",
    "weights_hash",
    "weights_origin",
]
