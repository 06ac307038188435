"""Frozen encoders, their preprocessing, and the feature cache."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from marey.encoders.backbone import FrozenBackbone
from marey.encoders.cache import FeatureCache, cache_home
from marey.encoders.chronophotograph import Chronophotograph
from marey.encoders.clip_reader import clip_span, read_clip, read_clip_views, read_frames, typical_duration
from marey.encoders.contract import (
    FRAME_ORDERS,
    PRECOMPUTED,
    ClipReading,
    Contract,
    EncoderSpec,
    FrameOrder,
    MultiView,
    Precision,
    View,
)
from marey.encoders.encoder import Encoder
from marey.encoders.engine import ENGINES, Engine, engine_name
from marey.encoders.engine_benchmark import TOLERANCE, Benchmarks, EngineBenchmark, agrees, cpu_model
from marey.encoders.engines import installed_engines
from marey.encoders.extract import Features, Progress, Reading, extract, iterate_views
from marey.encoders.hugging_face import TEXT_TOWERS, VIDEO_TRANSFORMERS, VideoTransformer
from marey.encoders.photometric import ContrastStretch, Photometric, RunningStretch
from marey.encoders.quantised import ENCODER_FILES, QuantisedEncoder, QuantisedNetwork, quantise_network
from marey.encoders.raw_frames import RawFrames
from marey.encoders.registry import (
    Architecture,
    EncoderFamily,
    WeightsOrigin,
    architecture,
    encoder_names,
    family_of,
    find_family,
    load_encoder,
    register_encoder,
    weights_origin,
)
from marey.encoders.streams import Stream, Streams, find_stream, luma, register_stream, stream_class, stream_kinds
from marey.encoders.text_towers import TextImageEncoder, TextVideoEncoder, WordEmbeddings
from marey.encoders.timm_encoder import FrameEncoder, load_timm_backbone, new_timm_network
from marey.encoders.video_networks import VIDEO_NETWORKS, ClipEncoder, VideoNetwork, build_video_network, load_kinetics
from marey.encoders.video_transformers import TokenEncoder
from marey.encoders.weights import EMBEDDED, embedded_path, load_local, weights_hash

for _module in iter_modules(__path__):  # a new file registers its family by being there
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "EMBEDDED",
    "ENCODER_FILES",
    "ENGINES",
    "FRAME_ORDERS",
    "PRECOMPUTED",
    "TEXT_TOWERS",
    "TOLERANCE",
    "VIDEO_NETWORKS",
    "VIDEO_TRANSFORMERS",
    "Architecture",
    "Benchmarks",
    "Chronophotograph",
    "ClipEncoder",
    "ClipReading",
    "Contract",
    "ContrastStretch",
    "Encoder",
    "EncoderFamily",
    "EncoderSpec",
    "Engine",
    "EngineBenchmark",
    "FeatureCache",
    "Features",
    "FrameEncoder",
    "FrameOrder",
    "FrozenBackbone",
    "MultiView",
    "Photometric",
    "Precision",
    "Progress",
    "QuantisedEncoder",
    "QuantisedNetwork",
    "RawFrames",
    "Reading",
    "RunningStretch",
    "Stream",
    "Streams",
    "TextImageEncoder",
    "TextVideoEncoder",
    "TokenEncoder",
    "VideoNetwork",
    "VideoTransformer",
    "View",
    "WeightsOrigin",
    "WordEmbeddings",
    "agrees",
    "architecture",
    "build_video_network",
    "cache_home",
    "clip_span",
    "cpu_model",
    "embedded_path",
    "encoder_names",
    "engine_name",
    "extract",
    "family_of",
    "find_family",
    "find_stream",
    "installed_engines",
    "iterate_views",
    "load_encoder",
    "load_kinetics",
    "load_local",
    "load_timm_backbone",
    "luma",
    "new_timm_network",
    "quantise_network",
    "read_clip",
    "read_clip_views",
    "read_frames",
    "register_encoder",
    "register_stream",
    "stream_class",
    "stream_kinds",
    "typical_duration",
    "weights_hash",
    "weights_origin",
]
