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
from marey.encoders.extract import Features, Progress, Reading, extract, iterate_views
from marey.encoders.frame import FrameEncoder
from marey.encoders.loading import load_encoder
from marey.encoders.pixels import PixelEncoder
from marey.encoders.streams import STREAM_KINDS, Stream, StreamKind
from marey.encoders.video_networks import VIDEO_NETWORKS, ClipEncoder, VideoNetwork, build_video_network, load_kinetics
from marey.encoders.video_transformers import VIDEO_TRANSFORMERS, TokenEncoder, VideoTransformer
from marey.encoders.weights import EMBEDDED, embedded_path, load_local, weights_hash

__all__ = [
    "EMBEDDED",
    "FRAME_ORDERS",
    "GIVEN",
    "PIXELS",
    "STREAM_KINDS",
    "VIDEO_NETWORKS",
    "VIDEO_TRANSFORMERS",
    "Architecture",
    "ClipEncoder",
    "Contract",
    "Encoder",
    "EncoderSpec",
    "FeatureCache",
    "Features",
    "FrameEncoder",
    "FrameOrder",
    "MultiView",
    "PixelEncoder",
    "Precision",
    "Progress",
    "Reading",
    "Stream",
    "StreamKind",
    "TokenEncoder",
    "VideoNetwork",
    "VideoTransformer",
    "View",
    "architecture",
    "build_video_network",
    "cache_home",
    "clip_span",
    "embedded_path",
    "extract",
    "iterate_views",
    "load_encoder",
    "load_kinetics",
    "load_local",
    "read_clip",
    "read_clip_views",
    "read_frames",
    "typical_duration",
    "weights_hash",
]
