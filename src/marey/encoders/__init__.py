"""Frozen encoders, their preprocessing, and the feature cache."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from marey.encoders.backbone import FrozenBackbone
from marey.encoders.cache import FeatureCache, cache_home
from marey.encoders.chronophotograph import Chronophotograph
from marey.encoders.clip_reader import clip_span, read_clip, read_clip_views, read_frames, region_seen, typical_duration
from marey.encoders.contract import (
    FRAME_ORDERS,
    NO_ENCODER,
    PRECOMPUTED,
    ClipReading,
    Contract,
    EncoderSpec,
    FrameOrder,
    MultiView,
    Precision,
    View,
    crops_need_crop,
    require_encodable,
)
from marey.encoders.done_list import DoneList, DoneRow
from marey.encoders.encoder import Encoder
from marey.encoders.engine import ENGINES, Engine, engine_name
from marey.encoders.engine_benchmark import TOLERANCE, Benchmarks, EngineBenchmark, agrees, cpu_model
from marey.encoders.engines import installed_engines
from marey.encoders.extract import Features, Progress, Reading, extract, iterate_views, part_keys, result_keys
from marey.encoders.feature_streams import FeatureStream, Observer, encode_parts, feature_streams, with_offsets
from marey.encoders.fingerprint import cached_fingerprint, fingerprint
from marey.encoders.hub_networks import TEXT_TOWERS, VIDEO_TRANSFORMERS, VideoTransformer
from marey.encoders.motion_region import THUMBNAIL, ClipFit, RunningRegion
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
from marey.encoders.shards import Shard, find_shard
from marey.encoders.streams import Stream, Streams, find_stream, luma, register_stream, stream_class, stream_kinds
from marey.encoders.text_towers import TextImageEncoder, TextVideoEncoder, WordEmbeddings
from marey.encoders.timm_encoder import FrameEncoder, load_timm_backbone
from marey.encoders.trainable import BackboneSpec, TrainableNetwork, backbone_of, trainable
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
    "NO_ENCODER",
    "PRECOMPUTED",
    "TEXT_TOWERS",
    "THUMBNAIL",
    "TOLERANCE",
    "VIDEO_NETWORKS",
    "VIDEO_TRANSFORMERS",
    "Architecture",
    "BackboneSpec",
    "Benchmarks",
    "Chronophotograph",
    "ClipEncoder",
    "ClipFit",
    "ClipReading",
    "Contract",
    "ContrastStretch",
    "DoneList",
    "DoneRow",
    "Encoder",
    "EncoderFamily",
    "EncoderSpec",
    "Engine",
    "EngineBenchmark",
    "FeatureCache",
    "FeatureStream",
    "Features",
    "FrameEncoder",
    "FrameOrder",
    "FrozenBackbone",
    "MultiView",
    "Observer",
    "Photometric",
    "Precision",
    "Progress",
    "QuantisedEncoder",
    "QuantisedNetwork",
    "RawFrames",
    "Reading",
    "RunningRegion",
    "RunningStretch",
    "Shard",
    "Stream",
    "Streams",
    "TextImageEncoder",
    "TextVideoEncoder",
    "TokenEncoder",
    "TrainableNetwork",
    "VideoNetwork",
    "VideoTransformer",
    "View",
    "WeightsOrigin",
    "WordEmbeddings",
    "agrees",
    "architecture",
    "backbone_of",
    "build_video_network",
    "cache_home",
    "cached_fingerprint",
    "clip_span",
    "cpu_model",
    "crops_need_crop",
    "embedded_path",
    "encode_parts",
    "encoder_names",
    "engine_name",
    "extract",
    "family_of",
    "feature_streams",
    "find_family",
    "find_shard",
    "find_stream",
    "fingerprint",
    "installed_engines",
    "iterate_views",
    "load_encoder",
    "load_kinetics",
    "load_local",
    "load_timm_backbone",
    "luma",
    "part_keys",
    "quantise_network",
    "read_clip",
    "read_clip_views",
    "read_frames",
    "region_seen",
    "register_encoder",
    "register_stream",
    "require_encodable",
    "result_keys",
    "stream_class",
    "stream_kinds",
    "trainable",
    "typical_duration",
    "weights_hash",
    "weights_origin",
    "with_offsets",
]
