"""Frozen networks, what they are shown, and the cache of what they said."""

from __future__ import annotations

from marey.encoders.cache import FeatureCache, cache_home
from marey.encoders.contract import (
    FRAME_ORDERS,
    Contract,
    EncoderSpec,
    FrameOrder,
    Precision,
    View,
    clip_span,
    read_clip,
    read_clip_views,
    read_frames,
)
from marey.encoders.extract import Features, Progress, Reading, extract, extract_views, iterate_views
from marey.encoders.frame import FrameEncoder, load_encoder
from marey.encoders.streams import STREAM_KINDS, Stream, StreamKind
from marey.encoders.weights import EMBEDDED, embedded_path, weights_hash

__all__ = [
    "EMBEDDED",
    "FRAME_ORDERS",
    "STREAM_KINDS",
    "Contract",
    "EncoderSpec",
    "FeatureCache",
    "Features",
    "FrameEncoder",
    "FrameOrder",
    "Precision",
    "Progress",
    "Reading",
    "Stream",
    "StreamKind",
    "View",
    "cache_home",
    "clip_span",
    "embedded_path",
    "extract",
    "extract_views",
    "iterate_views",
    "load_encoder",
    "read_clip",
    "read_clip_views",
    "read_frames",
    "weights_hash",
]
