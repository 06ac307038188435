"""Data sets: clips, manifests, groups, splits, the leak check and the scan; `zoo` and `importers`."""

from __future__ import annotations

import warnings
from typing import Any

from marey.data.clip import PARTS, Clip, Manifest, Part, Segment, group_or_path
from marey.data.folder import VIDEO_SUFFIXES, read_folder
from marey.data.groups import PATTERNS, assign_groups, propose_group_regex
from marey.data.hashing import content_hash, data_hash
from marey.data.importers import ClipSet, ImportOptions, VideoList, detect_format, read_source
from marey.data.importers.array_images import infer_pixel_format
from marey.data.importers.arrays import ArraySet, read_arrays
from marey.data.importers.feature_files import FeatureFiles, check_features_out, write_features
from marey.data.importers.feature_partitions import feature_folder, is_partitions, read_partitions
from marey.data.importers.features import (
    FeatureClip,
    FeatureTable,
    feature_manifest,
    features_of,
    read_feature_file,
    read_feature_folder,
)
from marey.data.importers.frame_folders import read_frame_folders
from marey.data.importers.pickles import read_pickle
from marey.data.importers.write import ClipSource, Unusable, write_clips
from marey.data.leaks import Leak, find_leaks
from marey.data.load import is_features, load_data
from marey.data.manifest import COLUMNS, read_manifest, write_manifest
from marey.data.scan import ScanRow, read_quarantine, scan, write_quarantine
from marey.data.split import Split, holdout, k_folds, leave_one_group_out, official_split
from marey.data.subset import take_subset
from marey.data.zoo.archives import RAR_TOOLS, rar_tools
from marey.data.zoo.install import install
from marey.data.zoo.registry import CATALOG, NamedData, data_home, expand_home

__all__ = [
    "CATALOG",
    "COLUMNS",
    "PARTS",
    "PATTERNS",
    "RAR_TOOLS",
    "VIDEO_SUFFIXES",
    "ArraySet",
    "Clip",
    "ClipSet",
    "ClipSource",
    "FeatureClip",
    "FeatureFiles",
    "FeatureTable",
    "ImportOptions",
    "Leak",
    "Manifest",
    "NamedData",
    "Part",
    "ScanRow",
    "Segment",
    "Split",
    "Unusable",
    "VideoList",
    "assign_groups",
    "check_features_out",
    "content_hash",
    "data_hash",
    "data_home",
    "detect_format",
    "expand_home",
    "feature_folder",
    "feature_manifest",
    "features_of",
    "find_leaks",
    "group_or_path",
    "holdout",
    "infer_pixel_format",
    "install",
    "is_features",
    "is_partitions",
    "k_folds",
    "leave_one_group_out",
    "load_data",
    "official_split",
    "propose_group_regex",
    "rar_tools",
    "read_arrays",
    "read_feature_file",
    "read_feature_folder",
    "read_folder",
    "read_frame_folders",
    "read_manifest",
    "read_partitions",
    "read_pickle",
    "read_quarantine",
    "read_source",
    "scan",
    "take_subset",
    "write_clips",
    "write_features",
    "write_manifest",
    "write_quarantine",
]

_RENAMED = {"NewClip": "ClipSource", "form_of": "detect_format", "survey_pixels": "infer_pixel_format"}
"""Names of the release before, and their new ones."""


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _RENAMED[name]
    warnings.warn(f"marey.data.{name} is now called marey.data.{new}", DeprecationWarning, stacklevel=2)
    return globals()[new]
